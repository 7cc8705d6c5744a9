/* Preloaded: calls on files whose name holds "audit" fail as FAULT says: write=EIO, fdatasync=EIO, write=EDQUOT, ...
   "short=N": each write takes N bytes at most. A fault is on while the file named by FAULT_SWITCH exists. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int guarded(int fd)
{
    char link[64], name[4096];
    const char *toggle = getenv("FAULT_SWITCH");
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, name, sizeof name - 1);
    if (length < 0)
        return 0;
    name[length] = 0;
    return strstr(name, "audit.jsonl") != NULL && (!toggle || access(toggle, F_OK) == 0);
}

static const char *fault(const char *call)
{
    const char *text = getenv("FAULT");
    size_t length = strlen(call);
    return text && !strncmp(text, call, length) && text[length] == '=' ? text + length + 1 : NULL;
}

ssize_t write(int fd, const void *data, size_t size)
{
    ssize_t (*real)(int, const void *, size_t) = dlsym(RTLD_NEXT, "write");
    const char *number = fault("write"), *bytes = fault("short");
    if (number && guarded(fd)) {
        errno = atoi(number);
        return -1;
    }
    if (bytes && guarded(fd) && size > (size_t)atoi(bytes))
        size = atoi(bytes);
    return real(fd, data, size);
}

int fdatasync(int fd)
{
    int (*real)(int) = dlsym(RTLD_NEXT, "fdatasync");
    const char *number = fault("fdatasync");
    if (number && guarded(fd)) {
        errno = atoi(number);
        return -1;
    }
    return real(fd);
}

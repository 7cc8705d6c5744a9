"""Call a function as another user."""

from __future__ import annotations

import json
import os
import pwd
from typing import Any, Callable


def call_as(user: str, function: Callable[[], Any]) -> Any:
    """Call a function in a child process that has a user's ids and groups; return what it returns, by way of JSON.

    :param user: a name or a number.
    :raises LookupError: if there is no such user.
    :raises OSError: if this process may not become that user, or the child died.
    """
    entry = _find(user)
    if os.geteuid() not in (0, entry.pw_uid):
        raise OSError("only root can check as another user: call it with sudo")
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        _run_child(entry, function, writer)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    if not text:
        raise OSError("the check died")
    answer = json.loads(text)
    if "error" in answer:
        raise OSError(answer["error"])
    return answer["result"]


def _find(user: str) -> pwd.struct_passwd:
    try:
        if user.isdecimal():
            return pwd.getpwuid(int(user))
        return pwd.getpwnam(user)
    except KeyError:
        raise LookupError("there is no such user") from None


def _run_child(entry: pwd.struct_passwd, function: Callable[[], Any], writer: int) -> None:
    """Become the user, call the function, write its answer, and end without anything of the parent's."""
    try:
        if os.geteuid() == 0:
            os.initgroups(entry.pw_name, entry.pw_gid)
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)
        answer = {"result": function()}
    except BaseException as error:
        answer = {"error": f"{type(error).__name__}: {error}"}
    with os.fdopen(writer, "w") as pipe:
        json.dump(answer, pipe)
    os._exit(0)

#!/bin/sh
# Print the newest Python of the given versions (3.12 3.11 ...) that is found, pyenv's included.
for version in "$@"; do
    found=
    for candidate in "$(command -v "python$version" || true)" "${PYENV_ROOT:-$HOME/.pyenv}"/versions/"$version".*/bin/python; do
        if [ -n "$candidate" ] && "$candidate" -c 'import venv, ensurepip' 2>/dev/null; then
            found=$candidate
        fi
    done
    if [ -n "$found" ]; then
        echo "$found"
        exit
    fi
done
exit 1

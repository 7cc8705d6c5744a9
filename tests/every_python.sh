#!/bin/sh
# Unit tests on every Python from 3.9 to 3.13 that is found, pyenv's included, but for the one of .venv ($PYTHON),
# which runs all tests anyway. Each gets a virtualenv of its own, .venv-3.x, made once.
set -eu
own=$("$PYTHON" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
for version in 3.9 3.10 3.11 3.12 3.13; do
    [ "$version" = "$own" ] && continue
    if ! python=$(sh tests/find_python.sh "$version"); then
        echo "Python $version: not found, skipped"
        continue
    fi
    venv=.venv-$version
    if [ ! -e "$venv/ready" ] || [ setup.cfg -nt "$venv/ready" ]; then
        echo "Python $version: setting up $venv ..."
        "$python" -m venv --clear "$venv"
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -e '.[unit]'
        touch "$venv/ready"
    fi
    echo "Python $version:"
    "$venv/bin/python" -m pytest -q --no-header -n auto tests/unit
done

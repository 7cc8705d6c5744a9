#!/bin/sh
# Runs tests/nova with one release of Nova (32.2.1, say), in a virtualenv of its own, made once: .venv-nova-<release>.
# The Python is the newest that the release declares and that is found. Further arguments go to pytest.
set -eu
nova=$1
shift
constraints=tests/constraints-nova-${nova%%.*}.txt
case $nova in
    34.*) pythons="3.13 3.12 3.11" constraints=tests/constraints.txt ;;
    33.* | 32.*) pythons="3.12 3.11 3.10" ;;
    31.*) pythons="3.12 3.11 3.10 3.9" ;;
    30.* | 29.*) pythons="3.11 3.10 3.9" ;;
    28.* | 27.*) pythons="3.10 3.9" ;;
    26.* | 25.*) pythons="3.9" ;;
    *)
        echo "NOVA=$nova: take a release from 25 to 34, as NOVA=32.2.1 (older ones declare no Python that the filter runs on)" >&2
        exit 2
        ;;
esac
if ! python=$(sh tests/find_python.sh $pythons); then
    echo "Nova $nova declares Python $pythons: none of them is found" >&2
    exit 2
fi
venv=.venv-nova-$nova
if [ ! -e "$venv/ready" ] || [ setup.cfg -nt "$venv/ready" ] || [ "$constraints" -nt "$venv/ready" ]; then
    echo "Nova $nova: setting up $venv with $("$python" --version) ..."
    "$python" -m venv --clear "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -c "$constraints" "nova==$nova" -e '.[test,nova]'
    touch "$venv/ready"
fi
exec "$venv/bin/python" -W ignore -m pytest tests/nova "$@"

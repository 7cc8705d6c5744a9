"""The Containerfiles build over a fresh Debian, in place of images that are not at hand, and what they make runs."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.debian.root import prepare
from tests.paths import ETC, ROOT

pytestmark = pytest.mark.slow

CONTAINERS = ETC.parent / "containers"
GATEWAY_INI = ETC / "gateway.ini"


class Builder:
    """Buildah with a storage of its own."""

    def __init__(self, folder: Path) -> None:
        self._options = ["--root", f"{folder}/storage", "--runroot", f"{folder}/run", "--storage-driver", "overlay"]

    def __call__(self, *args: str | Path) -> str:
        """Run a command; return what it printed. Its processes have a network of their own."""
        command = ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh", "buildah", *self._options]
        done = subprocess.run([*command, *args], check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def build(self, name: str, context: Path, *args: str) -> str:
        """Build an image from one of our files; return its name."""
        file = CONTAINERS / f"{name}.Containerfile"
        self("build", "--isolation", "chroot", "--file", file, "--tag", name, *args, context)
        return name

    def run(self, image: str, script: str) -> str:
        """Run a script in a container of an image, as the image's user."""
        container = self("from", "--isolation", "chroot", image).split()[-1]
        return self("run", "--isolation", "chroot", container, "--", "bash", "-c", script)


@pytest.fixture(scope="module")
def builder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Builder]:
    """Buildah, with a fresh Debian as the image ``localhost/fresh-debian``."""
    base = prepare()
    if not shutil.which("buildah"):
        pytest.skip("not installed: buildah")
    folder = tmp_path_factory.mktemp("buildah")
    buildah = Builder(folder)
    container = buildah("from", "scratch").split()[-1]
    buildah("add", container, base, "/")
    buildah("commit", "--quiet", container, "localhost/fresh-debian")
    yield buildah
    buildah("rm", "--all")
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a wheel of this package, and those that it needs, in ``dist``."""
    pytest.importorskip("build", reason="only where all tests run")
    folder = tmp_path_factory.mktemp("context")
    dist = folder / "dist"
    subprocess.run([sys.executable, "-m", "build", "--wheel", "--outdir", dist, ROOT], check=True, capture_output=True)
    [wheel] = dist.iterdir()
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--python-version", "3.13", "--only-binary", ":all:"]
    # pip reads markers as the Python that it runs on: WebOb needs legacy-cgi from 3.13 on.
    subprocess.run([*command, "--dest", dist, f"{wheel}[gateway,relay,tools]", "legacy-cgi"], check=True)
    return folder


def test_the_gateway_runs_from_its_image(builder: Builder, context: Path) -> None:
    shutil.copy2(GATEWAY_INI, context)
    image = builder.build(
        "imagefilter", context, "--build-arg", "BASE=localhost/fresh-debian", "--build-arg", "PIP_NO_INDEX=1"
    )
    container = builder("from", "--isolation", "chroot", image).split()[-1]
    builder("copy", container, context / "gateway.ini", "/etc/imagefilter/gateway.ini")
    command = shlex.join(json.loads(builder("inspect", container))["OCIv1"]["config"]["Cmd"])
    script = f"""set -e
        id -un; stat -c '%U %a' /var/log/imagefilter
        imagefilter check --paste /etc/imagefilter/gateway.ini --listen 0.0.0.0:8784 -f value -c Verdict
        {command} >/tmp/log 2>&1 &
        for _ in $(seq 100); do curl -s -o /dev/null http://127.0.0.1:8784/healthcheck/live && break; sleep 0.2; done
        curl -si http://127.0.0.1:8784/healthcheck/live || cat /tmp/log
        imagefilter relay --help >/dev/null
        kill %1"""
    printed = builder("run", "--isolation", "chroot", container, "--", "bash", "-c", script)
    assert printed.startswith("imagefilter\nimagefilter 750\n")
    assert "HTTP/1.1 200 OK" in printed, printed


@pytest.mark.parametrize(
    ("name", "virtualenv"),
    [("kolla-nova-api", "/var/lib/kolla/venv"), ("helm-nova", "/var/lib/openstack")],
)
def test_novas_image_takes_the_filter(builder: Builder, context: Path, name: str, virtualenv: str) -> None:
    container = builder("from", "--isolation", "chroot", "localhost/fresh-debian").split()[-1]
    # Debian's oslo.utils asks for tzdata, and Debian leaves it out.
    [tzdata] = (context / "dist").glob("tzdata-*.whl")
    builder("copy", container, tzdata, f"/{tzdata.name}")
    script = f"python3 -m venv --system-site-packages {virtualenv} && {virtualenv}/bin/pip install /{tzdata.name}"
    builder("run", "--isolation", "chroot", container, "--", "sh", "-c", script)
    builder("commit", container, f"localhost/{name}-base")
    image = builder.build(name, context, "--build-arg", f"BASE=localhost/{name}-base")
    script = f"id -un; {virtualenv}/bin/python -c 'import nova, imagefilter; print(imagefilter.__file__)'"
    printed = builder.run(image, f"{script}; stat -c '%U %a' /var/log/imagefilter || true")
    assert printed.startswith("nova\n")
    assert f"{virtualenv}/lib/python3.13/site-packages/imagefilter/__init__.py" in printed
    assert ("nova 2750" in printed) == (name == "kolla-nova-api")

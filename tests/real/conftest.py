from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("tests.nova.cloud", reason="no Nova in this virtualenv")
pytest.importorskip("glance", reason="no Glance in this virtualenv: install the extra 'clouds'")

from tests.real.glance import Glance, serve_glance
from tests.real.nova import use_glance
from tests.real.site import Site


@pytest.fixture(scope="session")
def glance(keystone: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Glance]:
    """A real Glance for all tests of this process."""
    with serve_glance(tmp_path_factory.mktemp("glance"), keystone) as glance:
        yield glance


@pytest.fixture(scope="module")
def real_site(keystone: Any, glance: Glance, cloud: Any) -> Iterator[Site]:
    """Keystone, Glance and Nova. Afterwards Nova has its fake image service again."""
    keystone.publish("image", glance.url)
    with use_glance(glance) as host:
        site = Site(keystone, glance, cloud, host)
        with site.delete_servers():
            yield site
    glance.clear()


@pytest.fixture
def site(real_site: Site) -> Iterator[Site]:
    """The same for each test, without images but the one to boot servers from."""
    real_site.clear_images()
    real_site.host.mode = "upload"
    with real_site.delete_servers():
        yield real_site
    real_site.host.mode = "upload"

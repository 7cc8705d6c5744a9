"""``imagefilter explain`` on a server of a real cloud: Keystone, Nova and Glance, asked with openstacksdk."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real.site import Site
from tests.real.tenants import Result, run_command, write_clouds

pytest.importorskip("cel_expr_python")

RULES = """
[imagefilter:rule:flavor]
deny = server.flavor.name == "m1.tiny" && server.flavor.extra_specs.size() == 0
[imagefilter:rule:image]
deny = server.image.name != "" && server.image.properties.size() >= 0
[imagefilter:rule:volume]
deny = server.volume_backed
[imagefilter:rule:others]
deny = server.locked || server.tags.size() > 0 || server.created > now
"""


@pytest.fixture(scope="module")
def served(real_site: Site) -> Iterator[Site]:
    """The site, with Nova in the catalog."""
    with real_site.serve(None):
        yield real_site


def explain(folder: Path, site: Site, server: str) -> Result:
    config, body = folder / "rules.conf", folder / "body.json"
    config.write_text(RULES)
    body.write_text(json.dumps({"createImage": {"name": "nightly"}}))
    clouds = write_clouds(folder, site.keystone.url)
    return run_command(clouds, "explain", "--config", str(config), "--server-id", server, str(body))


def test_a_server_of_a_cloud(served: Site, site: Site, tmp_path: Path) -> None:
    on_image, on_volume = site.boot("alice"), site.boot_from_volume("alice")
    results = {row["Rule"]: row["Result"] for row in explain(tmp_path, site, on_image).rows}
    assert results["flavor"] == "403 This cloud does not permit it (flavor)"
    assert results["image"] == "403 This cloud does not permit it (image)"
    assert (results["volume"], results["others"]) == ("holds", "holds")
    results = {row["Rule"]: row["Result"] for row in explain(tmp_path, site, on_volume).rows}
    assert results["volume"] == "403 This cloud does not permit it (volume)"
    assert "server.image.name is absent: the server was not booted from an image" in results["image"]


def test_a_server_that_does_not_exist(served: Site, site: Site, tmp_path: Path) -> None:
    done = explain(tmp_path, site, "99999999-2222-4333-8444-555555555555")
    assert done.status == 2
    assert "the cloud has no server 99999999-2222-4333-8444-555555555555" in done.err

"""Paste files of real deployments: checked, mended as the command says, loaded by a real Nova, judged on both paths.

Names of filters and their order are facts from the deployments that are named; filters that are not installed here are
stand-ins that pass requests on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from nova.api import wsgi

from imagefilter.cli import pipelines
from imagefilter.cli.pipelines import Pipeline
from tests.cases import image
from tests.nova.authentication import KEYSTONE
from tests.nova.cloud import SHIPPED_PASTE, Cloud

BEFORE = "cors http_proxy_to_wsgi compute_req_id faultwrap request_log sizelimit osprofiler"
SIMPLE = "compute_req_id faultwrap sizelimit"
NOAUTH = "[filter:noauth2]\npaste.filter_factory = nova.api.openstack.auth:NoAuthMiddleware.factory\n"


def stand_in_factory(global_conf: Mapping[str, str], **local_conf: str) -> Any:
    """Build a filter that passes requests on."""
    return lambda app: app


class Deployment(NamedTuple):
    """What a deployment's pipeline has before the app, and more sections."""

    filters: str
    stand_ins: str = ""
    noauth2: str = ""  # what the pipeline of that key has before the app


DEPLOYMENTS = {
    "Nova 12 to 13": Deployment(f"{SIMPLE} authtoken keystonecontext", noauth2=f"{SIMPLE} noauth2"),
    "Nova 14 to 16": Deployment(
        "cors http_proxy_to_wsgi compute_req_id faultwrap sizelimit osprofiler authtoken keystonecontext",
        noauth2="cors http_proxy_to_wsgi compute_req_id faultwrap sizelimit osprofiler noauth2",
    ),
    "Nova 17 to 31, kolla-ansible": Deployment(f"{BEFORE} authtoken keystonecontext", noauth2=f"{BEFORE} noauth2"),
    "Nova 32 to 34, openstack-ansible": Deployment(f"{BEFORE} authtoken keystonecontext"),
    "openstack-helm": Deployment(f"{BEFORE} authtoken audit keystonecontext", "audit", f"{BEFORE} noauth2"),
    "Juju charm with audit": Deployment(f"{BEFORE} authtoken keystonecontext audit", "audit"),
    "sapcc": Deployment(
        f"{BEFORE} sentry authtoken keystonecontext watcher rate_limit audit", "sentry watcher rate_limit audit"
    ),
    "ooi": Deployment(f"{BEFORE} authtoken keystonecontext occi", "occi"),
    "moon": Deployment(f"{BEFORE} authtoken keystonecontext moon", "moon"),
    "billing": Deployment(f"{BEFORE} authtoken keystonecontext billing audit", "billing audit"),
    "statsd in front": Deployment(f"statsd {BEFORE} authtoken keystonecontext", "statsd"),
    "the filter before what it needs": Deployment(f"{BEFORE} imagefilter authtoken keystonecontext"),
    "the filter before audit": Deployment(f"{BEFORE} authtoken keystonecontext imagefilter audit", "audit"),
}


def write(path: Path, deployment: Deployment) -> None:
    """Write Nova's own file with another deployment's pipelines."""
    lines = [f"keystone = {deployment.filters} osapi_compute_app_v21"]
    if deployment.noauth2:
        lines.insert(0, f"noauth2 = {deployment.noauth2} osapi_compute_app_v21")
    both = "\n".join(lines)
    legacy = both.replace(" osapi_compute_app_v21", " legacy_v2_compatible osapi_compute_app_v21")
    text, count = re.subn(r"^keystone = .*legacy_v2_compatible.*$", "LEGACY", SHIPPED_PASTE.read_text(), flags=re.M)
    assert count == 1
    text = re.sub(r"^noauth2 = .*\n", "", text, flags=re.M)
    text, count = re.subn(r"^keystone = .*$", both, text, flags=re.M)
    assert count == 1
    text = text.replace("LEGACY", legacy) + f"www_authenticate_uri = {KEYSTONE}\n"
    for name in deployment.stand_ins.split():
        text += f"[filter:{name}]\npaste.filter_factory = {__name__}:stand_in_factory\n"
    if deployment.noauth2 and "[filter:noauth2]" not in text:
        text += NOAUTH
    path.write_text(text)


def mend(path: Path, checked: list[Pipeline]) -> None:
    """Write what the command says."""
    text = path.read_text()
    for pipeline in checked:
        if not pipeline.fix:
            continue
        line, _, section = pipeline.fix.partition("\n")
        header, old = f"[{pipeline.section}]", f"{pipeline.key} = {' '.join(pipeline.names)}"
        start = text.index(header)
        text = text[:start] + text[start:].replace(old, line, 1)
        section = section.replace("  ", "")
        if section and section not in text:
            text += section + "\n"
    path.write_text(text)


@pytest.mark.parametrize("deployment", DEPLOYMENTS.values(), ids=DEPLOYMENTS)
def test_a_paste_file_is_checked_mended_loaded_and_judged(cloud: Cloud, tmp_path: Path, deployment: Deployment) -> None:
    path = tmp_path / "api-paste.ini"
    write(path, deployment)
    checked = pipelines.read(str(path))
    assert pipelines.status_of(checked, is_strict=False) == 2
    assert len([pipeline for pipeline in checked if pipeline.error and pipeline.key == "keystone"]) == 2
    if "imagefilter" in deployment.filters:
        path.write_text(path.read_text() + "[filter:imagefilter]\npaste.filter_factory = imagefilter:filter_factory\n")
        checked = pipelines.read(str(path))
    mend(path, checked)
    if "[filter:imagefilter]" not in path.read_text():
        path.write_text(path.read_text() + "[filter:imagefilter]\npaste.filter_factory = imagefilter:filter_factory\n")
    mended = pipelines.read(str(path))
    assert [(pipeline.error, pipeline.warning) for pipeline in mended] == [("", "")] * len(mended)
    assert pipelines.status_of(mended, is_strict=True) == 0
    path.write_text(path.read_text() + f"audit_journal = {cloud.journal}\n")
    app = wsgi.Loader(str(path)).load_app("osapi_compute")
    for prefix in ("/v2.1", "/v2"):
        assert cloud.post_action(app, image("good"), prefix).status_int == 202
        assert len(cloud.images()) == 1
        assert cloud.post_action(app, image(metadata={"location": "x"}), prefix).status_int == 403
        assert cloud.images() == []
        assert len(cloud.records()) == 3

"""A warning at load if something other than the compute API is behind the filter."""

from __future__ import annotations

from typing import Any

import pytest

from imagefilter import filter_factory
from imagefilter.gateway import app_factory
from imagefilter.pipeline import describe_stranger


def make_class(module: str, name: str, base: type = object) -> type:
    return type(name, (base,), {"__module__": module})


ROUTER = make_class("nova.api.openstack.compute.routes", "APIRouterV21")
WRAPPER = make_class("nova.api.openstack", "LegacyV2CompatibleWrapper")


def wrap(app: Any, kind: type = WRAPPER) -> Any:
    wrapper = kind()
    wrapper.application = app
    return wrapper


def test_the_compute_api_is_no_stranger() -> None:
    assert describe_stranger(ROUTER()) is None
    assert describe_stranger(wrap(ROUTER())) is None
    assert describe_stranger(make_class("vendor.nova", "Router", ROUTER)()) is None


def test_the_gateway_is_no_stranger() -> None:
    assert describe_stranger(app_factory({}, compute_url="http://127.0.0.1:1")) is None


def test_names_a_stranger(caplog: pytest.LogCaptureFixture) -> None:
    occi = make_class("ooi.wsgi", "OCCIMiddleware")
    for app in (wrap(ROUTER(), occi), wrap(wrap(ROUTER(), occi)), wrap(wrap(ROUTER()), occi)):
        assert describe_stranger(app) == "ooi.wsgi.OCCIMiddleware"
    filter_factory({})(wrap(ROUTER(), occi))
    assert "behind it is ooi.wsgi.OCCIMiddleware" in caplog.text


@pytest.mark.parametrize("module", ["nova.api.openstack", "nova.api.openstack.requestlog", "nova.api.auth"])
def test_other_filters_of_nova_are_strangers_too(module: str) -> None:
    assert describe_stranger(wrap(ROUTER(), make_class(module, "FaultWrapper"))) == f"{module}.FaultWrapper"


def test_a_class_that_only_has_the_name_is_a_stranger() -> None:
    assert describe_stranger(make_class("elsewhere", "APIRouterV21")()) == "elsewhere.APIRouterV21"


def test_names_a_function() -> None:
    def application(environ: Any, start_response: Any) -> list[bytes]:
        return []

    assert describe_stranger(application) == f"{__name__}.test_names_a_function.<locals>.application"


def test_is_silent_before_the_compute_api(caplog: pytest.LogCaptureFixture) -> None:
    filter_factory({})(wrap(ROUTER()))
    assert "directly before" not in caplog.text

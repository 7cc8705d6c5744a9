"""Look at what the filter stands before: only the compute API itself may be behind it.

A middleware behind the filter can make requests of its own, which nobody judges and nobody records: openstack/ooi turns
``POST /occi1.2/compute/ID?action=save`` into a createImage.
"""

from __future__ import annotations

from typing import Any

# Classes of the apps that serve the compute API: Nova's router, and the gateway's app.
_COMPUTE_APIS = (
    ("nova.api.openstack.compute", "APIRouterV21"),
    ("imagefilter.gateway", "Gateway"),
)
# Nova's wrapper for /v2, the only one that may come between: it makes no request of its own.
_WRAPPER = ("nova.api.openstack", "LegacyV2CompatibleWrapper")


def describe_stranger(app: Any) -> str | None:
    """Return what an application is that is neither a compute API nor Nova's own wrapper of one; None if it is.

    :param app: the application that PasteDeploy hands to the filter.
    """
    owner = getattr(app, "__self__", app)  # the gateway's app is a bound method
    if _is_a(owner, _WRAPPER):
        return describe_stranger(getattr(owner, "application", None))
    if any(_is_a(owner, compute_api) for compute_api in _COMPUTE_APIS):
        return None
    kind = type(owner)
    if kind.__name__ == "function":
        return f"{owner.__module__}.{owner.__qualname__}"
    return f"{kind.__module__}.{kind.__qualname__}"


def unwrap(app: Any) -> Any:
    """Return the compute API itself: behind Nova's wrapper for ``/v2``, which takes microversions away."""
    owner = getattr(app, "__self__", app)
    if _is_a(owner, _WRAPPER):
        return unwrap(owner.application)
    return app


def _is_a(owner: Any, known: tuple[str, str]) -> bool:
    """Return whether an object is of a class, or of one derived from it, known by module and name: Nova need not be
    installed."""
    package, name = known
    return any(base.__name__ == name and base.__module__.startswith(package) for base in type(owner).__mro__)

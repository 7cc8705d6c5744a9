"""The tokens and the authentication filters of the Nova under test.

Import :mod:`tests.nova.cloud` first: it chooses how Nova runs its threads.
"""

from __future__ import annotations

import datetime
from typing import Any

from keystonemiddleware import auth_token
from keystonemiddleware.fixture import AuthTokenFixture

from tests.cases import PROJECT

OTHER_PROJECT = "0123456789abcdef0123456789abcdef"
KEYSTONE = "http://127.0.0.1:5000/v3"

#: The filters that authenticate in Nova's own pipelines.
AUTHTOKEN = "authtoken keystonecontext"
#: A filter in their place: authentication that is not Keystone's.
VENDOR_AUTH = "vendorauth"

TOKENS = {  # token: (user, project, roles)
    "member": ("alice", PROJECT, ["reader", "member"]),
    "backup": ("night", PROJECT, ["reader", "member", "backup"]),
    "reader": ("rita", PROJECT, ["reader"]),
    "admin": ("root", PROJECT, ["reader", "member", "admin"]),
    "other": ("bob", OTHER_PROJECT, ["reader", "member"]),
    "expired": ("alice", PROJECT, ["reader", "member"]),
}


def add_token(keystone: AuthTokenFixture, token: str) -> None:
    """Make auth_token accept one of :data:`TOKENS`; ``expired`` has expired."""
    user, project, roles = TOKENS[token]
    lifetime = datetime.timedelta(hours=1)
    if token == "expired":
        lifetime = -lifetime
    keystone.add_token_data(
        token_id=token,
        expires=datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None) + lifetime,
        user_id=f"{user}-id",
        user_name=user,
        user_domain_id="default",
        user_domain_name="Default",
        project_id=project,
        project_name=f"{project[:4]}-name",
        project_domain_id="default",
        project_domain_name="Default",
        role_list=roles,
    )


class RealAuthToken(auth_token.AuthProtocol):
    """auth_token as it is: this method is bound before the fixture patches the base class."""

    fetch_token = auth_token.AuthProtocol.fetch_token


def real_auth_token_factory(global_conf: dict[str, str], **conf: str) -> Any:
    """Build the filter for a paste file."""
    return lambda app: RealAuthToken(app, conf)


def vendor_auth_factory(global_conf: dict[str, str]) -> Any:
    """Build the filter for a paste file: it sets a ``nova.context`` and none of auth_token's keys."""
    from nova.context import RequestContext

    def factory(app: Any) -> Any:
        def authenticate(environ: dict[str, Any], start_response: Any) -> Any:
            user, project, roles = TOKENS[environ["HTTP_X_AUTH_TOKEN"]]
            environ["nova.context"] = RequestContext(user, project, roles=roles)
            return app(environ, start_response)

        return authenticate

    return factory

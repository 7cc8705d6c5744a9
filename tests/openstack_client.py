"""The openstack client as an operator uses it: a command in a shell, with the variables OS_*."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.gateway.keystone import ADMIN, PASSWORD, REGION, USERS, Keystone


def run_openstack(keystone: Keystone, *args: str, user: str = ADMIN) -> str:
    """Run ``openstack`` as one of Keystone's users; return what it prints."""
    project, _ = USERS.get(user, (ADMIN, []))
    own = {"AUTH_URL": keystone.url, "USERNAME": user, "PASSWORD": PASSWORD, "PROJECT_NAME": project}
    own.update(USER_DOMAIN_ID="default", PROJECT_DOMAIN_ID="default", REGION_NAME=REGION, IDENTITY_API_VERSION="3")
    environ = {name: text for name, text in os.environ.items() if not name.startswith("OS_")}
    environ.update({f"OS_{name}": text for name, text in own.items()})
    command = [str(Path(sys.executable).with_name("openstack")), *args]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"{' '.join(args)}: {done.stdout}{done.stderr}"
    return done.stdout


def run_openstack_json(keystone: Keystone, *args: str, user: str = ADMIN) -> Any:
    """Run ``openstack``, and read the JSON that it prints."""
    return json.loads(run_openstack(keystone, *args, "-f", "json", user=user))

"""Volumes for servers that boot from one: Nova's own fake of Cinder, with what an image of such a server needs."""

from __future__ import annotations

from typing import Any

from nova.tests.fixtures import CinderFixture


class Cinder(CinderFixture):
    """A fake Cinder below Nova's API."""

    def fake_get(self, *args: Any, **kwargs: Any) -> Any:
        """Return a volume, with the keys that Nova reads when it makes a snapshot of it."""
        volume = super().fake_get(*args, **kwargs)
        volume.setdefault("display_description", "")
        return volume

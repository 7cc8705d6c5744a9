"""What of a policy the demo says can't be tried in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagefilter.rules.table import load_policy
from tests.nova.authentication import OTHER_PROJECT
from tests.nova.demo_notes import find_notes

NOTES = [
    ("", []),
    ("name_pattern = x+\nexempt_roles = backup, ADMIN", []),
    ("backup_rotation_max = 5\none_at_a_time = true", []),
    ("snapshots_per_server = 5", ["images are counted in a real Glance"]),
    ("snapshots_in_progress = 0\nlookup_on_error = allow", ["what lookup_on_error says (allow)"]),
    (f"[imagefilter:project:{OTHER_PROJECT}]\nsnapshots_per_project = 5", ["images are counted in a real Glance"]),
    ("[imagefilter:project:abc]\nmode = warn", ["section [imagefilter:project:abc] applies to nobody here"]),
    ("exempt_roles = backup, robot", ["nobody here has the role robot"]),
    (f"[imagefilter:project:{OTHER_PROJECT}]\nexempt_roles = robot", ["nobody here has the role robot"]),
    ("audit_journal = /var/log/x\nreload_interval = 60", ["audit_journal is not used here", "reload_interval is not"]),
    ("one_at_a_time = true\ncoordination_url = redis://u:secret@h", ["locks are in redis://h:6379"]),
    ("coordination_url = redis://u:secret@h", []),
]


@pytest.mark.parametrize(("options", "expected"), NOTES)
def test_notes(options: str, expected: list[str], tmp_path: Path) -> None:
    config = tmp_path / "my.conf"
    config.write_text(f"[imagefilter]\n{options}\n")
    notes = list(find_notes(load_policy({"oslo_config_file": str(config), "audit_journal": str(tmp_path / "journal")})))
    assert len(notes) == len(expected)
    for note, part in zip(notes, expected):
        assert part in note
        assert "secret" not in note

"""The operator's rules on names and metadata."""

from __future__ import annotations

from typing import Any

import pytest

from imagefilter.policy.options import IMAGE_FIELDS
from tests.cases import image
from tests.unit.fakes import Guarded, get_fault

RESERVED = ", ".join([*IMAGE_FIELDS, "clas", "class", "classs"])


@pytest.mark.parametrize("key", ["straße", "STRASSE", "strasse", "strase", "Strasé"])
def test_a_reserved_key_is_folded_as_a_client_s_is(key: str) -> None:
    guarded = Guarded(metadata_reserved="Straße")
    assert guarded.post(image(metadata={key: "v"})).status_int == 403
    assert guarded.post(image(metadata={"stras": "v"})).status_int == 202


def test_the_name_pattern_matches_the_whole_name() -> None:
    guarded = Guarded(name_pattern="(nightly|weekly)-[0-9]+")
    assert guarded.post(image("nightly-1")).status_int == 202
    message = "The image name 'x' does not match the pattern '(nightly|weekly)-[0-9]+' (name-pattern)"
    assert get_fault(guarded.post(image("x"))) == (403, message)


@pytest.mark.parametrize("name", ["nightly-1x", "xnightly-1", "nightly-1\\n", "nightly", "\\ud800", "n" * 255])
def test_the_name_pattern_refuses_other_names(name: str) -> None:
    guarded = Guarded(name_pattern="(nightly|weekly)-[0-9]+")
    status, message = get_fault(guarded.post(b'{"createImage": {"name": "%b"}}' % name.encode()))
    assert status == 403
    assert "(name-pattern)" in message


@pytest.mark.parametrize("name", [None, [], {}, True, 1.5, "n" * 256])
def test_the_name_pattern_is_not_tried_on_what_is_no_name(name: Any) -> None:
    modes = "name-format:off,name-required:off"
    assert Guarded(name_pattern="nightly", rule_modes=modes).post(image(name)).status_int == 202


def test_an_empty_name_pattern_is_none() -> None:
    assert Guarded(name_pattern="").post(image()).status_int == 202


def test_the_name_pattern_matches_a_number_by_its_digits() -> None:
    assert Guarded(name_pattern="[0-9]{8}").post(image(20261123)).status_int == 202


@pytest.mark.parametrize("name", ["official-x", " official-x", "\u3000official-x "])
def test_the_name_pattern_matches_the_name_that_nova_gives_as_well(name: str) -> None:
    """Nova strips a name: createBackup on ``/v2`` accepts one with spaces around it, createImage one final newline."""
    guarded = Guarded(name_pattern="[^o].*|o[^f].*")
    assert guarded.post(image(name)).status_int == 403
    assert guarded.post(image(" other ")).status_int == 202


def test_the_name_pattern_matches_a_name_without_its_final_newline() -> None:
    assert Guarded(name_pattern="[a-z]+[^d]").post(image("gold\n")).status_int == 403


def test_refuses_images_without_required_metadata() -> None:
    guarded = Guarded(metadata_required="purpose, owner-team")
    message = "Image metadata must hold the key '{}' (metadata-required)"
    assert get_fault(guarded.post(image())) == (403, message.format("purpose"))
    assert get_fault(guarded.post(image(metadata={"purpose": "x"}))) == (403, message.format("owner-team"))
    assert guarded.post(image(metadata={"purpose": "x", "owner-team": ""})).status_int == 202


@pytest.mark.parametrize(
    "key",
    [
        "id",
        "id\n",
        " id ",
        "location",
        "self",
        "tags",
        "owner",
        "backend",
        "os_glance_x",
        "os_glance_",
        "file\t",
        "disk_format",
        "container_format",
        # As MySQL compares: case, accents, compatibility forms, what is not seen
        "Owner",
        "TAGS",
        "ID",
        "OS_glance_x",
        "ówner",
        "öwner",
        "o\u0308wner",
        "ｏｗｎｅｒ",
        "o\u200bwner",
        "o\u00adwner",
        "own\u0000er",
        "øwner",
        "ﬁle",
        "ıd",
        "İd",
        "ſize",
        "claß",  # of clas, or of class
        "CLASẞ",
    ],
)
def test_refuses_reserved_metadata(key: str) -> None:
    expected = (403, f"Image metadata key '{key.strip()}' is reserved (metadata-reserved)")
    for metadata in ({"good": "v", key: "v"}, {key: "v", "good": "v"}, {key: "v"}):
        assert get_fault(Guarded(metadata_reserved=RESERVED).post(image(metadata=metadata))) == expected
    assert Guarded(metadata_reserved="").post(image(metadata={key: "v"})).status_int == 202


@pytest.mark.parametrize(
    "key",
    [
        "Owners",
        "ids",
        "my_id",
        "image_type",
        "name",
        "visibility",
        "os_glanc",
        "os_glance",
        "os_glanceX",
        "a\nos_glance_x",
        "a\nid",
    ],
)
def test_allows_other_metadata(key: str) -> None:
    assert Guarded().post(image(metadata={key: "v"})).status_int == 202

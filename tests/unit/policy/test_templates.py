"""What metadata_set may say, and what comes of it: every mistake is an error when the options are loaded."""

from __future__ import annotations

import pytest

from imagefilter.policy.config import ConfigError
from imagefilter.policy.templates import FIELDS, parse_template
from imagefilter.rules.table import load_policy

ALL_FIELDS = "".join(f"{{{name}}}" for name in FIELDS)
IS_OWN = "it is a field of the image, or a property that Nova or the filter sets"


def load_errors(text: str) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        load_policy({"metadata_set": text}, "section [filter:x] of p")
    return raised.value.errors


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        # the image's own fields: Glance's schema, what Nova takes for an instruction, and what is counted by
        ("name:x", f"name: {IS_OWN}"),
        ("Visibility:public", f"Visibility: {IS_OWN}"),
        ("OWNER:x", f"OWNER: {IS_OWN}"),
        ("min_disk:0", f"min_disk: {IS_OWN}"),
        ("disk_format:iso", f"disk_format: {IS_OWN}"),
        ("location:http://x", f"location: {IS_OWN}"),
        ("instance_owner:x", f"instance_owner: {IS_OWN}"),
        ("os_glance_importing_to_stores:x", f"os_glance_importing_to_stores: {IS_OWN}"),
        ("instance_uuid:{server_id}", f"instance_uuid: {IS_OWN}"),
        ("image_type:backup", f"image_type: {IS_OWN}"),
        ("block_device_mapping:x", f"block_device_mapping: {IS_OWN}"),
        ("kernel_id:x", f"kernel_id: {IS_OWN}"),
        ("Ramdisk_ID:x", f"Ramdisk_ID: {IS_OWN}"),
        ("Mappings:x", f"Mappings: {IS_OWN}"),
        ("imagefilter_server:x", f"imagefilter_server: {IS_OWN}"),
        ("ImageFilter_Expires:x", f"ImageFilter_Expires: {IS_OWN}"),
        # fields
        ("a:{token}", "a: the field {token} is not one of server_id, project_id, user_id, request_id, record_id, date"),
        ("a:{}", "a: the field {} is not one of "),
        ("a:{0}", "a: the field {0} is not one of "),
        ("a:{User_Id}", "a: the field {User_Id} is not one of "),
        ("a:{ user_id }", "a: the field { user_id } is not one of "),
        ("a:{user_id.__class__}", "a: the field {user_id.__class__} is not one of "),
        ("a:{user_id[0]}", "a: the field {user_id[0]} is not one of "),
        ("a:{user_id!r}", "a: the field {user_id} has neither a format nor a conversion"),
        ("a:{user_id:>99}", "a: the field {user_id} has neither a format nor a conversion"),
        ("a:{date:%Y}", "a: the field {date} has neither a format nor a conversion"),
        ("a:{user_id", "a: expected '}' before end of string"),
        ("a:}", "a: Single '}' encountered in format string"),
        # length
        (f"a:{'x' * 256}", "a: it may have 256 characters; the compute API takes 255"),
        (f"a:123456{ALL_FIELDS}", "a: it may have 256 characters; the compute API takes 255"),
        ("a:", "a: it is empty"),
        # keys
        ("ä:x", "ä: the compute API takes no such key"),
        ("a/b:x", "a/b: the compute API takes no such key"),
        (f"{'k' * 256}:x", f"{'k' * 256}: the compute API takes no such key"),
        ("Team:x,team:y", "team: it is the same key as Team to Glance's databases"),
        (",".join(f"key{number}:x" for number in range(17)), "17 keys; 16 are the most"),
    ],
)
def test_mistakes(text: str, reason: str) -> None:
    [error] = load_errors(text)
    assert error.startswith(f"metadata_set in section [filter:x] of p: {reason}")


@pytest.mark.parametrize("text", ["team", "team:x,team:y", ":x"])
def test_texts_that_are_no_pairs(text: str) -> None:
    [error] = load_errors(text)
    assert error.startswith(f"metadata_set = {text} in section [filter:x] of p: ")


def test_all_mistakes_are_reported_at_once() -> None:
    assert len(load_errors("name:x,a:{token},b:")) == 3


def test_a_mistake_of_all_projects_is_reported_once(tmp_path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "imagefilter.conf"
    path.write_text("[imagefilter]\nmetadata_set = name:x\n[imagefilter:project:1]\nmode = warn\n")
    with pytest.raises(ConfigError) as raised:
        load_policy({"oslo_config_file": str(path)})
    assert len(raised.value.errors) == 1


VALUES = {name: name.upper() for name in FIELDS}


@pytest.mark.parametrize(
    ("text", "rendered"),
    [
        ("plain: text", "plain: text"),
        ("{user_id}", "USER_ID"),
        ("{server_id} by {user_id}/{project_id} on {date}", "SERVER_ID by USER_ID/PROJECT_ID on DATE"),
        ("{{{user_id}}}", "{USER_ID}"),
        ("{{user_id}}", "{user_id}"),
    ],
)
def test_rendering(text: str, rendered: str) -> None:
    assert parse_template(text).render(VALUES) == rendered


@pytest.mark.parametrize("value", [None, ""])
def test_a_field_without_a_value(value: str | None) -> None:
    assert parse_template("by {user_id}!").render({**VALUES, "user_id": value}) == "by none!"


def test_no_value_is_longer_than_was_checked() -> None:
    template = parse_template(f"12345{ALL_FIELDS}")
    assert len(template.render(dict.fromkeys(FIELDS, "x" * 1000))) == template.longest == 255


def test_a_value_that_a_field_brings_is_no_template() -> None:
    assert parse_template("{user_id}").render({**VALUES, "user_id": "{record_id}"}) == "{record_id}"


def test_sixteen_keys() -> None:
    policy = load_policy({"metadata_set": ",".join(f"key{number}:x" for number in range(16))})
    assert len(policy.settings.stamps) == 16

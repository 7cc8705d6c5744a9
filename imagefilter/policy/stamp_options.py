"""Which stamps a project's images get, by ``metadata_set``, ``image_expires`` and the limits."""

from __future__ import annotations

import datetime
from collections.abc import Mapping

from imagefilter.policy.config import RawOption
from imagefilter.policy.durations import parse_duration
from imagefilter.policy.limits import STAMPS, Limits, find_marks
from imagefilter.policy.options import IMAGE_FIELDS
from imagefilter.policy.reserved import ReservedKeys, build_reserved
from imagefilter.policy.templates import Template, parse_templates
from imagefilter.request.action import ACTIONS

# Metadata keys that no metadata_set may name: fields of the image, and what images are counted and deleted by.
_MARKS = ("imagefilter_*", "block_device_mapping", *find_marks("createBackup"))
# Glance's etc/schema-image.json: ids of images. Glance refuses any other text, so each image action would fail.
_IMAGE_IDS = ("kernel_id", "ramdisk_id")
# nova/image/glance.py _convert_from_string(), beside block_device_mapping: Nova reads it as JSON wherever it reads the
# image, from its creation on, and responds 500 to any other text.
_READ_AS_JSON = "mappings"
_NOT_TO_SET = (*IMAGE_FIELDS, "name", "visibility", *_IMAGE_IDS, _READ_AS_JSON, *_MARKS)


def find_stamps(
    limits: Limits, metadata_set: Mapping[str, Template], expires_after: datetime.timedelta | None
) -> tuple[str, ...]:
    """Return the keys that are set on the images of a project in ``enforce``."""
    stamps: tuple[str, ...] = ()
    if limits.count_images or expires_after:
        stamps = STAMPS
    return stamps + tuple(metadata_set)


def find_stamps_in_force(stamps: tuple[str, ...], mode: str, is_counted: bool) -> tuple[str, ...]:
    """Return the stamps that are set in a mode.

    A trial changes no request, with one exception. ``rule_modes`` may enforce a limit there, and it would not count an
    image of a server on volumes that has no stamp: such a server would have no limit.

    :param is_counted: whether a count of images may refuse a request.
    """
    if mode == "enforce":
        return stamps
    if is_counted:
        return STAMPS
    return ()


def find_own_keys(stamps: tuple[str, ...]) -> dict[str, ReservedKeys]:
    """Return the keys that clients may not set, by action, since the filter sets them or counts by them."""
    if not stamps:
        return {}
    if stamps[0] != STAMPS[0]:  # nothing is counted or deleted by the operator's own
        return {action: build_reserved(stamps) for action in ACTIONS}
    return {action: build_reserved(stamps + find_marks(action)) for action in ACTIONS}


def read_metadata_set(pairs: Mapping[str, str], raw: RawOption | None, errors: list[str]) -> dict[str, Template]:
    """Return the templates of ``metadata_set``.

    :param raw: where the project gives the option; None: it does not.
    :param errors: gets a message for each pair that can't be used.
    """
    reasons: list[str] = []
    templates = parse_templates(pairs, build_reserved(_NOT_TO_SET), reasons)
    if raw:  # otherwise they are those of [imagefilter], and were reported there
        errors += [f"metadata_set in {raw.location}: {reason}" for reason in reasons]
    return templates


def read_expiry(text: str | None, raw: RawOption | None, errors: list[str]) -> datetime.timedelta | None:
    """Return how long an image is kept, by ``image_expires``; None: for ever."""
    if not text:
        return None
    try:
        duration = parse_duration(text.strip())
        if not duration:
            raise ValueError("each image would have expired when it is made")
    except ValueError as error:
        if raw:  # as above
            errors.append(f"image_expires = {text} in {raw.location}: {error}")
        return None
    return duration

"""The properties that must hold of each request that went to a bare Nova and to a guarded one.

1. An image that Nova makes behind the filter has exactly the name and metadata in the record of a verdict that lets it
   be made. That record was on disk when Nova asked the image service, the policy does not forbid the image, and Nova
   read no other bytes than the filter's own. Whatever a bare Nova reads as an image action has been judged.
2. Where a bare Nova makes no image there is none, and the response is the same, or a documented fault for a reason that
   the request gives.
3. Where a bare Nova makes an image that the policy does not forbid, the same image is made, with the same response.
4. Nothing fails that a bare Nova responds to.
5. With mode off Nova reads the same bytes, makes the same image and responds the same; the image is recorded unless its
   body could not be read within limits.
"""

from __future__ import annotations

import json
from typing import Any

from tests.nova.comparison import Comparable, comparable, without_image_id, without_warning
from tests.nova.instrumented_nova import MadeImage
from tests.nova.policies import (
    RULE_FAULTS,
    TOO_LONG_FAULTS,
    UNREADABLE_FAULTS,
    Faults,
    Policy,
    find_objection,
    is_fault,
)
from tests.nova.reference_parser import ParsedRequest, decode, find_action, parse
from tests.nova.senders import Response
from tests.nova.trial import Trial
from tests.records import outcomes, verdicts


class CounterexampleError(AssertionError):
    """A property does not hold."""


def check(trial: Trial) -> str:
    """Check all properties.

    :returns: a summary of what happened, for the statistics.
    :raises CounterexampleError: if a property does not hold.
    """
    parsed = parse(trial.request)
    if trial.policy.mode == "off":
        return _check_off(trial, parsed)
    _check_failures(trial)
    _check_judged(trial, parsed)
    for image in trial.guarded.images:
        _check_image(trial, image)
    if trial.bare.images:
        return _check_bare_image(trial, parsed)
    return _check_no_bare_image(trial, parsed)


def _check_off(trial: Trial, parsed: ParsedRequest) -> str:
    """Check property 5: nothing is different, but for the record."""
    bare, guarded = trial.bare, trial.guarded
    if parsed.is_too_long and not bare.reads and guarded.response.status == 413:
        return "off: too long, where Nova would not have read it to the end"
    if guarded.reads != bare.reads:
        raise CounterexampleError("with mode off Nova reads other bytes")
    if [_describe_image(image) for image in guarded.images] != [_describe_image(image) for image in bare.images]:
        raise CounterexampleError("with mode off another image is made")
    if without_image_id(_comparable(bare.response)) != without_image_id(_comparable(guarded.response)):
        raise CounterexampleError("with mode off the response is another one")
    if parsed.is_framed and not (parsed.is_too_long or parsed.is_too_deep):
        for image in guarded.images:
            _check_image(trial, image)
    return "off: the same as without the filter"


def _describe_image(image: MadeImage) -> tuple[Any, ...]:
    return image.action, image.name, image.properties


def _check_failures(trial: Trial) -> None:
    """Check property 4: nothing fails only with the filter."""
    bare, response = trial.bare.response, trial.guarded.response
    failed = response.status == 0 or (response.status >= 500 and not is_fault(response, RULE_FAULTS))
    # A number as a name is text when Nova reads it, and with text os-volumes_boot fails in Nova 33 and 34.
    if failed and 0 < bare.status < 500 and not (trial.is_named_by_number or trial.loses_its_version):
        raise CounterexampleError(f"it fails only with the filter: {response.status} {response.body[:300]!r}")


def _check_judged(trial: Trial, parsed: ParsedRequest) -> None:
    """Check property 1 of each image action that Nova's controllers read: there is a verdict, or a fault."""
    response = trial.guarded.response
    if trial.is_judged:
        return
    for _, body in trial.bare.reads:
        action = find_action(decode(body)[0])
        if action in trial.policy.actions and not is_fault(response, UNREADABLE_FAULTS + TOO_LONG_FAULTS):
            raise CounterexampleError(f"Nova reads a {action} that the filter did not judge")
    if trial.policy.place != "front" or parsed.action not in trial.policy.actions:
        return
    is_readable = parsed.is_read and parsed.is_framed and parsed.is_json and not parsed.is_too_deep
    if is_readable and response.status not in (401, 413):
        raise CounterexampleError(f"a {parsed.action} was not judged")


def _check_image(trial: Trial, image: MadeImage) -> None:
    """Check property 1: the image was judged, recorded before it was made, and made exactly as it was judged."""
    policy, guarded = trial.policy, trial.guarded
    if image.action and image.action not in policy.actions:
        return
    contents = verdicts(guarded.records[: image.recorded])
    if len(contents) != 1 or contents[0]["verdict"] not in _passing_verdicts(trial):
        raise CounterexampleError("an image was made before a verdict that lets it be made was on disk")
    [content] = contents
    media_type, body = guarded.reads[-1]
    document = decode(body)[0]
    is_canonical = (media_type, body) == ("application/json", _canonical_body(document))
    if policy.mode != "off" and not is_canonical:
        raise CounterexampleError("Nova read other bytes than the filter's own")
    [(action, entity)] = document.items()
    if action != content["action"] or (image.action and image.action != action):
        raise CounterexampleError("another action than the one that was recorded")
    if len(guarded.images) != 1:
        raise CounterexampleError("more than one image")
    if action != "shelve":
        _check_name_and_metadata(trial, image, entity, content)
    if content["verdict"] == "allow" and policy.mode != "off":
        objection = find_objection(policy, action, entity)
        if objection:
            raise CounterexampleError(f"an image that the policy forbids: {objection}")
    _check_outcome(trial, image, document)


def _passing_verdicts(trial: Trial) -> set[str]:
    passing = {"allow"}
    if "exempt_roles" in trial.policy.options and "admin" in trial.request.headers.values():
        passing.add("exempt")
    if trial.policy.mode == "warn":
        passing.add("would_deny")
    return passing


def _check_name_and_metadata(trial: Trial, image: MadeImage, entity: dict[str, Any], content: dict[str, Any]) -> None:
    metadata = entity.get("metadata", {})
    if entity["name"].strip() != image.name or content["image_name"] != entity["name"][:255]:
        raise CounterexampleError("another name than the one that was judged")
    expected = dict(metadata)
    if image.action == "createBackup" and "backup_type" in expected:  # Nova overwrites it, with or without the filter
        expected["backup_type"] = entity["backup_type"]
    if {key: image.properties.get(key) for key in metadata} != expected:
        raise CounterexampleError("other metadata than the judged ones")
    if not trial.own_properties.issuperset(set(image.properties) - set(metadata)):
        raise CounterexampleError("more metadata than the judged ones")
    if content["metadata_count"] != len(metadata):
        raise CounterexampleError("the record has another number of metadata items")
    if _recorded_metadata(content) != _expected_record(trial.policy, metadata) and "truncated" not in content:
        raise CounterexampleError("the record has other metadata")


def _recorded_metadata(content: dict[str, Any]) -> tuple[Any, Any]:
    return content.get("metadata_keys"), content.get("metadata")


def _expected_record(policy: Policy, metadata: dict[str, Any]) -> tuple[Any, Any]:
    """Return the keys and the metadata that a record has, where each text is at most 255 characters long."""
    allowed = policy.options.get("audit_metadata", "keys")
    if allowed == "none":
        return None, None
    items = []
    for key, value in metadata.items():  # of an image that was made, so each value is a text
        items.append({"key": key[:255], "value": value[:255]})
    if allowed == "full":
        return None, items
    return [item["key"] for item in items], None


def _check_outcome(trial: Trial, image: MadeImage, document: Any) -> None:
    """Check that the response is recorded, with the id of the image."""
    contents = outcomes(trial.guarded.records)
    expected: str | None = image.id
    if image.action == "shelve":  # Nova does not return its id
        expected = None
    if image.action == "createBackup" and int(document["createBackup"]["rotation"]) == 0:  # nor one that it deletes
        expected = None
    statuses = [content["status"] for content in contents]
    if statuses != [trial.guarded.response.status] or contents[0]["image_id"] != expected:
        raise CounterexampleError("the response is not recorded")


def _check_bare_image(trial: Trial, parsed: ParsedRequest) -> str:
    """Check property 3: it is made with the filter too, unless the policy or a documented difference forbids it."""
    [image] = trial.bare.images
    document = decode(trial.bare.reads[0][1])[0]
    action = find_action(document) or ""
    if trial.guarded.images:
        _check_same_image(trial, image)
        return f"made: {image.action}"
    if not parsed.is_framed or parsed.is_too_deep:
        return _check_refusal(trial, RULE_FAULTS + TOO_LONG_FAULTS, "differs as documented: length or depth")
    if trial.loses_its_version:
        return "differs as documented: the version in its content type"
    if action not in trial.policy.actions:
        raise CounterexampleError("an action that is not judged makes an image only without the filter")
    objection = _find_reason(trial, action, document[action])
    if objection is None:
        raise CounterexampleError("nothing forbids this image, but with the filter it is not made")
    return _check_refusal(trial, RULE_FAULTS, f"refused: {objection}")


def _find_reason(trial: Trial, action: str, entity: Any) -> str | None:
    """Return why the filter may refuse an image; None if it must not."""
    if trial.policy.place == "front" and trial.request.headers.get("X-Identity-Status") == "Invalid":
        # auth_token's mark of a bad token. With no auth_token in front it is the client's own, and only harms itself.
        return "an identity that its client calls invalid"
    if trial.policy.mode in ("warn", "off"):
        return None
    return find_objection(trial.policy, action, entity)


def _check_same_image(trial: Trial, image: MadeImage) -> None:
    [other] = trial.guarded.images
    if _describe_image(other) != _describe_image(image):
        raise CounterexampleError("another image than without the filter")
    bare, guarded = _comparable(trial.bare.response), _comparable(trial.guarded.response)
    if without_image_id(bare) != without_image_id(guarded):
        raise CounterexampleError("another response than without the filter")


def _check_no_bare_image(trial: Trial, parsed: ParsedRequest) -> str:
    """Check property 2: the response with the filter is the same, or a documented fault with a reason for it."""
    bare, response = trial.bare.response, trial.guarded.response
    if trial.guarded.images:
        if not trial.is_named_by_number:
            raise CounterexampleError("an image is made only with the filter")
        return "made: named by a number"
    if _comparable(bare) == _comparable(response):
        return _describe_same(bare)
    if trial.is_named_by_number and response.status >= 400:
        return "named by a number, refused by Nova for another reason"
    if trial.loses_its_version:
        return "differs as documented: the version in its content type"
    if not bare.status and response.status and trial.is_judged:
        # A bare ";" as a content type, in Nova's URL map.
        return "an exception of Nova's that a plain content type avoids"
    if not parsed.is_read:
        raise CounterexampleError("a request without a body has another response")
    # A list of versions is a response to anything; an extra spec may have the name of an action.
    is_extra_spec = "os-extra_specs" in trial.request.target
    # Of a server that boots from a volume shelving makes no image, which the filter does not know.
    is_shelved = parsed.action == "shelve" and "shelve" in trial.policy.actions
    if bare.status < 300 and trial.bare.reads and parsed.is_framed and not (is_extra_spec or is_shelved):
        raise CounterexampleError("a request that makes no image is refused")
    return _check_documented_refusal(trial, parsed)


def _describe_same(response: Response) -> str:
    if response.status < 400:
        return "the same response"
    return f"the same refusal: {response.status}"


def _check_documented_refusal(trial: Trial, parsed: ParsedRequest) -> str:
    response = trial.guarded.response
    if parsed.is_too_long and response.status == 413 and b"Request is too large." in response.body:
        return "differs as documented: too long, refused before anything else"  # Nova may not have read it to the end
    if not parsed.is_framed or parsed.is_too_long:
        return _check_refusal(trial, RULE_FAULTS + TOO_LONG_FAULTS, "differs as documented: length")
    if parsed.action in trial.policy.actions and parsed.is_json:
        return _check_refusal(trial, RULE_FAULTS, "refused, as Nova would")
    names_no_action = parsed.is_on_action_path and not (parsed.is_json and parsed.is_action)
    if names_no_action or (parsed.may_name_action and (parsed.is_too_deep or not parsed.is_json)):
        return _check_refusal(trial, UNREADABLE_FAULTS, "differs as documented: unreadable")
    raise CounterexampleError("another response than without the filter")


def _check_refusal(trial: Trial, faults: Faults, summary: str) -> str:
    """Check that the response is one of these faults, and recorded."""
    response = trial.guarded.response
    if not is_fault(response, faults):
        raise CounterexampleError(f"neither Nova's response nor a documented fault (expected: {summary})")
    recorded = [(content["verdict"], content["status"]) for content in verdicts(trial.guarded.records)]
    # A bad length and a missing token are refused before there is anything to record.
    is_unrecorded = not recorded and is_fault(response, UNREADABLE_FAULTS + TOO_LONG_FAULTS)
    if recorded != [("deny", response.status)] and not is_unrecorded:
        raise CounterexampleError("the refusal is not recorded")
    return summary


def _canonical_body(document: Any) -> bytes:
    """Encode a document as the filter does."""
    try:
        return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        return json.dumps(document, separators=(",", ":")).encode()


def _comparable(response: Response) -> Comparable:
    return without_warning(comparable(*response))

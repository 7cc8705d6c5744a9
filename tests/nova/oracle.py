"""What must hold of every request that went to a bare Nova and to a guarded one: see :func:`check`."""

from __future__ import annotations

import json
import re
from typing import Any

from tests.nova.grammar import Request
from tests.nova.policies import RULES, TOO_LONG, UNREADABLE, Faults, Policy, forbidden, is_fault
from tests.nova.reading import Reading, decoded, kind_of, read
from tests.nova.watched import Answer, Made, Seen

_UNSTABLE = {"date", "x-compute-request-id", "x-openstack-request-id"}


class CounterexampleError(AssertionError):
    """Something that must not be."""


def check(request: Request, policy: Policy, bare: Seen, guarded: Seen, own_properties: set[str]) -> str:
    """Hold what became of a request behind the filter against what became of it without.

    :returns: a word for what happened, for the statistics.
    :raises CounterexampleError: if a property does not hold.
    """
    reading = read(request)
    _no_failure_of_ours(bare, guarded)  # (d)
    _what_nova_reads_was_judged(policy, reading, bare, guarded)  # (a), for what Nova would have read
    for image in guarded.images:
        _was_judged(request, policy, image, guarded, own_properties)  # (a)
    if bare.images:
        return _of_an_image(request, policy, reading, bare, guarded)  # (c)
    return _of_none(request, policy, reading, bare, guarded)  # (b)


def _no_failure_of_ours(bare: Seen, guarded: Seen) -> None:
    failed = guarded.answer.status == 0 or (guarded.answer.status >= 500 and not is_fault(guarded.answer, RULES))
    # A number as a name is text when Nova reads it, and with text os-volumes_boot fails in Nova 33 and 34.
    if failed and 0 < bare.answer.status < 500 and not _is_named_by_number(bare, guarded):
        raise CounterexampleError("it fails with the filter alone")


def _what_nova_reads_was_judged(policy: Policy, reading: Reading, bare: Seen, guarded: Seen) -> None:
    """Nova's controllers got an image action to read: behind the filter there must be a record or a fault of ours."""
    for _, body in bare.reads:
        kind = kind_of(decoded(body)[0])
        if kind in policy.actions and not verdicts(guarded) and not is_fault(guarded.answer, UNREADABLE + TOO_LONG):
            raise CounterexampleError(f"Nova reads a {kind}, and the filter did not judge it")
    seen = policy.place == "front" and reading.read and reading.framed and reading.readable and not reading.deep
    if seen and reading.kind in policy.actions and not verdicts(guarded) and guarded.answer.status not in (401, 413):
        raise CounterexampleError(f"a {reading.kind} was not judged")


def _was_judged(request: Request, policy: Policy, image: Made, guarded: Seen, own_properties: set[str]) -> None:
    """An image was made: judged so, recorded before, and neither more nor less than that."""
    if image.kind and image.kind not in policy.actions:
        return
    before = verdicts(Seen(guarded.answer, (), (), guarded.records[: image.recorded]))
    if len(before) != 1 or before[0]["verdict"] not in _verdicts_that_let_pass(request, policy):
        raise CounterexampleError("an image was made without the record of a verdict on disk that lets it be made")
    [content] = before
    media_type, body = guarded.reads[-1]
    document = decoded(body)[0]
    if policy.options.get("mode") != "off" and (media_type, body) != ("application/json", canonical(document)):
        raise CounterexampleError("Nova was given other bytes to read than the filter's own")
    [(kind, entity)] = document.items()
    if kind != content["action"] or (image.kind and image.kind != kind):
        raise CounterexampleError("another action than the one that was recorded")
    if len(guarded.images) != 1:
        raise CounterexampleError("more than one image")
    if kind != "shelve":
        _is_what_was_judged(policy, image, entity, content, own_properties)
    if content["verdict"] == "allow" and policy.options.get("mode") != "off":
        reason = forbidden(policy, kind, entity)
        if reason:
            raise CounterexampleError(f"an image that the policy forbids: {reason}")
    _has_its_answer_recorded(image, guarded)


def _verdicts_that_let_pass(request: Request, policy: Policy) -> list[str]:
    exempt = "exempt_roles" in policy.options and "admin" in request.headers.values()
    return ["allow", *(["exempt"] if exempt else []), *(["would deny"] if policy.options.get("mode") == "warn" else [])]


def _is_what_was_judged(
    policy: Policy, image: Made, entity: dict[str, Any], content: dict[str, Any], own_properties: set[str]
) -> None:
    metadata = entity.get("metadata", {})
    if entity["name"].strip() != image.name or content["image_name"] != entity["name"][:255]:
        raise CounterexampleError("another name than the one that was judged")
    # Over a client's backup_type Nova writes that of the action, filter or not.
    by_nova = {"backup_type": entity["backup_type"]} if image.kind == "createBackup" else {}
    expected = {key: by_nova.get(key, value) for key, value in metadata.items()}
    if {key: image.properties.get(key) for key in metadata} != expected:
        raise CounterexampleError("other metadata than what was judged")
    if not own_properties.issuperset(set(image.properties) - set(metadata)):
        raise CounterexampleError("more metadata than what was judged")
    audited = policy.options.get("audit_metadata", "keys")
    shown = {key[:255]: value[:255] if isinstance(value, str) else None for key, value in metadata.items()}
    recorded = {"keys": content.get("metadata_keys"), "full": content.get("metadata"), "none": None}[audited]
    expected = {"keys": list(shown), "full": shown, "none": None}[audited]
    if content["metadata_count"] != len(metadata) or (recorded != expected and "cut" not in content):
        raise CounterexampleError("the record tells of other metadata")


def _has_its_answer_recorded(image: Made, guarded: Seen) -> None:
    answers = [each["attachments"][0]["content"] for each in guarded.records if each["eventType"] == "activity"]
    # Nova answers a shelve without the id of its image, and a backup of which it keeps none.
    document = decoded(guarded.reads[-1][1])[0]
    keeps_none = image.kind == "createBackup" and int(document["createBackup"]["rotation"]) == 0
    known = {None} if image.kind == "shelve" or keeps_none else {image.id}
    if [each["status"] for each in answers] != [guarded.answer.status] or answers[0]["image_id"] not in known:
        raise CounterexampleError("the answer has no record")


def _of_an_image(request: Request, policy: Policy, reading: Reading, bare: Seen, guarded: Seen) -> str:
    """Nova made an image: so it must with the filter, unless the policy or a documented difference forbids it."""
    [image] = bare.images
    document = decoded(bare.reads[0][1])[0]
    kind = kind_of(document) or ""
    judged = kind in policy.actions
    if guarded.images:
        [other] = guarded.images
        if (other.kind, other.name, other.properties) != (image.kind, image.name, image.properties):
            raise CounterexampleError("another image than without the filter")
        _same(bare.answer, guarded.answer, made=True)
        return f"made: {image.kind}"
    if not reading.framed or reading.deep:
        return _ours(guarded, RULES + TOO_LONG, "differs as documented: length or depth")
    if _loses_its_version(request, policy, guarded):
        return "differs as documented: the version in its content type"
    if not judged:
        raise CounterexampleError("an action that is not judged makes an image without the filter alone")
    reason = None if policy.options.get("mode") in ("warn", "off") else forbidden(policy, kind, document[kind])
    if policy.place == "front" and request.headers.get("X-Identity-Status") == "Invalid":
        # auth_token's word for a bad token. With no auth_token in front it is the client's own, and only harms himself.
        reason = "an identity that says of itself that it is none"
    if reason is None:
        raise CounterexampleError("nothing forbids this image, but with the filter it is not made")
    return _ours(guarded, RULES, f"refused: {reason}")


def _of_none(request: Request, policy: Policy, reading: Reading, bare: Seen, guarded: Seen) -> str:
    """Nova made no image: the same answer with the filter, or a documented fault where there is reason for one."""
    if guarded.images:
        if not _is_named_by_number(bare, guarded):
            raise CounterexampleError("an image is made with the filter alone")
        return "made: named by a number"
    if _comparable(bare.answer, False) == _comparable(guarded.answer, False):
        return "the same answer" if bare.answer.status < 400 else f"the same refusal: {bare.answer.status}"
    if _is_named_by_number(bare, guarded) and guarded.answer.status >= 400:
        return "named by a number, refused by Nova for another reason"
    if _loses_its_version(request, policy, guarded):
        return "differs as documented: the version in its content type"
    if not bare.answer.status and guarded.answer.status and verdicts(guarded):
        return "an exception of Nova's that a plain content type avoids"  # a bare ";" as a content type, in its URL map
    if not reading.read:
        raise CounterexampleError("a request without a body has another answer")
    # A list of versions is an answer to anything; an extra spec may have the name of an action.
    if bare.answer.status < 300 and bare.reads and reading.framed and "os-extra_specs" not in request.target:
        raise CounterexampleError("a request that makes no image is refused")
    return _documented_refusal(policy, reading, guarded)


def _documented_refusal(policy: Policy, reading: Reading, guarded: Seen) -> str:
    if reading.too_long and guarded.answer.status == 413 and b"Request is too large." in guarded.answer.body:
        return "differs as documented: too long, said before anything else"  # Nova may not have read it to the end
    if not reading.framed or reading.too_long:
        return _ours(guarded, RULES + TOO_LONG, "differs as documented: length")
    if reading.kind in policy.actions and reading.readable:
        return _ours(guarded, RULES, "refused, as Nova would")
    nameless = reading.on_action_path and not (reading.readable and _is_action(reading.document))
    if nameless or (reading.named and (reading.deep or not reading.readable)):
        return _ours(guarded, UNREADABLE, "differs as documented: unreadable")
    raise CounterexampleError("another answer than without the filter")


def _loses_its_version(request: Request, policy: Policy, guarded: Seen) -> bool:
    """In front of Nova's URL map a version may stand in the content type; what is judged goes on as plain JSON.

    To a path without a version Nova then answers with the list of them.
    """
    versioned = policy.place == "front" and ";version=" in request.headers.get("Content-Type", "")
    passed = [each["verdict"] for each in verdicts(guarded)] == ["allow"]
    return versioned and passed and guarded.answer.status in (300, 404)


def _ours(guarded: Seen, faults: Faults, word: str) -> str:
    if not is_fault(guarded.answer, faults):
        raise CounterexampleError(f"neither Nova's answer nor a documented fault (expected: {word})")
    told = [(each["verdict"], each["status"]) for each in verdicts(guarded)]
    # A length that is none and a missing token are refused before there is anything to record.
    if told != [("deny", guarded.answer.status)] and (told or not is_fault(guarded.answer, UNREADABLE + TOO_LONG)):
        raise CounterexampleError("the record does not tell of the refusal")
    return word


def _same(bare: Answer, guarded: Answer, made: bool) -> None:
    if _comparable(bare, made) != _comparable(guarded, made):
        raise CounterexampleError("another answer than without the filter")


def verdicts(seen: Seen) -> list[dict[str, Any]]:
    """What the records of verdicts say."""
    return [each["attachments"][0]["content"] for each in seen.records if each["eventType"] == "control"]


def canonical(document: Any) -> bytes:
    """A document in the one way that the filter writes it."""
    try:
        return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        return json.dumps(document, separators=(",", ":")).encode()


def _is_named_by_number(bare: Seen, guarded: Seen) -> bool:
    """Whether a number became text of its digits, as the contract wants it and Nova does not."""
    number = _name_read(bare)
    return type(number) is int and _name_read(guarded) == str(number)


def _name_read(seen: Seen) -> Any:
    """The name in the last image action that Nova was given to read."""
    document = decoded(seen.reads[-1][1])[0] if seen.reads else None
    kind = kind_of(document)
    entity = document[kind] if kind else None
    return entity.get("name") if isinstance(entity, dict) else None


def _is_action(document: Any) -> bool:
    return isinstance(document, dict) and len(document) == 1


def _comparable(answer: Answer, made: bool) -> tuple[int, list[tuple[str, str]], bytes]:
    """An answer without what is new each time, and without our warning."""
    headers = [(name.lower(), value) for name, value in answer.headers]
    kept = [(k, v) for k, v in headers if k not in _UNSTABLE and not v.startswith("299 imagefilter ")]
    body = re.sub(rb'"updated": "[^"]*"', b"", answer.body)
    if made:
        kept = [(name, value[:-36] if name == "location" else value) for name, value in kept]
        body = re.sub(rb'"image_id": "[^"]*"', b"", body)
    return answer.status, sorted(kept), body

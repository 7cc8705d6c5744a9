"""Random requests and random answers of the compute API against rules that read all fields: nothing is raised."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

hypothesis = pytest.importorskip("hypothesis", reason="no hypothesis in this virtualenv")
pytest.importorskip("cel_expr_python")

from hypothesis import strategies as st  # noqa: E402

from imagefilter import filter_factory  # noqa: E402
from imagefilter.rules.document import FIELDS  # noqa: E402
from imagefilter.rules.expression import Compiler, EvaluationFailed  # noqa: E402
from tests.cases import SERVER  # noqa: E402
from tests.unit.fakes import AUTHENTICATED, PATH, get_fault  # noqa: E402
from tests.wsgi import send  # noqa: E402

# Half of a surrogate pair, NUL, what Unicode takes apart, and more than 64 bits are in it.
TEXTS = st.text(st.characters(codec=None, categories=None), max_size=5) | st.sampled_from(["\ud800", "a\0b", "n", "é"])
NUMBERS = st.integers() | st.sampled_from([2**63, -(2**63), 2**64, 10**400]) | st.floats()
SCALARS = st.none() | st.booleans() | NUMBERS | TEXTS
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3))
METADATA = st.dictionaries(TEXTS | st.sampled_from(["cost", "k"]), TEXTS | VALUES, max_size=4) | VALUES
ENTITIES = st.fixed_dictionaries(
    {},
    optional={"name": TEXTS | VALUES, "metadata": METADATA, "rotation": VALUES, "backup_type": VALUES, "x": VALUES},
)
ACTIONS = st.sampled_from(["createImage", "createBackup", "shelve"])
DOCUMENTS = st.builds(lambda action, entity: {action: entity}, ACTIONS, ENTITIES | VALUES)

SERVER_KEYS = ("id", "status", "created", "locked", "tags", "OS-EXT-AZ:availability_zone")
FLAVORS = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("id", "original_name", "vcpus", "ram", "disk", "extra_specs"), VALUES)
)
IMAGES = st.fixed_dictionaries({}, optional={"id": TEXTS | VALUES, "properties": METADATA})
SERVERS = st.fixed_dictionaries(
    {"name": TEXTS | VALUES, "metadata": METADATA},
    optional={
        **dict.fromkeys(SERVER_KEYS[:-1], VALUES),
        "flavor": FLAVORS | VALUES,
        "image": IMAGES | VALUES,
        "os-extended-volumes:volumes_attached": st.lists(VALUES, max_size=3) | VALUES,
        "OS-EXT-SRV-ATTR:root_device_name": VALUES,
    },
)
ANSWERS = st.fixed_dictionaries(
    {},
    optional={
        "server": SERVERS | VALUES,
        "flavor": VALUES,
        "image": st.fixed_dictionaries({}, optional={"name": VALUES, "metadata": METADATA}) | VALUES,
        "extra_specs": VALUES,
        "volumeAttachments": st.lists(st.fixed_dictionaries({"device": VALUES}) | VALUES, max_size=3) | VALUES,
    },
)

ALL_FIELDS = " || ".join(f"{field.name} == {field.example}" for field in FIELDS if not field.name.startswith("usage"))


class Compute:
    """Responds to each question as a test says, and to an action with 202."""

    def __init__(self) -> None:
        self.body = b""
        self.status = "200 OK"

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        if environ["REQUEST_METHOD"] == "GET":
            start_response(self.status, [("Content-Type", "application/json")])
            return [self.body]
        start_response("202 Accepted", [("Content-Length", "0")])
        return [b""]


@pytest.fixture(scope="module")
def compute() -> Compute:
    return Compute()


@pytest.fixture(scope="module")
def app(compute: Compute, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder: Path = tmp_path_factory.mktemp("rules")
    path = folder / "imagefilter.conf"
    # The contract would refuse most of it first, so it only warns.
    path.write_text(
        "[imagefilter]\nmode = warn\nactions = createImage, createBackup, shelve\n"
        f"audit_journal = {folder}/audit.jsonl\naudit_metadata = full\n"
        f"[imagefilter:rule:all]\nmode = enforce\ndeny = {ALL_FIELDS}\n"
        "[imagefilter:rule:loops]\nmode = enforce\ndeny = image.metadata.exists(k, image.metadata[k].matches(k))\n"
    )
    return filter_factory({}, oslo_config_file=str(path))(compute)


@hypothesis.settings(max_examples=400, deadline=None, suppress_health_check=list(hypothesis.HealthCheck))
@hypothesis.given(
    document=DOCUMENTS, answers=ANSWERS, status=st.sampled_from(["200 OK"] * 8 + ["404 x", "406 x", "500 x"])
)
def test_every_request_has_a_response(app: Any, compute: Compute, document: Any, answers: Any, status: str) -> None:
    compute.body, compute.status = json.dumps(answers).encode(), status
    body = json.dumps(document).encode()
    response = send(app, "POST", PATH, body, {"Content-Type": "application/json"}, **AUTHENTICATED)
    if response.status_int != 202:
        code, message = get_fault(response)
        assert code in (400, 403, 404, 503), message
        assert message in (
            "Malformed request body",
            "This cloud does not permit it (all)",
            "This cloud does not permit it (loops)",
            f"Instance {SERVER} could not be found.",
            "The server could not be looked up.",
        )


@hypothesis.settings(max_examples=200, deadline=None)
@hypothesis.given(values=st.dictionaries(st.sampled_from([field.name for field in FIELDS]), VALUES))
def test_an_expression_has_a_result_or_a_reason(values: dict[str, Any]) -> None:
    """Even of values that the document never has; but not of texts that the library can't hold."""
    hypothesis.assume("\\ud" not in json.dumps(values).lower())
    expression = Compiler({field.name: field.type for field in FIELDS}).compile(ALL_FIELDS)
    result: object = None
    try:
        result = expression.evaluate(values)
    except EvaluationFailed as failure:
        result = str(failure)
    assert result in (True, False) or result

"""A pattern of the operator's can't hang a worker."""

from __future__ import annotations

import builtins
import time
from typing import Any

import pytest

from imagefilter.policy.pattern import Matches, compile_pattern

FAST = [
    "nightly-.*",
    "(nightly|weekly)-[0-9]{8}",
    "[a-z]+-[a-z]+-[0-9]+",
    "(?i)prod-[\\w.-]{1,60}",
    "(?:ab)+c",
    "[ab]*",
    "(a|b)+",
    ".*.*",
    "",
    "[a-z]+-[a-z]+-[0-9]+-prod",
    "(nightly|weekly|monthly)-[a-z0-9.-]+-[a-z]+-[0-9]{8}",
    "(?:[a-z0-9]+-){0,1}[a-z]+",
    "[A-Za-z0-9][A-Za-z0-9_.-]{0,62}",
    "(?:a?){19}c",
    "(?:a?){12}(?:(?:a)(?:a)){100}c",
    "(?i)(?:a?){12}(?:[ab][ab]){100}c",
]
SLOW = [
    "(a+)+",
    "(a*)*b",
    "(a|aa)+",
    "(a|bc)*x",
    "((a*)b)*",
    "(x+x+)+y",
    "(a?){40}a{40}",
    ".*.*.*.*",
    "(?:a?){24}(?:(?:a)(?:a)){100}c",
    "(?:a?){20}(?:(?:a)(?:a)){100}c",
    "(?:a?){24}c",
    "(?:a|b|ab){16}(?:xx){100}",
    "(?:a??){24}c",
    "(?i)(?:a?){18}(?:[ab][ab]){100}c",
    "(?:(?:a?b?){5}){5}c",
    "(?:(?:a)(?:a|b)?){30}c",
]
# Not patterns of re2.
BACK_REFERENCES = ["(.)\\1", "(?P<n>a)(?P=n)"]
SLOW_LOOKAROUNDS = ["(?=(?:a?){24}c)a*", "(?:a?){24}(?!c)"]
VERY_SLOW = ["(?:(?:(?:a?){20}){20}){20}", "(?:(?:(?:a|ab){100}){100}){100}"]
FAST_LOOKAROUNDS = ["(?!golden-).*"]
NAMES = [
    "a" * 255,
    "ab" * 127,
    "a" * 24 + "b" * 231,
    "a" * 254 + "!",
    "x" * 254 + "!",
    "-" * 255,
    "nightly-1",
    "",
    "\ud800",
]


@pytest.fixture
def without_re2(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make google-re2 look as if it were not installed."""
    original = builtins.__import__

    def import_module(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "re2":
            raise ImportError
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", import_module)


@pytest.fixture
def with_re2() -> None:
    """Skip the test where google-re2 is not installed."""
    pytest.importorskip("re2")


both_engines = pytest.mark.parametrize("engine", ["without_re2", "with_re2"])


def assert_fast(matches: Matches) -> None:
    for name in NAMES:
        begin = time.process_time()
        matches(name)
        assert time.process_time() - begin < 1, "a hang, not a timing"


@pytest.mark.usefixtures("without_re2")
@pytest.mark.parametrize("pattern", FAST + FAST_LOOKAROUNDS)
def test_the_standard_library_gets_fast_patterns(pattern: str) -> None:
    assert_fast(compile_pattern(pattern))


@pytest.mark.usefixtures("without_re2")
@pytest.mark.parametrize("pattern", SLOW + BACK_REFERENCES + SLOW_LOOKAROUNDS + VERY_SLOW)
def test_the_standard_library_gets_no_slow_pattern(pattern: str) -> None:
    with pytest.raises(ValueError, match="install google-re2"):
        compile_pattern(pattern)


@pytest.mark.usefixtures("with_re2")
@pytest.mark.parametrize("pattern", FAST + SLOW)
def test_re2_gets_every_pattern(pattern: str) -> None:
    assert_fast(compile_pattern(pattern))


@both_engines
@pytest.mark.parametrize("pattern", ["(", "[", "*", "(?P<n"])
def test_refuses_what_is_not_a_pattern(pattern: str, engine: str, request: pytest.FixtureRequest) -> None:
    request.getfixturevalue(engine)
    with pytest.raises(ValueError, match=r"^not a (regular expression|pattern of google-re2): "):
        compile_pattern(pattern)


@pytest.mark.usefixtures("without_re2")
def test_refuses_a_repeated_repeat() -> None:
    """It is a pattern of re2."""
    with pytest.raises(ValueError, match=r"^not a regular expression: multiple repeat"):
        compile_pattern("a{2}{3}")


@both_engines
@pytest.mark.parametrize(
    ("name", "expected"),
    [("a", True), ("ab", True), ("abc", False), ("", False), ("a\n", False), ("\ud800", False)],
)
def test_matches_whole_names(name: str, expected: bool, engine: str, request: pytest.FixtureRequest) -> None:
    request.getfixturevalue(engine)
    assert compile_pattern("a|ab")(name) is expected


@pytest.mark.usefixtures("with_re2")
def test_re2_reports_in_the_exception_alone(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match=r"^not a pattern of google-re2: missing \): \($"):
        compile_pattern("(")
    assert capfd.readouterr().err == ""

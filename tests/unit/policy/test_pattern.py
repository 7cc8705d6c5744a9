"""A pattern of the operator's can't hang a worker."""

from __future__ import annotations

import builtins
import contextlib
import sys
import time
from typing import Any, Callable

import pytest

from imagefilter.policy.pattern import Matches, compile_pattern

# Characters that a class of the standard library compares one by one.
ASTRAL = "".join(chr(0x1F300 + 2 * number) for number in range(1000))

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
    "(?i)[a-z]+-[a-z]+-[a-z]+-prod",
    "[\\w.-]{1,60}-[\\w.-]{1,60}-[\\w.-]{1,60}",
    "([a-z]+)-([a-z0-9]+)-(v[0-9]+|latest)",
    "(?:a|(?:(?:a*)*){0})b",
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
    "(?:a?a?a?a?a?a?a?a?)(?:a?a?a?a?a?a?a?a?)(?:a?a?a?a?a?a?a?a?a?)c",
    "(?:(?:a*)*){0}(a+)+b",
    "(?:(?:a|aa)*){0}(?:a|aa)*b",
    "(?:(a+)+){2}b",
    f"a*a*[^{ASTRAL}]{{50}}c",
]
# Not patterns of re2.
BACK_REFERENCES = ["(.)\\1", "(?P<n>a)(?P=n)", "(a)?(?(1)b|c)", "(?:(a)\\1){0}(a+)+b"]
SLOW_LOOKAROUNDS = ["(?=(?:a?){24}c)a*", "(?:a?){24}(?!c)"]
VERY_SLOW = ["(?:(?:(?:a?){20}){20}){20}", "(?:(?:(?:a|ab){100}){100}){100}"]
FAST_LOOKAROUNDS = ["(?!golden-).*", "(?=.*[0-9])(?=.*[a-z])(?=.*-)(?!.*--)[a-z0-9-]{8,64}"]
# Patterns that cost more with each number: the largest of each that is accepted costs nearly as much as any may.
GROWING: dict[str, Callable[[int], str]] = {
    "options": lambda number: "a?" * number + "c",
    "options of a class": lambda number: "[ab]?" * number + "[cd]",
    "options in any case": lambda number: "(?i)" + "[ab]?" * number + "c",
    "options in any case of a part": lambda number: "(?i:[ab]?)" * number + "c",
    "lazy options": lambda number: "a??" * number + "c",
    "repeated options": lambda number: f"(?:a?){{{number}}}c",
    "lazy repeated options": lambda number: f"(?:a??){{{number}}}?c",
    "captured options": lambda number: f"(a?){{{number}}}c",
    "groups of options": lambda number: f"({'a?' * 8})" * 2 + f"({'a?' * number})c",
    "nested options": lambda number: "(?:a" * number + ")?" * number + "(?:a?){12}c",
    "nested repeats": lambda number: f"(?:(?:a?b?){{{number}}}){{2}}c",
    "alternatives with a common prefix": lambda number: "(?:ab|abab|aba)" * number + "c",
    "alternatives": lambda number: "(?:[ab]|a[ab])" * number + "c",
    "many alternatives": lambda number: "a*a*(?:" + "|".join(f"[ab]{{{n}}}[cd]" for n in range(number)) + ")",
    "lookaheads": lambda number: "(?:(?=a?a*)a?)" * number + "c",
    "lookaheads behind repeats": lambda number: "a*a*" + "(?=[ab]*)" * number + "c",
    "negative lookaheads": lambda number: "(?!a?a?b)a?" * number + "c",
    "lookbehinds": lambda number: "a?a*a*" + "(?<=a)" * number + "c",
    "repeats": lambda number: "[ab]*" * number + "[cd]",
    "lazy repeats": lambda number: "[ab]*?" * number + "[cd]",
    "repeats in any case": lambda number: "(?i)" + "[ab]*" * number + "[cd]",
    "repeats of a pair": lambda number: "(?:[ab]a)*" * number + "c",
    "captured repeats of a pair": lambda number: "([ab]a)*" * number + "c",
    "long rests": lambda number: "a*a*" + "a" * number + "c",
    "long rests of groups": lambda number: f"(?:a?){{10}}(?:(?:a)(?:a)){{{number}}}c",
    "long rests of classes": lambda number: "a*a*" + "[ab]" * number + "c",
    "large classes": lambda number: f"a*[^{ASTRAL[:number]}]*[^{ASTRAL[:number]}]{{9}}c",
    "bounded repeats": lambda number: f"[ab]{{0,{number}}}" * 3 + "c",
    "bounded repeats of a group": lambda number: f"(?:[ab]a){{0,{number}}}" * 2 + "c",
    "repeats that match nothing": lambda number: "a*" + f"(?:\\B){{{number}}}" * 9 + "c",
    "many groups": lambda number: "()" * number * 9 + "(?:a?){14}(?:a|(?:a)){3}c",
}
PYTHON_311 = {
    "atomic groups": lambda number: "(?>a?a?)(?:a|)" * number + "c",
    "atomic repeats": lambda number: "a?a*" + "(?>[ab]*)" * number + "c",
    "possessive repeats": lambda number: f"(?:(?:a?+a?){{{number}}}+)b",
    "possessive options": lambda number: "(?:a?+|aa)" * number + "c",
}
if sys.version_info >= (3, 11):
    GROWING.update(PYTHON_311)
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


@pytest.mark.usefixtures("without_re2")
def test_a_pattern_that_is_nested_too_deeply_is_refused() -> None:
    """Wherever the recursion ends: in the parser, in the compiler, or in the measurement."""
    for depth in range(2, 600, 2):
        with contextlib.suppress(ValueError):
            assert compile_pattern("(" * depth + "a" + ")" * depth)("a")


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
@pytest.mark.parametrize("kind", GROWING)
def test_the_largest_pattern_that_the_standard_library_gets_is_fast(kind: str) -> None:
    assert_fast(compile_largest(GROWING[kind]))


def compile_largest(grow: Callable[[int], str]) -> Matches:
    """Return the largest pattern of a kind that is accepted."""
    largest = compile_pattern(grow(1))
    for number in range(2, 100):
        try:
            largest = compile_pattern(grow(number))
        except ValueError:
            break
    return largest


@pytest.mark.usefixtures("without_re2")
@pytest.mark.parametrize("pattern", SLOW + BACK_REFERENCES + SLOW_LOOKAROUNDS + VERY_SLOW)
def test_the_standard_library_gets_no_slow_pattern(pattern: str) -> None:
    with pytest.raises(ValueError, match="install google-re2"):
        compile_pattern(pattern)


@pytest.mark.usefixtures("with_re2")
@pytest.mark.parametrize("pattern", FAST + SLOW)
def test_re2_gets_every_pattern(pattern: str) -> None:
    assert_fast(compile_pattern(pattern))


@pytest.mark.usefixtures("with_re2")
def test_re2_does_not_note_what_groups_match() -> None:
    """It would take seconds for thousands of groups."""
    assert_fast(compile_pattern("(?:(a?)(b?)){500}" * 40 + "c"))


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

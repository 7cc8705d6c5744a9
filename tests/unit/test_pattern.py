from __future__ import annotations

import builtins
import time
from typing import Any

import pytest

from imagefilter.pattern import compile_pattern

FINE = [
    "nightly-.*",
    "(nightly|weekly)-[0-9]{8}",
    "[a-z]+-[a-z]+-[0-9]+",
    "(?i)prod-[\\w.-]{1,60}",
    "(?:ab)+c",
    "[ab]*",
    "(a|b)+",
    ".*.*",
    "",
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
    "(.)\\1",
    "(?P<n>a)(?P=n)",
]


@pytest.fixture
def without_re2(monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "re2":
            raise ImportError
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)


@pytest.mark.usefixtures("without_re2")
@pytest.mark.parametrize("pattern", FINE)
def test_the_standard_library_takes_what_is_fast(pattern: str) -> None:
    matches = compile_pattern(pattern)
    for text in ("a" * 255, "x" * 254 + "!", "-" * 255, "nightly-1", "", "\ud800"):
        begin = time.process_time()
        matches(text)
        assert time.process_time() - begin < 1, "a hang, not a timing"


@pytest.mark.usefixtures("without_re2")
@pytest.mark.parametrize("pattern", SLOW)
def test_the_standard_library_is_not_given_what_may_be_slow(pattern: str) -> None:
    with pytest.raises(ValueError, match="install google-re2"):
        compile_pattern(pattern)


@pytest.mark.parametrize("pattern", SLOW[:-2])
def test_re2_takes_them_all(pattern: str) -> None:
    pytest.importorskip("re2")
    matches = compile_pattern(pattern)
    begin = time.process_time()
    matches("a" * 254 + "!")
    assert time.process_time() - begin < 1


@pytest.mark.parametrize("pattern", ["(", "[", "a{2}{3}", "*", "(?P<n"])
@pytest.mark.parametrize("engine", ["re", "re2"])
def test_what_is_no_pattern(pattern: str, engine: str, request: pytest.FixtureRequest) -> None:
    if engine == "re":
        request.getfixturevalue("without_re2")
    else:
        pytest.importorskip("re2")
        if pattern == "a{2}{3}":
            pytest.skip("is one to re2")
    with pytest.raises(ValueError, match=r"no (regular expression|pattern)"):
        compile_pattern(pattern)


@pytest.mark.parametrize("engine", ["re", "re2"])
def test_whole_names_match(engine: str, request: pytest.FixtureRequest) -> None:
    if engine == "re":
        request.getfixturevalue("without_re2")
    else:
        pytest.importorskip("re2")
    matches = compile_pattern("a|ab")
    assert [matches(text) for text in ("a", "ab", "abc", "", "a\n", "\ud800")] == [True, True] + [False] * 4


def test_what_is_no_pattern_is_said_once_and_in_words(capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("re2")
    with pytest.raises(ValueError, match=r"^no pattern of google-re2: missing \): \($"):
        compile_pattern("(")
    assert capfd.readouterr().err == ""

"""Compile and evaluate the expressions of the operator's own rules: CEL, by Google's cel-expr-python.

The library is an extra: it is loaded when a policy has a rule, and only then.
"""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

#: Longest expression, in characters.
MAX_LENGTH = 4096

_MAX_ERRORS = 3
_MAX_REASON = 200

# has() of a field, which is one variable with dots in its name, would be the value of the field: what a rule means by
# `has(server.locked)` would not be what it does.
_CONFIG = "stdlib:\n  exclude_macros: [has]\n"
_NO_HAS = "has() does not exist here: write '\"key\" in image.metadata' for a key; a field that is absent is an error"

# A constant pattern, which the library compiles only when it is used.
_PATTERN = re.compile(r"""\bmatches\(\s*(r?"(?:[^"\\]|\\.)*"|r?'(?:[^'\\]|\\.)*')\s*\)""")

_COMPILE_ERROR = re.compile(r"ERROR: <input>:(\d+):(\d+): (.*)")
_UNKNOWN_NAME = re.compile(r"undeclared reference to '([\w.]+)'")
_ABSENT = re.compile(r'No value with name "([\w.]+)"')
_CATEGORY = re.compile(r"^[A-Z_]+: ")


class ExpressionError(ValueError):
    """An expression can't be used; the message says where and why."""


class EvaluationFailed(Exception):
    """An expression has no result for a request; the message says why, without what a client sent."""


class Expression(NamedTuple):
    """A compiled expression."""

    source: str
    fields: frozenset[str]  # of the document that it reads
    program: Any  # the library's

    def evaluate(self, document: Mapping[str, Any]) -> bool:
        """Return the expression's result.

        :param document: the value of each field; an absent one is left out.
        :raises EvaluationFailed: if there is none.
        """
        try:
            result = self.program.eval(data=document).value()
        except Exception as error:  # an exceeded budget of iterations is raised, other errors are values
            raise EvaluationFailed(self._explain(str(error))) from error
        if result is True or result is False:
            return bool(result)
        raise EvaluationFailed(self._explain(str(result)))

    def _explain(self, text: str) -> str:
        """Return why there is no result: the library's words, and of the client's only what the expression holds."""
        absent = _ABSENT.search(text)
        if absent and absent.group(1) in self.fields:  # else a client wrote the library's words
            return f"{absent.group(1)} is absent"
        text = _CATEGORY.sub("", text.split(" [", maxsplit=1)[0])
        general, separator, detail = text.partition(":")
        detail = detail.strip(' "')
        if detail and detail in self.source:
            return f"{general.strip()}{separator} {detail}"[:_MAX_REASON]
        return re.sub(r"""["'].*""", "", general).strip()[:_MAX_REASON] or "the evaluation failed"


class Compiler:
    """Compiles expressions about a document.

    :param fields: the type of each field of the document, by its dotted name.
    :raises ExpressionError: if the library is not installed.
    """

    def __init__(self, fields: Mapping[str, str]) -> None:
        try:
            from cel_expr_python import cel  # noqa: PLC0415
        except ImportError as error:
            raise ExpressionError(_describe_missing_library(error)) from error
        self._cel = cel
        self._types = {name: cel.Type(signature) for name, signature in fields.items()}
        self._environment = self._build_environment()
        self._without: dict[str, Any] = {}

    def compile(self, source: str) -> Expression:
        """Return a compiled expression.

        :raises ExpressionError: if it is too long, does not compile, or is no ``bool``.
        """
        if len(source) > MAX_LENGTH:
            raise ExpressionError(f"longer than {MAX_LENGTH} characters ({len(source)})")
        try:
            program = self._environment.compile(source)
        except Exception as error:
            raise ExpressionError(self._explain(str(error))) from error
        result_type = program.return_type()
        if result_type != self._cel.Type.BOOL:
            raise ExpressionError(f"line 1, column 1: it is of the type {_name(result_type)}, not bool")
        self._check_patterns(source)
        return Expression(source, self._find_fields(source), program)

    def _check_patterns(self, source: str) -> None:
        """Raise ExpressionError for a constant pattern that is none: otherwise it would refuse every request."""
        for found in _PATTERN.finditer(source):
            try:
                result = self._environment.compile(f"''.matches({found.group(1)})").eval(data={}).value()
            except Exception:  # noqa: S112  # it is no constant after all
                continue
            if type(result) is str:
                lines = source[: found.start(1)].split("\n")
                reason = _CATEGORY.sub("", result)
                raise ExpressionError(f"line {len(lines)}, column {len(lines[-1]) + 1}: {reason}")

    def _build_environment(self, without: str | None = None) -> Any:
        config = self._cel.NewEnvConfigFromYaml(_CONFIG)
        types = {name: type_ for name, type_ in self._types.items() if name != without}
        return self._cel.NewEnv(config=config, variables=types)

    def _find_fields(self, source: str) -> frozenset[str]:
        """Return the fields without which an expression does not compile: the type checker itself knows best."""
        fields = []
        for name in self._types:
            # Its last word must be there. An environment takes milliseconds to build.
            if name.rpartition(".")[2] not in source:
                continue
            if name not in self._without:
                self._without[name] = self._build_environment(name)
            if not _compiles(self._without[name], source):
                fields.append(name)
        return frozenset(fields)

    def _explain(self, text: str) -> str:
        """Return each error with its place and, for a misspelt field, the field that was probably meant."""
        reasons = []
        for line, column, reason in _COMPILE_ERROR.findall(text)[:_MAX_ERRORS]:
            reasons.append(f"line {line}, column {column}: {self._improve(reason)}")
        return ", ".join(dict.fromkeys(reasons)) or text.split("\n", maxsplit=1)[0][:_MAX_REASON]

    def _improve(self, reason: str) -> str:
        reason = reason.replace(" [INVALID_ARGUMENT]", "").replace(" (in container '')", "")
        unknown = _UNKNOWN_NAME.search(reason)
        if unknown is None:
            return reason
        if unknown.group(1) == "has":
            return _NO_HAS
        for field in difflib.get_close_matches(unknown.group(1), self._types, 1):
            return f"unknown name '{unknown.group(1)}' (is it {field}?)"
        return f"unknown name or function '{unknown.group(1)}'"


def _compiles(environment: Any, source: str) -> bool:
    try:
        environment.compile(source)
    except Exception:
        return False
    return True


def _name(result_type: Any) -> str:
    return str(result_type.name()).lower().replace(", ", ",")


def _describe_missing_library(error: ImportError) -> str:
    if sys.version_info < (3, 11):
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        return (
            f"rules of your own need the library cel-expr-python, which needs Python 3.11 or newer (this is {version})"
        )
    return (
        "rules of your own need the library cel-expr-python: pip install 'nova-imagefilter[cel]', or pip install"
        f" cel-expr-python, in the virtualenv of this process ({error})"
    )

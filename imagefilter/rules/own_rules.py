"""Compile the operator's own rules, as a policy is loaded."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Sequence

from imagefilter.policy.own_rules import OwnRuleOptions
from imagefilter.rules.document import FIELDS
from imagefilter.rules.expression import Compiler, Expression, ExpressionError
from imagefilter.rules.own import OwnRule


def compile_rules(
    sections: Sequence[OwnRuleOptions], built_in: Collection[str], errors: list[str]
) -> Iterator[tuple[OwnRuleOptions, OwnRule]]:
    """Yield each rule that can be used beside its options.

    :param built_in: the names of the rules that are there already.
    :param errors: gets a message for each of the others.
    """
    if not sections:
        return
    try:
        compiler = Compiler({field.name: field.type for field in FIELDS})
    except ExpressionError as error:
        errors.append(f"section [{sections[0].section}]: {error}")
        return
    for options in sections:
        if options.name in built_in:
            errors.append(f"{options.location}: '{options.name}' is the name of a built-in rule")
            continue
        rule = _compile(compiler, options, errors)
        if rule:
            yield options, rule


def _compile(compiler: Compiler, options: OwnRuleOptions, errors: list[str]) -> OwnRule | None:
    try:
        expression = _compile_as_written(compiler, options.deny)
    except ExpressionError as error:
        errors.append(f"deny in {options.location}: {error}")
        return None
    return OwnRule(
        name=options.name,
        message=options.message,
        actions=frozenset(options.actions),
        projects=frozenset(options.projects),
        expression=expression,
    )


def _compile_as_written(compiler: Compiler, source: str) -> Expression:
    """Return the compiled expression.

    oslo.config takes the quotes away from a text that begins and ends with one: here, those of two strings.

    :raises ExpressionError: if it does not compile.
    """
    try:
        return compiler.compile(source)
    except ExpressionError:
        for quote in ('"', "'"):
            with contextlib.suppress(ExpressionError):
                return compiler.compile(f"{quote}{source}{quote}")
        raise

"""Write the parts of the documentation that derive from the code: ``python -m docs.generate`` (``make generate``).

A generated part is between a line ``<!-- generated: NAME -->`` and a line ``<!-- end of NAME -->``. A test fails if one
of them is out of date.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Callable

from oslo_config import cfg

from docs.commands_reference import describe_commands
from docs.own_rules_reference import describe_examples, describe_fields
from imagefilter.fault import FAULT_NAMES
from imagefilter.gateway import options as gateway_options
from imagefilter.policy import options as filter_options
from imagefilter.policy.own_rules import OWN_RULE_OPTIONS
from imagefilter.relay import options as relay_options
from imagefilter.rules import table
from imagefilter.rules.rule import Rule

ROOT = Path(__file__).parents[1]

#: Pages that have generated parts.
PAGES = ("docs/commands.md", "docs/configuration.md", "docs/own-rules.md", "docs/refusals.md")


def rules_table() -> Iterator[str]:
    """Write the table of rules: what each refuses, by which options, and who is exempt."""
    yield "| rule | response | message | options | exemptible |"
    yield "|---|---|---|---|---|"
    for rule in table.RULES:
        options = ", ".join(f"`{option}`" for option in rule.options)
        exemptible = ""
        if rule.exemptible:
            exemptible = "yes"
        yield f"| `{rule.name}` | {_response(rule)} | {rule.summary} | {options} | {exemptible} |"


def filter_reference() -> Iterator[str]:
    """Describe the filter's options."""
    return _describe(filter_options.OPTIONS, filter_options.PROJECT_OPTIONS)


def own_rule_reference() -> Iterator[str]:
    """Describe the options of a rule of the operator's own."""
    return _describe(OWN_RULE_OPTIONS)


def gateway_reference() -> Iterator[str]:
    """Describe the gateway's options."""
    return _describe(gateway_options.OPTIONS)


def relay_reference() -> Iterator[str]:
    """Describe the relay's options."""
    return _describe(relay_options.OPTIONS)


GENERATORS: dict[str, Callable[[], Iterator[str]]] = {
    "rules": rules_table,
    "filter options": filter_reference,
    "gateway options": gateway_reference,
    "relay options": relay_reference,
    "commands": describe_commands,
    "own rule options": own_rule_reference,
    "fields": describe_fields,
    "examples": describe_examples,
}


def regenerate(text: str) -> str:
    """Return a page with its generated parts made anew."""
    for name, generate in GENERATORS.items():
        begin, end = f"<!-- generated: {name} -->\n", f"<!-- end of {name} -->"
        before, found, rest = text.partition(begin)
        if found:
            lines = "".join(f"{line}\n" for line in generate())
            text = f"{before}{begin}\n{lines}\n{end}{rest.partition(end)[2]}"
    return text


def main() -> None:
    """Write all pages."""
    for page in PAGES:
        path = ROOT / page
        path.write_text(regenerate(path.read_text(encoding="utf-8")), encoding="utf-8")


def _response(rule: Rule) -> str:
    if rule.status == 401:  # keystonemiddleware's body, which has no name of a fault
        return "401"
    return f"{rule.status} {FAULT_NAMES[rule.status]}"


def _describe(options: Sequence[cfg.Opt], project_options: Collection[str] = ()) -> Iterator[str]:
    for number, option in enumerate(options):
        if number:
            yield ""
        yield f"### `{option.name}`"
        yield ""
        yield ", ".join(_facts(option, project_options))
        yield ""
        yield option.help.strip().replace("``", "`")
        if option.type.__class__.__name__ == "String" and option.type.choices:
            yield ""
            yield from (f"* `{value}`: {text}".replace("``", "`") for value, text in _choices(option))


def _facts(option: cfg.Opt, project_options: Collection[str]) -> Iterator[str]:
    default = option.default
    if isinstance(default, list):
        default = ", ".join(default)
    elif isinstance(default, bool):
        default = str(default).lower()
    if default in (None, "", {}):
        yield "Not set by default"
    else:
        yield f"Default: `{default}`"
    if option.name in project_options:
        yield "can be set for one project"
    for old in option.deprecated_opts:
        yield f"old name: `{old.name}`"


def _choices(option: cfg.Opt) -> Iterator[tuple[str, str]]:
    for value, text in option.type.choices.items():
        if text:
            yield value, text


if __name__ == "__main__":
    main()

"""Words for the codes of a process: release attributes, failure modes, rules."""

from __future__ import annotations

from collections.abc import Mapping

from features.process import LabelRule, ProcessDefinition
from models.explain.words import with_unit

_COMPARED = {"<": "below", "<=": "at most", ">": "above", ">=": "at least"}


def attribute_label(process: ProcessDefinition, name: str) -> str:
    """The label of the parameter that a release attribute is measured by; of an unknown one the name in plain words."""
    found = next((a for a in process.quality_attribute if a.name == name), None)
    return process[found.parameter].label if found else in_plain_words(name)


def mode_label(name: str, labels: Mapping[str, str]) -> str:
    """The label that a process definition gives a failure mode, or its name in plain words: `low_dose` is "Low dose"."""
    return labels.get(name) or in_plain_words(name)


def rule_in_words(process: ProcessDefinition, rule: str) -> str:
    """A label rule with the parameter's label and unit; text that is no rule over a parameter stays as it is."""
    try:
        parsed = LabelRule.parse(rule)
    except ValueError:
        return rule
    parameter = process.by_name.get(parsed.parameter)
    if parameter is None:
        return rule
    limit = with_unit(f"{parsed.limit:g}", parameter.unit)
    return f"{parameter.label} {_COMPARED[parsed.compare]} {limit}"


def in_plain_words(code: str) -> str:
    """A code as words: underscores are spaces, and the first letter is a capital one."""
    words = code.replace("_", " ").strip()
    return words[:1].upper() + words[1:]

"""First drafts of the two files that a release needs beside a process definition, for a person to finish and to sign."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

INTENDED_USE, ACCEPTANCE = "intended_use", "acceptance"


def beside(process_file: Path, kind: str) -> Path:
    """Where the intended use or the acceptance criteria of a process definition lie: `<id>.<kind>.toml` beside it."""
    return process_file.with_name(f"{process_file.stem}.{kind}.toml")


def draft_intended_use(definition: str) -> str:
    """An intended use that loads, with `check:` where a person has to decide.

    Args:
        definition: Text of the process definition.
    """
    process = tomllib.loads(definition)["process"]
    points = [hours for hours in process.get("checkpoints_h", []) if hours > 0] or [process["planned_duration_h"] / 2]
    return f"""\
# Drafted from a process definition. Go through every line with 'check:', then have it signed before the test is read.

process = {json.dumps(process["id"])}
question = "Will this batch fail?"  # check: the question that a score answers
product = {json.dumps(process["name"], ensure_ascii=False)}  # check
process_versions = [{json.dumps(process["version"])}]
sites = ["any"]  # check: name the sites it is meant for
decision_points_h = {json.dumps(points)}  # check: when does somebody decide with a score at hand?
users = ["process engineer of the shift: looks at the batch"]  # check: who acts on a score, and how
limits = ["changes no status of a batch and releases none"]  # check: what a score must not be used for

# check: the values for which it is meant, by parameter
# [input_ranges]
# temperature_c = [30, 42]
"""


def draft_acceptance(definition: str) -> str:
    """Acceptance criteria that load, with `check:` where a person has to decide; no feature is justified yet.

    Args:
        definition: Text of the process definition.
    """
    tables = tomllib.loads(definition)
    budget = tables.get("decision", {}).get("alarm_budget", 0.05)
    return f"""\
# Drafted from a process definition. Go through every line with 'check:', then have it signed before the test is read.

process = {json.dumps(tables["process"]["id"])}

[[criterion]]
metric = "auroc_low"
bound = 0.6  # check
side = "at_least"
least_failures = 20  # check: with fewer failures in the test nothing is decided

[[criterion]]
metric = "recall"
bound = 0.5  # check: share of the failures that must be called high
side = "at_least"
least_failures = 20

[[criterion]]
metric = "alarm_share"
bound = {2 * budget:g}  # check: share of the good batches that may be called high; the budget is {budget:g}
side = "at_most"
least_failures = 20

# check: why each of the 20 features that move scores most may count; one table a feature or a pattern
# [[feature]]
# pattern = "temperature_c.*"
# mechanism = "heat harms the cells"
# expected_sign = "+"
"""


def drafts_beside(process_file: Path, definition: str) -> dict[Path, str]:
    """Both drafts by the path where they belong."""
    return {
        beside(process_file, INTENDED_USE): draft_intended_use(definition),
        beside(process_file, ACCEPTANCE): draft_acceptance(definition),
    }

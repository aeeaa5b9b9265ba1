"""Digests of code and of process definitions: what changes them, and what does not."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel

from features.canonical import digest
from features.digests import (
    COUNTED_TABLES,
    NOT_COUNTED_KEYS,
    features_digest,
    module_digests,
    process_digest,
    source_digest,
)
from features.process import ProcessDefinition, load_process

SOURCE = '''"""Slopes."""

LIMIT = 3.5


class Line:
    """A line."""

    slope: float
    """Its rise an hour."""

    def at(self, hours: float) -> float:
        """Value of the line at `hours`."""
        # the intercept is zero
        if hours > LIMIT:
            return self.slope * hours
        return f"{hours!r}"
'''

DEFINITION = """
[process]
id = "p"
name = "P"
version = "1"
planned_duration_h = 24
every_h = 6

[[parameter]]
name = "ph"
label = "pH"
unit = "1"
kind = "sensor"
range = [4, 10]
note = "assumed"

[[parameter]]
name = "dose"
label = "Dose"
unit = "1"
kind = "assay"
excluded = true

[[phase]]
name = "growth"
label = "Growth"
starts_h = 0
planned_h = 24

[[quality_attribute]]
name = "dose"
parameter = "dose"
lower = 2

[outcome]
failed = ["rejected"]

[cost]
failed_batch = 100000
false_alarm = 2000
"""


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        ("# the intercept is zero", "# no intercept"),
        ('"""Value of the line at `hours`."""', '"""The value\n        then."""'),
        ('"""Slopes."""', '"""Slopes and lines."""'),
        ('        """Value of the line at `hours`."""\n', ""),
        ('"""A line."""', "'A straight line.'"),
        ('    """Its rise an hour."""\n', ""),
        ("return self.slope * hours", "return (\n                self.slope\n                * hours\n            )"),
        ("LIMIT = 3.5\n", "LIMIT = 3.50\n\n"),
    ],
)
def test_words_and_formatting_leave_the_digest_of_code(was, becomes) -> None:
    assert was in SOURCE
    assert source_digest(SOURCE.replace(was, becomes)) == source_digest(SOURCE)


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        ("self.slope * hours", "self.slope + hours"),
        ("hours > LIMIT", "hours >= LIMIT"),
        ("3.5", "3.6"),
        ("3.5", "'3.5'"),
        ("hours!r", "hours!s"),
        ("return self.slope", "return -self.slope"),
        ("slope: float\n", "slope: float = 1.0\n"),
        ("def at(self, hours: float)", "def at(self, hours: float = 0)"),
        ("LIMIT = 3.5", "LIMIT = None"),
    ],
)
def test_one_operator_or_constant_changes_the_digest_of_code(was, becomes) -> None:
    assert was in SOURCE
    assert source_digest(SOURCE.replace(was, becomes)) != source_digest(SOURCE)


def test_the_spelling_of_a_tree_is_fixed() -> None:
    """Digests are stored: another Python must not give the same code another digest."""
    target = ["Name", ["id", "'x'"], ["ctx", ["Store"]]]
    statement = ["Assign", ["targets", [target]], ["value", ["Constant", ["value", "1"]]]]
    assert source_digest("x = 1") == digest(["Module", ["body", [statement]]])


def test_a_renamed_module_and_one_more_change_the_digests(tmp_path) -> None:
    (tmp_path / "lines.py").write_text(SOURCE)
    before = module_digests(tmp_path)
    (tmp_path / "lines.py").rename(tmp_path / "slopes.py")
    renamed = module_digests(tmp_path)
    assert list(before.values()) == list(renamed.values())
    assert before != renamed
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "more.py").write_text("")
    assert module_digests(tmp_path).keys() == {"slopes.py", "inner/more.py"}


def test_the_digest_of_feature_code_covers_every_module_of_the_package() -> None:
    root = Path(__file__).parents[2] / "features"
    assert len(features_digest()) == 64
    assert "context/lots.py" in module_digests(root)
    assert len(module_digests(root)) == len(list(root.rglob("*.py")))


def test_each_table_of_a_definition_is_classified() -> None:
    """A new table that changes no feature, label or score belongs into a subclass (see `COUNTED_TABLES`)."""
    assert ProcessDefinition.model_fields.keys() == COUNTED_TABLES
    assert NOT_COUNTED_KEYS.keys() <= COUNTED_TABLES


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        ("every_h = 6", "every_h = 12"),
        ("every_h = 6", "every_h = 6\nwindows_h = [6]"),
        ("range = [4, 10]", "range = [4, 11]"),
        ('label = "pH"', 'label = "Acidity"'),
        ('unit = "1"', 'unit = "%"'),
        ('kind = "sensor"', 'kind = "assay"'),
        ("planned_h = 24\n", "planned_h = 12\n"),
        ("lower = 2", "lower = 3"),
        ('failed = ["rejected"]', 'failed = ["rejected", "terminated"]'),
        ("failed_batch = 100000", "failed_batch = 200000"),
        ("[cost]", "[decision]\nalarm_budget = 0.1\n\n[cost]"),
    ],
)
def test_what_changes_features_labels_or_scores_changes_the_digest_of_a_process(tmp_path, was, becomes) -> None:
    assert was in DEFINITION
    assert digest_of(tmp_path, DEFINITION.replace(was, becomes)) != digest_of(tmp_path, DEFINITION)


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        ('note = "assumed"\n', 'note = "measured"\n'),
        ('note = "assumed"\n', ""),
        ('failed = ["rejected"]', 'failed = ["rejected"]\ncompare_splits_on = ["dose < 3"]'),
        ("[cost]", "[decision]\nalarm_budget = 0.05\n\n[cost]"),
        ('kind = "assay"', 'kind = "assay"\ncontrollable = false'),
        ("failed_batch = 100000", "failed_batch = 1e5  # a comment"),
    ],
)
def test_what_changes_none_of_these_leaves_the_digest_of_a_process(tmp_path, was, becomes) -> None:
    assert was in DEFINITION
    assert digest_of(tmp_path, DEFINITION.replace(was, becomes)) == digest_of(tmp_path, DEFINITION)


class Source(BaseModel):
    folder: str


class WithSource(ProcessDefinition):
    source: Source | None = None


def test_a_table_of_a_subclass_never_counts(tmp_path) -> None:
    path = tmp_path / "p.toml"
    path.write_text(f'{DEFINITION}\n[source]\nfolder = "lims"\n')
    process = load_process(path, WithSource)
    assert process.source == Source(folder="lims")
    assert process_digest(process) == digest_of(tmp_path, DEFINITION)


def digest_of(tmp_path: Path, text: str) -> str:
    path = tmp_path / "p.toml"
    path.write_text(text)
    return process_digest(load_process(path))

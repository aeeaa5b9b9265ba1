"""Process definitions: what loads, and which line a mistake is told with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from features.errors import ProcessError
from features.process import LabelRule, ProcessDefinition, load_process
from pipelines.sources.policy import PlantDefinition

ROOT = Path(__file__).parents[2]
HEAD = """[process]
id = "p"
name = "P"
version = "1"
planned_duration_h = 24
every_h = 6
"""
PH = """[[parameter]]
name = "ph"
label = "pH"
unit = "1"
kind = "sensor"
"""
DOSE = """[[quality_attribute]]
name = "dose"
parameter = "ph"
"""


def load(tmp_path: Path, text: str) -> ProcessDefinition:
    path = tmp_path / "p.toml"
    path.write_text(text)
    return load_process(path)


def refusal(tmp_path: Path, text: str) -> str:
    with pytest.raises(ProcessError) as caught:
        load(tmp_path, text)
    message = str(caught.value)
    assert "\n" not in message
    return message.removeprefix(str(tmp_path / "p.toml"))


@pytest.mark.parametrize(
    "path", sorted(p for p in (ROOT / "processes").glob("*.toml") if "." not in p.stem), ids=lambda p: p.stem
)
def test_every_shipped_definition_loads_under_its_own_name(path) -> None:
    assert load_process(path, PlantDefinition).id == path.stem


def test_checkpoints_follow_from_a_step(tmp_path) -> None:
    assert load(tmp_path, HEAD + PH).checkpoints_h == (6, 12, 18, 24)


def test_an_open_limit_is_written_nan(tmp_path) -> None:
    assert load(tmp_path, HEAD + PH + "range = [0, nan]\n")["ph"].range == (0, None)


def test_an_unknown_key_is_named_with_its_line_and_the_nearest_one(tmp_path) -> None:
    assert refusal(tmp_path, HEAD + PH + PH.replace('"ph"', '"do"') + "normall = [1, 2]\n") == (
        ":17: unknown key 'normall'; did you mean 'normal'?"
    )


def test_an_unknown_table_is_named_too(tmp_path) -> None:
    assert ":12: unknown key 'outcomes'; did you mean 'outcome'?" in refusal(tmp_path, HEAD + PH + "[outcomes]\n")


def test_a_line_within_a_list_of_inline_tables_is_found(tmp_path) -> None:
    text = 'parameter = [\n  { name = "a", label = "A", unit = "1", kind = "assay" },\n'
    text += '  { name = "b", label = "B", unti = "1", kind = "assay" },\n]\n'
    assert refusal(tmp_path, text + HEAD).startswith(":3: unknown key 'unti'; did you mean 'unit'?")


def test_a_missing_key_names_its_table(tmp_path) -> None:
    assert ":7: parameter.0.unit is missing" in refusal(tmp_path, HEAD + PH.replace('unit = "1"\n', ""))


@pytest.mark.parametrize(
    ("more", "what"),
    [
        ("range = [3, 1]\n", "range must go from low to high"),
        (PH, "parameter 'ph' is defined twice"),
        ('[outcome]\nlabel_from = "rule"\nlabel_rule = "yield < 97"\n', "'yield' is not a parameter"),
        ('[outcome]\nlabel_from = "rule"\nlabel_rule = "ph < 7"\n', "mark it excluded = true"),
        ('[outcome]\nlabel_from = "rule"\nlabel_rule = "ph about 7"\n', "not of the form 'parameter < number'"),
        ('[outcome]\nfailed = ["scrapped"]\n', "'released', 'released_oos', 'rejected', 'terminated' or 'cancelled'"),
        ('[outcome]\nfailed = ["rejected"]\ncensored = ["rejected"]\n', "cannot be failed and censored"),
        ("[decision]\nalarm_budget = 0.3\n", "watch_budget must be at least alarm_budget"),
        ("[decision]\nalarm_budget = 0\n", "decision.alarm_budget"),
        ("[decision]\nmissed_failures = 1\n", "decision.missed_failures"),
        ("[decision]\ncases_per_mode = 4\n", "decision.cases_per_mode"),
        ("[decision]\nalarm_budgets = 0.1\n", "did you mean 'alarm_budget'?"),
        (DOSE, "'dose' needs a lower or an upper limit"),
        (DOSE + "lower = 3\nupper = 2\n", "the lower one below the upper"),
        (DOSE + 'lower = 0\ntransform = "log"\n', "'dose' has a limit that transform = 'log' cannot show"),
        (DOSE + 'upper = 100\ntransform = "logit"\n', "'dose' has a limit that transform = 'logit' cannot show"),
        (2 * (DOSE + "lower = 2\n"), "quality_attribute 'dose' is defined twice"),
        (DOSE.replace('"ph"', '"pg"') + "lower = 2\n", "'pg' is not a parameter"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(tmp_path, more, what) -> None:
    assert what in refusal(tmp_path, HEAD + PH + more)


def test_what_is_asked_of_decisions_has_defaults_and_takes_what_the_plant_asks(tmp_path) -> None:
    plain = load(tmp_path, HEAD + PH).decision
    assert (plain.alarm_budget, plain.watch_budget, plain.missed_failures) == (0.05, 0.2, 0.25)
    assert (plain.cases_per_mode, plain.batches_per_subgroup) == (20, 20)
    asked = load(tmp_path, HEAD + PH + "[decision]\nalarm_budget = 0.2\nmissed_failures = 0.1\n").decision
    assert (asked.alarm_budget, asked.watch_budget, asked.missed_failures) == (0.2, 0.2, 0.1)


LAB = PH.replace('"ph"', '"ph_lab"').replace('"sensor"', '"assay"')


def test_a_sensor_may_name_the_assay_that_checks_it(tmp_path) -> None:
    assert load(tmp_path, HEAD + PH + 'checked_by = "ph_lab"\n' + LAB)["ph"].checked_by == "ph_lab"
    milli = load(
        tmp_path, (HEAD + PH + 'checked_by = "ph_lab"\n').replace('"1"\nk', '"g/L"\nk') + LAB.replace('"1"', '"mg/mL"')
    )
    assert milli["ph"].unit == "g/L"


@pytest.mark.parametrize(
    ("more", "what"),
    [
        (
            'checked_by = "ph_lap"\n' + LAB,
            "'ph' is checked_by 'ph_lap', which is not a parameter; did you mean 'ph_lab'?",
        ),
        ('checked_by = "ph"\n' + LAB, "'ph' is checked_by 'ph': expected an assay that is not excluded"),
        ('checked_by = "ph_lab"\n' + LAB + "excluded = true\n", "expected an assay that is not excluded"),
        ('checked_by = "ph_lab"\n' + LAB.replace('"1"', '"mmol/L"'), "unit 'mmol/L' does not convert into '1'"),
        (LAB + 'checked_by = "ph"\n', "only a sensor is checked_by an assay"),
    ],
)
def test_what_cannot_check_a_sensor_is_refused_in_one_line(tmp_path, more, what) -> None:
    assert what in refusal(tmp_path, HEAD + PH + more)


def test_a_checkpoint_off_the_grid_of_bins_is_refused(tmp_path) -> None:
    assert "2.5 h is not a whole number of bins of 1 h" in refusal(tmp_path, HEAD.replace("6\n", "2.5\n") + PH)


def test_a_file_that_is_absent_or_no_toml_is_refused(tmp_path) -> None:
    with pytest.raises(ProcessError, match="no such file"):
        load_process(tmp_path / "absent.toml")
    assert "not TOML" in refusal(tmp_path, "[process\n")


@pytest.mark.parametrize(
    ("rule", "failed"), [("x < 97", [True, False]), ("x <= 97", [True, True]), ("x >= 97", [False, True])]
)
def test_a_label_rule_compares_as_written(rule, failed) -> None:
    parsed = LabelRule.parse(rule)
    assert parsed.failed(np.array([96.9, 97.0])).tolist() == failed
    assert str(parsed) == rule

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from benchmarks.field.dated import DATA_SETS, ROOT, DataSet, data_folder, definition_of
from features.errors import ProcessError
from features.process import LabelRule, load_process
from models.cohort.labels import label_log, labels_as_of
from pipelines.sources.convert import CONVERTERS, tablet_columns
from pipelines.sources.policy import PlantDefinition

TABLETS = [data for data in DATA_SETS if data.source == "tablet1005"]
BY_NAME = {data.name: data for data in DATA_SETS}
START = pd.Timestamp("2025-01-01T00:00Z")


@pytest.mark.parametrize("data", DATA_SETS, ids=lambda data: data.name)
def test_every_data_set_has_a_converter_and_a_definition_that_loads(data, tmp_path) -> None:
    assert data.source in CONVERTERS
    assert load_process(definition_of(data, tmp_path), PlantDefinition).id == data.process


def test_names_are_unique_and_the_tablets_are_asked_four_questions() -> None:
    assert len(BY_NAME) == len(DATA_SETS)
    own = load_process(ROOT / "processes/tablet.toml", PlantDefinition).outcome
    asked = [str(LabelRule.parse(data.label_rule or own.label_rule or "")) for data in TABLETS]
    assert asked == [str(LabelRule.parse(rule)) for rule in (own.label_rule or "", *own.compare_splits_on)]


@pytest.mark.parametrize("data", TABLETS, ids=lambda data: data.name)
def test_a_question_changes_the_label_and_no_feature(data, tmp_path) -> None:
    own, asked = (
        load_process(ROOT / "processes/tablet.toml", PlantDefinition),
        load_process(definition_of(data, tmp_path), PlantDefinition),
    )
    assert asked.parameter == own.parameter
    assert asked.process == own.process
    assert asked.outcome.label_rule == (data.label_rule or own.outcome.label_rule)


def test_whatever_decides_a_tablet_or_is_known_after_its_last_checkpoint_is_no_feature() -> None:
    process = load_process(ROOT / "processes/tablet.toml", PlantDefinition)
    features = {p.name for p in process.features_of("sensor", "assay", "attribute")}
    late = {*tablet_columns.FINAL_TESTS.values(), *tablet_columns.YIELD.values()}
    assert late & features == set()
    rules = [LabelRule.parse(rule) for rule in (process.outcome.label_rule or "", *process.outcome.compare_splits_on)]
    assert {rule.parameter for rule in rules} <= late


def test_one_history_gives_each_question_its_own_labels(tmp_path) -> None:
    values = {"batch_yield_pct": [96.0, 98.0], "residual_solvent_pct": [0.05, 0.15]}
    observations = pd.concat(
        [
            pd.DataFrame({"batch_id": ["A", "B"], "parameter": name, "observed_at": START, "available_at": START,
                          "revision": 0, "value": found, "quality": "good"})
            for name, found in values.items()
        ]
    )  # fmt: skip
    decided = pd.DataFrame({"batch_id": ["A", "B"], "outcome": "released", "decided_at": START, "revision": 0})
    failed = {
        name: labels_as_of(
            label_log(load_process(definition_of(BY_NAME[name], tmp_path), PlantDefinition), decided, observations)
        )["failed"]
        for name in ("tablet_yield", "tablet_solvent")
    }
    assert failed["tablet_yield"].to_dict() == {"A": True, "B": False}
    assert failed["tablet_solvent"].to_dict() == {"A": False, "B": True}


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("tbl_av_hardness < 40", "decides the outcome: mark it excluded = true"),
        ("taste < 3", "'taste' is not a parameter"),
    ],
)
def test_a_rule_on_a_feature_or_on_nothing_is_refused(rule, message, tmp_path) -> None:
    with pytest.raises(ProcessError, match=message):
        definition_of(replace(TABLETS[1], label_rule=rule), tmp_path)


def test_a_definition_without_a_rule_has_none_to_replace(tmp_path) -> None:
    with pytest.raises(ProcessError, match="0 lines of the form label_rule"):
        definition_of(DataSet("x", "secom", "secom", "X", label_rule="s000 < 1"), tmp_path)


def test_the_data_lie_where_the_environment_says(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("BATCHGUARD_REAL_DATA", str(tmp_path))
    assert data_folder() == tmp_path
    monkeypatch.delenv("BATCHGUARD_REAL_DATA")
    assert data_folder() == ROOT.parent / "shared" / "data"


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "n_failed"),
    [("tablet_yield", 100), ("tablet_dissolution", 79), ("tablet_solvent", 84), ("tablet_impurities", 32)],
)
def test_failures_of_the_published_batches(name, n_failed, real_data, tmp_path) -> None:
    laboratory = pd.read_csv(real_data / "tablet1005" / "laboratory.csv", sep=";")
    rule = load_process(definition_of(BY_NAME[name], tmp_path), PlantDefinition).label_rule
    assert rule is not None
    column = {new: old for old, new in (tablet_columns.YIELD | tablet_columns.FINAL_TESTS).items()}[rule.parameter]
    assert (len(laboratory), int(np.sum(rule.failed(laboratory[column].to_numpy())))) == (703, n_failed)

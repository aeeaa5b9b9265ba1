from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from benchmarks.bench_public import (
    BEGIN,
    END,
    HOURS,
    METHODS,
    auroc_within,
    drawn,
    figures_of,
    fold_scores,
    write_table,
)
from benchmarks.field.made_plant import made_plant
from features.snapshots import ROW_COLUMNS
from models.policy import Policy


def found(auroc: float) -> pd.DataFrame:
    rows = [
        {"checkpoint_h": hours, "method": method, "repeat": r, "auroc": auroc + 0.01 * r, "n": 70, "n_failed": 21,
         "learners": {"trees": 5 - r, "deviations": r} if r else {"trees": 5}}
        for hours in HOURS for method in METHODS for r in range(3)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_only_batches_of_one_fold_are_compared() -> None:
    scores = pd.DataFrame({"fold": [0, 0, 1, 1, 1], "failed": [True, False, True, False, False], "p": [1, 0, 8, 8, 9]})
    assert auroc_within(scores, "p") == pytest.approx((1 + 0.5 + 0) / 3)


def test_every_batch_is_tested_once_and_never_trained_on_then() -> None:
    failed = pd.Series(np.arange(30) % 3 == 0, index=[f"B{i:02d}" for i in range(30)])
    folds = list(drawn(failed, 5, seed=1))
    assert sorted(batch for _, test in folds for batch in test) == list(failed.index)
    assert all(len(train.intersection(test)) == 0 for train, test in folds)


def test_outcomes_of_the_test_batches_move_no_score() -> None:
    plant = made_plant(60).history
    sensors = {parameter.name for parameter in plant.process.features_of("sensor")}
    features = tuple(feature for feature in plant.features if feature.parameter in sensors)
    plant = replace(plant, features=features, snapshots=plant.snapshots[[*ROW_COLUMNS, *(f.name for f in features)]])
    ids = pd.Index(plant.outcomes["batch_id"])
    learnt, test = ids.difference(ids[::4]), ids[::4]
    swapped = plant.log.assign(failed=plant.log["failed"].astype(bool) ^ plant.log["batch_id"].isin(test))
    policy = Policy(learner="trees")
    told, other = (fold_scores(replace(plant, log=log), policy, learnt, test) for log in (plant.log, swapped))
    assert (told["failed"] != other["failed"]).all()
    pd.testing.assert_frame_equal(told.drop(columns="failed"), other.drop(columns="failed"))


def test_bounds_are_asked_of_the_product_only_and_figures_carry_their_failures() -> None:
    figures = figures_of(found(0.9))
    asked = [f for f in figures if f["bound"] is not None]
    assert [(f["bound"], f["holds"]) for f in asked] == [(0.88, True), (0.94, False)]  # the mean is .91
    assert {f["n_failed"] for f in figures} == {21}
    for f in figures:
        low, value, high = (float(str(f[name])) for name in ("low", "value", "high"))
        assert low < value < high


def test_the_product_says_how_often_each_learner_was_chosen() -> None:
    notes = [str(f["note"]) for f in figures_of(found(0.9)) if "the product" in str(f["name"])]
    assert len(notes) == 3 and all(note.endswith("models: 12 trees, 3 deviations") for note in notes)


def test_the_table_replaces_what_stands_between_the_markers(tmp_path) -> None:
    page = tmp_path / "results.md"
    page.write_text(f"before\n{BEGIN}\nstale\n{END}\nafter\n")
    write_table(page, {"figures": figures_of(found(0.8)), "date": "d", "commit": "c", "machine": "m"})
    text = page.read_text()
    assert "stale" not in text and text.startswith("before") and text.endswith("after\n")
    assert "| 21 of 70 batches failed | 60 h, fair limit .64 | 115 h | 170 h |" in text
    assert text.count("\n| ") == 1 + len(METHODS)

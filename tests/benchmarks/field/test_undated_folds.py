from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.field.rivals import RIVALS
from benchmarks.field.sets import _undated
from benchmarks.field.undated import UndatedSet
from benchmarks.field.undated_folds import FOLDS, PRODUCT, REPEATS, fold_history, fold_scores, product_scores
from features.errors import TrainingError


def made_up(n: int = 60, *, every: int = 4) -> UndatedSet:
    """Batches in pairs that share a group; every so many of them fails, and `heat` says so."""
    ids = pd.Index([f"R{i:03d}" for i in range(n)], name="batch")
    failed = pd.Series(np.arange(n) % every == 0, index=ids, name="failed")
    rng = np.random.default_rng(4)
    X = pd.DataFrame({"heat": 3.0 * failed + rng.normal(0, 1, n), "noise": rng.normal(0, 1, n)}, index=ids)
    groups = pd.Series(np.arange(n) // 2, index=ids, name="group")
    return UndatedSet("made_up", X, failed, groups, "heat", "made up")


def test_the_test_batches_start_after_all_outcomes_of_the_others_are_known() -> None:
    data = made_up(6)
    history = fold_history(data, pd.Index(["R003", "R000", "R004"]), pd.Index(["R005", "R001", "R002"]))
    assert history.batches["batch_id"].tolist() == ["R000", "R003", "R004", "R001", "R002", "R005"]
    assert history.started.diff().dropna().eq(pd.Timedelta(hours=1)).all()
    known = history.at(history.started["R001"]).outcomes
    assert known["batch_id"].tolist() == ["R000", "R003", "R004"]
    assert known["failed"].tolist() == [True, False, True]
    assert history.batches["subject_key"].tolist() == ["0", "1", "2", "0", "1", "2"]


def test_the_features_are_the_columns_of_the_table_and_nothing_of_the_order() -> None:
    data = made_up(6)
    history = fold_history(data, data.X.index[:4], data.X.index[4:])
    assert [entry.label for entry in history.features] == ["heat", "noise"]
    keys = ["batch_id", "checkpoint_h", "started_at", "as_of"]
    values = history.snapshots.drop(columns=keys).to_numpy()
    np.testing.assert_array_equal(values, data.X.to_numpy())


def test_outcomes_of_the_test_fold_move_no_score(tmp_path) -> None:
    data = made_up(160)
    train, test = data.X.index[:120], data.X.index[120:]
    other = replace(data, failed=data.failed.where(data.failed.index.isin(train), ~data.failed))
    found, again = (product_scores(each, train, test, tmp_path / str(i)) for i, each in enumerate((data, other)))
    assert isinstance(found, pd.DataFrame)
    assert isinstance(again, pd.DataFrame)
    pd.testing.assert_frame_equal(found, again, check_exact=True)
    assert sorted(found["batch_id"]) == sorted(test)
    mean = found.groupby(found["batch_id"].map(data.failed))["failure_probability"].mean()
    assert mean[True] > mean[False] + 0.1


def test_every_batch_has_one_score_of_the_product_and_of_each_rival(tmp_path) -> None:
    data = made_up()
    found = fold_scores(data, tmp_path)
    assert list(found.frames) == [PRODUCT, *RIVALS]
    assert found.refused == ()
    for frame in found.frames.values():
        assert frame["batch_id"].tolist() == data.X.index.tolist()
        assert frame["failed"].tolist() == data.failed.tolist()
    assert found.frames[PRODUCT]["failure_probability"].between(0, 1).all()


def test_too_few_failures_are_a_figure_that_says_so(tmp_path: Path) -> None:
    data = made_up(
        20
    )  # five failures, of which one at least is in every test fold: no model is made of fewer than five
    refusal = product_scores(data, data.X.index[2:], data.X.index[:2], tmp_path)
    assert isinstance(refusal, TrainingError)
    figures = {str(f["name"]): f for f in _undated(data, tmp_path)}
    refused = figures["made_up (no dates: grouped folds), batchguard, folds refused"]
    assert (refused["value"], refused["unit"]) == (FOLDS * REPEATS, "of 10")
    assert (refused["n"], refused["n_failed"]) == (20, 5)
    assert "batches failed" in str(refused["note"])
    assert not [name for name in figures if "batchguard, auroc" in name or "batchguard less" in name]


@pytest.mark.parametrize("text", ["auroc_last", "recall_at_0.05"])
def test_only_figures_of_the_product_say_that_its_order_is_made_up(tmp_path, text) -> None:
    figures = {str(f["name"]): str(f["note"]) for f in _undated(made_up(), tmp_path)}
    title = "made_up (no dates: grouped folds)"
    assert figures[f"{title}, batchguard, {text}"].endswith("follow the order of the table, which is not one of time")
    assert figures[f"{title}, batchguard less plain LightGBM, {text}"].endswith("which is not one of time")
    assert figures[f"{title}, plain LightGBM, {text}"] == "made up"

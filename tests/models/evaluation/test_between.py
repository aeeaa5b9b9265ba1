import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from models.cohort.between import between_rows
from models.evaluation.between import between_table, score_between
from models.evaluation.evaluate import Evaluation, evaluate
from models.report.html import html_report
from models.train import train
from tests.models.plant import QUICK, Plant


def scored(*rows: tuple) -> pd.DataFrame:
    names = ["batch_id", "checkpoint_h", "failed", "failure_probability", "call", "support"]
    return pd.DataFrame(rows, columns=names).astype({"batch_id": "str", "call": "str", "support": "str"})


def test_each_stage_counts_scores_batches_failures_missing_calls_and_weak_support_beside_the_checkpoints() -> None:
    at = scored(
        ("A", 0.0, True, 0.5, "none yet", "sufficient"),
        ("B", 0.0, False, 0.1, "low", "sufficient"),
        ("A", 40.0, True, 0.9, "high", "sufficient"),
        ("B", 40.0, False, 0.1, "none yet", "none"),
    )
    between = scored(
        ("A", 0.0, True, 0.5, "none yet", "sufficient"),
        ("B", 1.0, False, 0.4, "none yet", "limited"),
        ("C", 2.0, False, 0.1, "low", "sufficient"),
        ("B", 40.0, False, 0.2, "none yet", "none"),
    )
    table = between_table(at, between).set_index("band")
    assert list(table.index) == ["all", "0-2 h", "40 h"]
    early, late, whole = table.loc["0-2 h"], table.loc["40 h"], table.loc["all"]
    assert early[["n", "n_batches", "n_failed"]].tolist() == [3, 3, 1]
    assert (early["no_call"], early["unsupported"]) == (pytest.approx(2 / 3), pytest.approx(1 / 3))
    assert (early["no_call_at_checkpoints"], early["unsupported_at_checkpoints"], early["auroc"]) == (0.5, 0.0, 1.0)
    assert (late["no_call"], late["unsupported"]) == (1.0, 1.0)
    assert (late["no_call_at_checkpoints"], late["unsupported_at_checkpoints"]) == (0.5, 0.5)
    assert math.isnan(late["auroc"])  # no failure
    assert (whole["no_call"], whole["unsupported"], whole["auroc"]) == (0.75, 0.5, 1.0)
    assert whole["no_call_low"] < 0.75 < whole["no_call_high"]


def drawn(plant: Plant) -> pd.DataFrame:
    """Rows between checkpoints: what a batch showed at the checkpoint before, at a later hour."""
    rows = between_rows(plant.batches, plant.log, plant.process)
    before = rows["checkpoint_h"] // 12 * 12
    values = plant.snapshots.drop(columns=["started_at", "as_of"])
    return rows.assign(at=before).merge(
        values, left_on=["batch_id", "at"], right_on=["batch_id", "checkpoint_h"], suffixes=("", "_")
    )[list(plant.snapshots.columns)]


@pytest.fixture(scope="module")
def made(plant) -> tuple[Plant, Evaluation, str]:
    between = drawn(plant)
    trained = train(
        plant.process, plant.snapshots, plant.features, plant.batches, plant.log, between=between, plan=QUICK
    )
    found = evaluate(plant.process, trained, plant.snapshots, plant.features, plant.batches, plant.log, between=between)
    scores = score_between(trained.predictor, between, plant.features, plant.log, trained.seal)
    assert set(scores["batch_id"]) == set(trained.seal.batch_ids)
    assert not set(scores["checkpoint_h"]) & {0.0, 12.0, 24.0}
    return plant, found, html_report(plant.process, trained, found)


def test_the_sealed_test_is_scored_between_checkpoints_with_its_failures(made) -> None:
    plant, found, _ = made
    whole = found.between.set_index("band").loc["all"]
    assert (whole["n"], whole["n_batches"], whole["n_failed"]) == (60, 30, found.counts["test_failed"])
    assert whole["unsupported"] < 0.1
    assert plant.process.checkpoints_h == (0, 12, 24)


def test_the_report_shows_the_table_or_why_there_is_none(made, plant, trained) -> None:
    assert "<h2>Between checkpoints</h2>" in made[2]
    assert "Here each test batch was scored at times drawn between the checkpoints" in made[2]
    without = evaluate(plant.process, trained, plant.snapshots, plant.features, plant.batches, plant.log)
    assert without.between.empty
    assert "No test batch was scored between checkpoints." in html_report(plant.process, trained, without)


def test_an_evaluation_stored_before_there_was_a_table_is_read_without_it(made, tmp_path) -> None:
    _, found, _ = made
    found.save(tmp_path)
    pd.testing.assert_frame_equal(Evaluation.load(tmp_path).between, found.between)
    (tmp_path / "between.parquet").unlink()
    assert Evaluation.load(tmp_path).between.empty


def test_rows_between_move_the_domain_and_nothing_else_of_a_predictor(plant, trained) -> None:
    with_rows = train(
        plant.process, plant.snapshots, plant.features, plant.batches, plant.log, between=drawn(plant), plan=QUICK
    )
    assert (
        replace(with_rows.predictor, applicability=None).sha256 == replace(trained.predictor, applicability=None).sha256
    )
    assert with_rows.predictor.sha256 != trained.predictor.sha256
    shuffled = drawn(plant).sample(frac=1, random_state=1)
    again = train(
        plant.process, plant.snapshots, plant.features, plant.batches, plant.log, between=shuffled, plan=QUICK
    )
    assert again.predictor.sha256 == with_rows.predictor.sha256


def test_rows_between_of_the_sealed_test_move_nothing(plant, trained) -> None:
    between = drawn(plant)
    foreign = between.assign(**{"force_kn.since_start.mean": np.where(
        between["batch_id"].isin(trained.seal.batch_ids), 1e6, between["force_kn.since_start.mean"])})  # fmt: skip
    made = [
        train(plant.process, plant.snapshots, plant.features, plant.batches, plant.log, between=rows, plan=QUICK)
        for rows in (between, foreign)
    ]
    assert made[0].predictor.sha256 == made[1].predictor.sha256

import json

import pandas as pd
import pytest

from features.errors import TrainingError
from models.cohort.splits import subject_groups
from models.evaluation.compare import compare_splits
from models.evaluation.evaluate import SIMULATED, Evaluation, evaluate, parameter_importance, score_test, summary
from tests.models.plant import QUICK


def test_only_sealed_batches_are_scored_and_only_before_their_label(plant, trained):
    late = plant.log.assign(label_available_at=plant.log["label_available_at"] - pd.Timedelta(hours=60))
    scores = score_test(trained.predictor, plant.snapshots, late, trained.seal)
    assert set(scores["batch_id"]) == set(trained.seal.batch_ids)
    assert set(scores["checkpoint_h"]) == {0.0}  # the labels came after 12 h
    assert (scores["as_of"] < scores["label_available_at"]).all()


def test_a_test_without_any_snapshot_in_time_is_one_clear_line(plant, trained):
    at_start = plant.log.assign(label_available_at=plant.log["label_available_at"] - pd.Timedelta(days=3))
    with pytest.raises(TrainingError, match="none of the 30 test batches has a snapshot before its outcome"):
        score_test(trained.predictor, plant.snapshots, at_start, trained.seal)


def test_figures_reconcile_with_the_sealed_batches(plant, trained):
    judged = evaluate(plant.process, trained, plant.snapshots, plant.batches, plant.log)
    failed = plant.log.set_index("batch_id").loc[list(trained.seal.batch_ids), "failed"]
    assert judged.overall["n_batches"] == judged.counts["test_batches"] == 30
    assert judged.overall["n_failed"] == judged.counts["test_failed"] == failed.sum()
    assert judged.checkpoints["checkpoint_h"].tolist() == [0, 12, 24]
    assert judged.checkpoints["auroc"].iloc[0] < judged.checkpoints["auroc"].iloc[2]
    assert judged.overall["auroc"] == judged.checkpoints["auroc"].iloc[2]
    assert judged.overall["auroc_low"] <= judged.overall["auroc"] <= judged.overall["auroc_high"]
    assert judged.note == ""


def test_an_overall_figure_that_only_knows_when_batches_were_stopped_is_found_out(plant, trained):
    stopped = plant.log["label_available_at"] - pd.to_timedelta(plant.log["failed"] * 60.0, unit="h")
    early = plant.log.assign(label_available_at=stopped.astype(plant.log["label_available_at"].dtype))
    assert evaluate(plant.process, trained, plant.snapshots, plant.batches, early).overall["auroc_of_timing"] == 1.0
    as_usual = evaluate(plant.process, trained, plant.snapshots, plant.batches, plant.log)
    assert as_usual.overall["auroc_of_timing"] == 0.5  # all have the same last checkpoint: every pair is a tie


def test_one_simulated_batch_is_enough_to_say_so(plant, trained):
    batches = plant.batches.assign(origin=["simulated" if i == 40 else "real" for i in range(len(plant.batches))])
    assert evaluate(plant.process, trained, plant.snapshots, batches, plant.log).note == SIMULATED


def test_it_comes_back_from_its_files_exactly(plant, trained, tmp_path):
    judged = evaluate(plant.process, trained, plant.snapshots, plant.batches, plant.log)
    judged.save(tmp_path)
    loaded = Evaluation.load(tmp_path)
    pd.testing.assert_frame_equal(loaded.scores, judged.scores, check_exact=True)
    pd.testing.assert_frame_equal(loaded.checkpoints, judged.checkpoints, check_exact=True)
    assert (loaded.overall, loaded.counts, loaded.note) == (judged.overall, judged.counts, judged.note)


def test_the_parameter_that_decides_is_the_most_important(plant, trained):
    table = parameter_importance(trained.predictor, plant.snapshots[plant.snapshots["checkpoint_h"] == 24])
    assert table["parameter"].iloc[0] == "force_kn"
    assert table["mean_abs_points"].is_monotonic_decreasing


def test_the_summary_is_plain_json_with_the_random_split_of_the_own_question(plant, trained):
    logs = {"failed": plant.log, "other": plant.log.assign(failed=False)}
    splits = compare_splits(plant.snapshots, plant.batches, logs, groups=subject_groups(plant.batches), plan=QUICK)
    judged = evaluate(plant.process, trained, plant.snapshots, plant.batches, plant.log, splits=splits)
    found = json.loads(json.dumps(summary(judged, question="failed"), allow_nan=False))
    assert found["test"]["auroc_ci"] == [judged.overall["auroc_low"], judged.overall["auroc_high"]]
    assert [row["checkpoint_h"] for row in found["by_checkpoint"]] == [0, 12, 24]
    assert found["random_split"]["auroc"] == splits["auroc"].iloc[0]
    assert summary(judged, question="other")["random_split"]["auroc"] is None

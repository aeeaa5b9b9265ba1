"""Working with a stored plant in Python gives what the assets stored."""

import subprocess
import sys
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from features.errors import BatchguardError
from models.cohort.splits import Seal
from pipelines import workbench
from pipelines.plant import Plant
from pipelines.score_table import read_scores
from tests.pipelines.conftest import Ran

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def opened(ran: Ran) -> Plant:
    return workbench.open_plant(ran.place.process, ran.place.data_dir)


def test_features_at_the_moment_of_the_last_run_are_those_that_it_stored(opened: Plant) -> None:
    stored = opened.features.read("in_progress_features").to_pandas()
    made, features = workbench.features_as_of(opened, stored["as_of"].iloc[0])
    pd.testing.assert_frame_equal(made, stored, check_exact=True)
    assert [f.name for f in features] == list(stored.columns[4:])


def test_named_batches_are_read_as_they_were_at_an_earlier_moment(opened: Plant) -> None:
    start = opened.table("batches").set_index("batch_id")["started_at"]["B003"]
    made, _ = workbench.features_as_of(opened, start + pd.Timedelta(hours=12), ["B003"])
    at_checkpoint = opened.features.read("snapshot_features").to_pandas()
    expected = at_checkpoint[(at_checkpoint["batch_id"] == "B003") & (at_checkpoint["checkpoint_h"] == 12)]
    pd.testing.assert_frame_equal(made, expected.reset_index(drop=True)[list(made.columns)], check_exact=True)


def test_a_time_without_offset_and_an_unknown_batch_are_refused(opened: Plant) -> None:
    with pytest.raises(BatchguardError, match="has no offset"):
        workbench.features_as_of(opened, datetime(2025, 6, 1))  # noqa: DTZ001
    with pytest.raises(BatchguardError, match="batch B999 is not in the run history"):
        workbench.features_as_of(opened, opened.newest_moment, ["B003", "B999"])


def test_scores_are_those_that_were_published(opened: Plant) -> None:
    loaded = workbench.load_predictor(opened)
    snapshots, features = workbench.features_as_of(opened, opened.newest_moment)
    assert workbench.score(loaded, opened, snapshots, features) == sorted(
        read_scores(opened.scores), key=lambda s: s.batch_id
    )


def test_points_of_all_parameters_explain_the_distance_from_the_base(opened: Plant) -> None:
    loaded = workbench.load_predictor(opened, "1")
    snapshots, features = workbench.features_as_of(opened, opened.newest_moment)
    points = workbench.explain(loaded, snapshots, features)
    base = expit(loaded.predictor.base_log_odds(snapshots["checkpoint_h"].to_numpy(float)))
    np.testing.assert_allclose(points.sum(axis=1), 100 * (loaded.predictor.predict(snapshots) - base), atol=1e-9)
    assert points.index.get_level_values("batch_id").tolist() == snapshots["batch_id"].tolist()


def test_figures_count_failures_and_the_batches_that_the_predictor_knew(opened: Plant) -> None:
    loaded = workbench.load_predictor(opened)
    rows = opened.features.read("snapshot_features").to_pandas()
    rows = rows[(rows["checkpoint_h"] == 12) & ~rows["batch_id"].isin(loaded.sealed)]
    _, features = workbench.features_as_of(opened, opened.newest_moment)
    scores = workbench.score(loaded, opened, rows, features)
    found = workbench.evaluate(opened, loaded, scores)
    decided = opened.table("dispositions").set_index("batch_id").reindex(rows["batch_id"]).dropna(subset=["outcome"])
    assert found.values["n"] == len(decided) < len(rows)
    assert found.values["n_failed"] == (decided["outcome"] == "rejected").sum()
    assert found.n_known_at_training == (decided["decided_at"] < loaded.cut).sum() > 0
    with pytest.raises(BatchguardError, match="0 of 3 scores came before an outcome, 0 of them before a failure"):
        workbench.evaluate(opened, loaded, read_scores(opened.scores))


def test_figures_of_four_batches_worked_by_hand(opened: Plant) -> None:
    loaded, made = workbench.load_predictor(opened), read_scores(opened.scores)[0]
    decided = opened.table("dispositions").sort_values("decided_at")
    decided = decided[decided["decided_at"] < loaded.cut]
    two = {outcome: rows["batch_id"].head(2).tolist() for outcome, rows in decided.groupby("outcome")}
    early = opened.table("batches")["started_at"].min().to_pydatetime()
    p = dict(zip(two["rejected"] + two["released"], [0.8, 0.3, 0.2, 0.4], strict=True))
    scores = [made.model_copy(update={"batch_id": b, "as_of": early, "failure_probability": x}) for b, x in p.items()]
    late = scores[0].model_copy(
        update={"as_of": decided["decided_at"].max().to_pydatetime(), "failure_probability": 1.0}
    )
    found = workbench.evaluate(opened, loaded, [*scores, late])  # the last one was made when the outcome was known
    assert (found.values["n"], found.values["n_failed"], found.n_known_at_training) == (4, 2, 4)
    assert found.values["auroc"] == 0.75  # of four pairs only 0.3 and 0.4 stand the wrong way round
    assert found.values["brier"] == pytest.approx((0.2**2 + 0.7**2 + 0.2**2 + 0.4**2) / 4)


def test_the_sealed_test_is_not_read_again_and_scores_of_another_model_are_refused(opened: Plant) -> None:
    loaded, made = workbench.load_predictor(opened), read_scores(opened.scores)[0]
    assert (
        loaded.sealed == frozenset()
    )  # its test were the scores of the versions before it, and it has learnt from them
    sealed = replace(loaded, sealed=frozenset({made.batch_id}))
    with pytest.raises(BatchguardError, match="is in the sealed test of model version 1, which is scored once"):
        workbench.evaluate(opened, sealed, [made])
    other = made.model_copy(update={"model": replace(made.model, version="7", sha256="0" * 64)})
    with pytest.raises(BatchguardError, match="is of model version 7; expected version 1, the loaded one"):
        workbench.evaluate(opened, loaded, [other])
    stored = workbench.sealed_evaluation(opened)
    tested = set(Seal.load(opened.models_dir / "sealed_test.json").batch_ids)
    assert set(stored.scores["batch_id"]) <= tested


def test_the_example_runs_on_a_plant_and_states_what_its_figures_are_worth(ran: Ran) -> None:
    command = [sys.executable, ROOT / "examples" / "workbench.py", "--process", ran.place.process]
    done = subprocess.run(
        [*command, "--data-dir", ran.place.data_dir], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("3 batches in progress")
    assert "earlier moments: AUROC" in done.stdout
    assert "no test" in done.stdout
    assert done.stdout.rstrip().endswith("they validate no model.")

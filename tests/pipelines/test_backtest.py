import json
import shutil
from pathlib import Path

import mlflow
import pandas as pd
import pytest

from features.errors import BatchguardError
from models.backtest.figures import field_table
from models.evaluation.evaluate import SIMULATED
from models.policy import Policy
from models.registry import Registry
from pipelines.backtest import (
    Backtest,
    backtest,
    fits_of,
    known_until,
    log_backtest,
    training_dates,
    write_backtest,
)
from pipelines.model_history import history_of
from pipelines.plant import Plant
from tests.models.plant import utc
from tests.pipelines.small_plant import BEGIN, DECIDED_AFTER_H, EVERY_H, Place

HOUR = pd.Timedelta(hours=1)


@pytest.fixture(scope="module")
def plant(ran, tmp_path_factory) -> Plant:
    """The plant after a run: its models are made."""
    root = tmp_path_factory.mktemp("backtest") / "clone"
    shutil.copytree(ran.place.root, root, symlinks=True)
    place = Place(root)
    Registry(place.data_dir).bring_artifacts_home()
    return Plant(place.settings())


@pytest.fixture(scope="module")
def ours(plant) -> Backtest:
    return backtest(plant, Policy(), until=known_until(plant))


def test_what_is_known_ends_just_after_the_newest_outcome(plant) -> None:
    newest = BEGIN + 116 * EVERY_H * HOUR + DECIDED_AFTER_H * HOUR  # the last three batches are in progress
    assert known_until(plant) == newest + pd.Timedelta(microseconds=1)
    earlier = Plant(Place(plant.settings.process.parent).settings(as_of=(newest - HOUR).isoformat()))
    assert known_until(earlier) == newest - EVERY_H * HOUR + pd.Timedelta(microseconds=1)
    before = Plant(Place(plant.settings.process.parent).settings(as_of=BEGIN.isoformat()))
    assert known_until(before) == BEGIN


def test_a_new_outcome_and_nothing_else_moves_the_trainings(plant) -> None:
    dates = training_dates(plant, Policy(), known_until(plant))
    known = history_of(plant).first_outcomes["known_at"]
    assert [(known < date.at).sum() for date in dates] == [25, 50, 75, 100]
    assert training_dates(plant, Policy(retrain_every_outcomes=50), known_until(plant))[0].at == dates[1].at


def test_the_history_is_read_once_while_its_data_stay(plant) -> None:
    history = history_of(plant)
    assert history_of(Plant(plant.settings)) is history
    assert set(history.between["checkpoint_h"]).isdisjoint(history.snapshots["checkpoint_h"])
    assert set(history.between.columns) >= set(history.snapshots.columns)
    assert history.log["batch_id"].nunique() == 117
    assert history.observations is not None
    assert history.observations.empty  # the process has no release attribute


def test_a_changed_definition_gives_another_history(plant, clone) -> None:
    text = clone.process.read_text(encoding="utf-8")
    clone.process.write_text(text + '\n[policy]\nlearner = "trees"\n', encoding="utf-8")
    changed = history_of(Plant(clone.settings()))
    assert changed is not history_of(plant)
    pd.testing.assert_frame_equal(changed.snapshots, history_of(plant).snapshots)


def test_a_replay_scores_batches_between_the_checkpoints_too(ours, plant) -> None:
    assert set(ours.scores["checkpoint_h"]) > {0, 6, 12, 24}
    assert ours.table.loc[0, "n_batches"] == ours.scores["batch_id"].nunique()
    subject = plant.table("batches").set_index("batch_id")["subject_key"]
    assert set(ours.scores["batch_id"]) <= set(subject.index[:90])  # later ones are patients that were known


def test_batches_that_started_earlier_count_in_no_figure_and_no_score_changes(ours, plant) -> None:
    from_ = utc("2025-03-20")
    late = backtest(plant, Policy(), from_=from_, until=known_until(plant))
    started = history_of(plant).started
    kept = ours.scores[ours.scores["batch_id"].map(started) >= from_].reset_index(drop=True)
    assert 0 < len(kept) < len(ours.scores)
    pd.testing.assert_frame_equal(late.scores.reset_index(drop=True), kept)
    pd.testing.assert_frame_equal(late.replayed.versions, ours.replayed.versions)
    pd.testing.assert_frame_equal(late.table, field_table(kept, started, plant.process))
    assert late.table.loc[0, "from"] >= from_


def test_a_stretch_without_scores_is_one_line_with_its_remedy(plant) -> None:
    with pytest.raises(BatchguardError, match=r"^no batch that started from 2030.*expected a time.*earlier --from\.$"):
        backtest(plant, Policy(), from_=utc("2030-01-01"), until=known_until(plant))


def test_models_lie_in_the_plants_folder_by_their_digest(plant) -> None:
    made: list[str] = []
    history = history_of(plant)
    (first, *_) = training_dates(plant, Policy(), known_until(plant))
    fit = fits_of(plant, Policy(), made.append).at(history.at(first.at))
    assert made == []  # the run had made it
    assert fit.folder.parent == plant.models_dir / "fits"


def test_a_result_is_plain_json_with_the_rules_versions_and_blocks(ours, plant, tmp_path) -> None:
    written = write_backtest(plant, tmp_path / "out", ours)
    found = json.loads((tmp_path / "out" / "backtest.json").read_text(encoding="utf-8"))
    assert found == written
    assert list(found) == ["process", "from", "until", "data_version", "policy", "versions", "blocks"]
    assert found["policy"] == Policy().model_dump(mode="json")
    assert found["data_version"] == plant.data_version()
    assert [row["block"] for row in found["blocks"]] == ["all", "1", "2", "3", "4", "5"]
    assert [row["number"] for row in found["versions"]] == [1, 2, 3, 4]
    assert found["versions"][0]["test_auroc"] is None
    pd.testing.assert_frame_equal(
        pd.read_parquet(tmp_path / "out" / "scores.parquet"), ours.scores.reset_index(drop=True)
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]  # what was written beside is in its place
    page = (tmp_path / "out" / "backtest.html").read_text(encoding="utf-8")
    assert "Small plant: the field replay" in page
    assert SIMULATED in page  # its batches are


def test_two_policies_stand_side_by_side(ours, plant, tmp_path) -> None:
    theirs = backtest(plant, Policy(approval_delay_h=24 * 20), until=known_until(plant))
    written = write_backtest(plant, tmp_path, ours, theirs)
    found = json.loads((tmp_path / "backtest.json").read_text(encoding="utf-8"))
    assert found == written
    assert found["against"]["policy"]["approval_delay_h"] == 480
    assert {row["figure"] for row in found["side_by_side"]} >= {"auroc", "stated failures"}
    common = set(ours.scores["batch_id"]) & set(theirs.scores["batch_id"])
    assert {row["n"] for row in found["side_by_side"]} == {len(common)}
    assert "Side by side" in (tmp_path / "backtest.html").read_text(encoding="utf-8")


def test_a_replay_is_a_run_of_mlflow_with_rules_figures_and_files(ours, plant, tmp_path) -> None:
    folder = tmp_path / "out"
    page = log_backtest(plant, write_backtest(plant, folder, ours), folder)
    client = mlflow.MlflowClient(Registry(plant.settings.data_dir).tracking_uri)
    run = client.get_run(page.rpartition("/")[2])
    assert run.info.run_name == "field replay"
    assert run.info.status == "FINISHED"
    assert run.data.params["policy.test"] == "prequential"
    assert run.data.metrics["field.n_batches"] == ours.table.loc[0, "n_batches"]
    assert "field.block" not in run.data.metrics
    files = {Path(item.path).name for item in client.list_artifacts(run.info.run_id, "backtest")}
    assert files == {"backtest.html", "backtest.json", "scores.parquet"}

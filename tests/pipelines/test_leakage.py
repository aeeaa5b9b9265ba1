from dataclasses import replace

import pandas as pd
import pytest

import pipelines.leakage
from features.dictionary import Feature
from features.snapshots import snapshots
from models.cohort.splits import Seal
from pipelines.feature_tables import PlantContext, write_snapshots, write_summaries
from pipelines.history import ingest
from pipelines.leakage import check_leakage, known_at
from pipelines.main_job import prepare, run_job
from pipelines.plant import Plant
from pipelines.sources.folder import HistoryFolder
from pipelines.storage import Commit
from pipelines.training_sets import check_seal, write_test_set, write_training_set


def stored(plant) -> pd.DataFrame:
    return plant.features.read("snapshot_features").to_pandas()


def refreshed(place) -> tuple[Plant, Commit, Commit]:
    """The plant after its source changed: history, summaries and snapshots made anew where needed."""
    plant = Plant(place.settings())
    ingest(HistoryFolder(place.history), plant.history, plant.process)
    months = plant.history.months("batches")
    return plant, write_summaries(plant, months), write_snapshots(plant, months, PlantContext.of(plant))


def months_of(commit) -> list[str]:
    return sorted(path.parent.name.removeprefix("month=") for path in commit.files)


def test_a_clean_plant_passes(ran) -> None:
    plant = Plant(ran.place.settings())
    check = check_leakage(plant, PlantContext.of(plant), stored(plant), n_rows=8)
    assert (check.passed, check.n_rows, check.leaks) == (True, 8, ())


def test_a_stored_value_that_nothing_explains_is_a_leak(ran) -> None:
    plant = Plant(ran.place.settings())
    snapshot = stored(plant).tail(1).copy()
    snapshot["temperature_c.since_start.mean"] += 1e-9
    check = check_leakage(plant, PlantContext.of(plant), snapshot)
    assert not check.passed
    (leak,) = check.leaks
    assert leak.startswith(f"{snapshot['batch_id'].iloc[0]} at ")
    assert "temperature_c.since_start.mean" in leak


def test_a_snapshot_that_knows_a_later_outcome_is_a_leak(ran) -> None:
    plant = Plant(ran.place.settings())
    context = PlantContext.of(plant)
    row = stored(plant)
    row = row[row["batch_id"] == "B040"].head(1)
    clairvoyant = context.labels.assign(label_available_at=plant.newest_moment.floor("D") - pd.Timedelta(days=365))
    made, _ = snapshots(
        row[["batch_id", "checkpoint_h", "started_at", "as_of"]].reset_index(drop=True),
        plant.features.read("batch_summaries", months=["2025-02"]),
        context.tables,
        clairvoyant,
        plant.process,
        context.vocabulary,
    )
    check = check_leakage(plant, context, made)
    assert not check.passed
    assert any("failure" in leak for leak in check.leaks)


def test_the_future_does_not_exist_in_the_past(ran) -> None:
    plant = Plant(ran.place.settings())
    context = PlantContext.of(plant)
    as_of = pd.to_datetime("2025-03-01T00:00Z")
    then = known_at(context, as_of)
    assert (then.tables["batches"]["started_at"] <= as_of).all()
    assert (then.tables["dispositions"]["decided_at"] <= as_of).all()
    assert (then.labels["label_available_at"] <= as_of).all()
    assert set(then.tables["materials"]["batch_id"]) <= set(then.tables["batches"]["batch_id"])
    assert len(then.tables["batches"]) < len(context.tables["batches"])


def test_a_leak_stops_the_retraining_with_one_line(clone, monkeypatch) -> None:
    real = pipelines.leakage.snapshots

    def another(*arguments) -> tuple[pd.DataFrame, tuple[Feature, ...]]:
        frame, features = real(*arguments)
        return frame.assign(**{features[0].name: -1.0}), features

    monkeypatch.setattr(pipelines.leakage, "snapshots", another)
    with pytest.raises(Exception, match="check 'leakage' of 'snapshot_features' did not pass") as stopped:
        run_job(prepare(clone.settings()), "retrain", lambda _: None)
    assert type(stopped.value).__name__ == "CheckError"
    assert "\n\n" not in str(stopped.value)


def test_a_late_disposition_changes_no_snapshot_made_before_it(clone) -> None:
    before = Plant(clone.settings())
    content = {
        month: before.features.digest("snapshot_features", [month])
        for month in before.features.months("snapshot_features")
    }
    labels = before.labels()
    new = pd.DataFrame({"batch_id": ["B117"], "outcome": ["rejected"], "decided_at": ["2025-06-01T07:00:00+00:00"]})
    clone.replace("dispositions", pd.concat([clone.read("dispositions"), new]))
    plant, summaries, commit = refreshed(clone)
    assert len(plant.labels()) == len(labels) + 1
    assert summaries.files == ()
    assert set(months_of(commit)) <= {"2025-06"}
    for month in sorted(content)[:-1]:
        assert plant.features.digest("snapshot_features", [month]) == content[month]


def test_new_readings_of_one_batch_change_its_month_only(clone) -> None:
    frame = clone.read("observations")
    row = frame[frame["batch_id"] == "B050"].iloc[[10]]  # started in March
    late = row.assign(observed_at="2025-03-06T20:59:00+00:00", available_at="2025-03-06T20:59:00+00:00", value="39.5")
    clone.replace("observations", pd.concat([frame, late]))
    old = Plant(clone.settings())
    before = {
        table: {m: old.features.digest(table, [m]) for m in old.features.months(table)}
        for table in ("batch_summaries", "snapshot_features")
    }
    plant, summaries, commit = refreshed(clone)
    assert months_of(summaries) == months_of(commit) == ["2025-03"]
    for table, months in before.items():
        changed = [m for m, digest in months.items() if plant.features.digest(table, [m]) != digest]
        assert changed == ["2025-03"]


def test_what_stood_on_both_sides_of_the_seal_is_named(clone) -> None:
    text = clone.process.read_text(encoding="utf-8") + '\n[policy]\ntest = "newest_quarter"\n'
    clone.process.write_text(text, encoding="utf-8")
    plant = Plant(clone.settings())
    write_test_set(plant)
    failed, seal = write_training_set(plant)
    training = plant.features.read("training_set", columns=["batch_id"]).to_pandas()
    batches, labels = plant.table("batches"), plant.labels()
    assert check_seal(training, seal, batches, labels).passed
    both = pd.concat([training, pd.DataFrame({"batch_id": [seal.batch_ids[3]]})])
    check = check_seal(both, seal, batches, labels)
    assert not check.passed
    assert check.shared_batches == (seal.batch_ids[3],)
    assert check.known_too_late == (seal.batch_ids[3],)
    early = replace(seal, cut=seal.cut - pd.Timedelta(days=60))
    assert check_seal(training, early, batches, labels).known_too_late
    assert isinstance(seal, Seal)
    assert set(failed.index) == set(training["batch_id"])


def test_batches_that_tested_the_versions_before_train_the_next_one(plant) -> None:
    failed, seal = write_training_set(plant)
    batches, labels = plant.table("batches"), plant.labels()
    assert seal.learnt
    assert set(seal.batch_ids) < set(failed.index)
    training = pd.DataFrame({"batch_id": failed.index})
    assert check_seal(training, seal, batches, labels).passed
    early = replace(seal, cut=seal.cut - pd.Timedelta(days=60))
    assert check_seal(training, early, batches, labels).known_too_late


def test_months_that_left_the_source_leave_the_features(clone) -> None:
    plant = Plant(clone.settings())
    plant.history.commit("batches", [], drop_months=["2025-01"])
    months = plant.history.months("batches")
    write_summaries(plant, months)
    write_snapshots(plant, months, PlantContext.of(plant))
    assert plant.features.months("batch_summaries") == months
    assert plant.features.months("snapshot_features") == months
    assert set(plant.features.read("snapshot_features")["batch_id"].to_pylist()) <= set(
        plant.table("batches")["batch_id"]
    )

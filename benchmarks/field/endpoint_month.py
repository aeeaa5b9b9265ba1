"""A month of a replay is what the endpoint answers, to the bit, when it is sent the same rows."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pandas as pd

from benchmarks.field.made_plant import MadePlant, made_plant
from benchmarks.record import figure
from benchmarks.serving.http import ask
from benchmarks.serving.place import Folders
from benchmarks.serving.server import Endpoint, endpoint
from features.process import ProcessDefinition
from models.backtest.fits import Fits
from models.backtest.replay import Replayed, replay
from models.policy import Policy
from serving.bundle.store import BundleStore, Version
from serving.interfaces import PLANT_TABLES, ROW_TABLES
from serving.live.rows import PlainRow, plain_rows

N_BATCHES, LEAST_COMPARED = 150, 100
POLICY = Policy(learner="trees", retrain_every_outcomes=20)
_OWN_FIELDS = ("product_id", "site_id", "process_version", "scale_l", "equipment_id", "subject_key", "started_at",
               "planned_end_at", "origin")  # fmt: skip
_PATHS = {"lot_results": "/v1/lot-results", "environment": "/v1/environment"}


def figures() -> list[dict[str, object]]:
    """Replay, serve each version of a month, ask for each score of that month again, compare."""
    plant = made_plant(N_BATCHES)
    with tempfile.TemporaryDirectory() as folder:
        replayed = replay(plant.history, POLICY, Fits(Path(folder) / "fits", POLICY))
        month, rows = month_of(replayed.scores)
        answers = [
            answer
            for version in sorted(set(rows["version"].tolist()))
            for answer in answered(
                plant, replayed, version, rows[rows["version"] == version], Path(folder) / str(version)
            )
        ]
    different = differences(rows.sort_values("version", kind="stable").to_dict("records"), answers)
    note = (
        f"{month}: {rows['version'].nunique()} versions, each in an endpoint of its own, {rows['batch_id'].nunique()} batches; "
        f"calls {_counted(rows['call'])}; support {_counted(rows['support'])}"
    )
    told = "; ".join(f"{name}: {count}" for name, count in different.items() if count)
    n, n_different = len(answers), different["scores"]
    return [
        figure("scores of a month of the replay asked of the endpoint", n, "scores", bound=LEAST_COMPARED, n=n, note=note),
        figure("of these, scores that the endpoint answered otherwise", n_different, "scores", bound=0, side="max", n=n,
               note=told or "probability, interval, call, its cause, support and its causes are the same to the bit"),
    ]  # fmt: skip


def month_of(scores: pd.DataFrame) -> tuple[str, pd.DataFrame]:
    """The calendar month in which most versions spoke, with its scores; of several the one with most scores."""
    months = scores["as_of"].dt.strftime("%Y-%m")
    month = max(
        sorted(set(months)), key=lambda name: (scores["version"][months == name].nunique(), (months == name).sum())
    )
    return month, scores[months == month].reset_index(drop=True)


def answered(
    plant: MadePlant, replayed: Replayed, version: int, rows: pd.DataFrame, root: Path
) -> list[dict[str, object]]:
    """Release a version, start an endpoint, send it the run history, and ask it for the score of each row, in order."""
    place = Folders(root)
    replayed.predictors[version].save(root / "predictor")
    process = plant.history.process
    made = BundleStore(place.bundles).write(
        root / "predictor", Version("made", str(version)), process, plant.vocabulary
    )
    (root / "first").write_text(made.sha256)
    place.data_dir.mkdir(parents=True, exist_ok=True)
    with endpoint(place, root / "records.db", process_id=process.id) as served:
        send(served, plant.tables, plant.history.process)
        return [_score(served, batch_id, at) for batch_id, at in zip(rows["batch_id"], rows["as_of"], strict=True)]


def send(served: Endpoint, tables: Mapping[str, pd.DataFrame], process: ProcessDefinition) -> None:
    """Send all rows of a run history, those that became available last, too."""
    for row in plain_rows(tables["batches"]):
        status, told = ask(
            served.port, served.send("PUT", f"/v1/batches/{row['batch_id']}", batch_body(row, set(process.by_name)))
        )
        assert status == 201, told
    for table in PLANT_TABLES:
        _post(served, _PATHS[table], {table: plain_rows(tables[table])})
    for batch_id, own in rows_by_batch(tables):
        _post(served, f"/v1/batches/{batch_id}/observations", own)


def batch_body(row: PlainRow, attributes: set[str]) -> dict[str, object]:
    """A row of `batches` as the endpoint takes it: what is an attribute of the process stands apart."""
    own = {name: row[name] for name in _OWN_FIELDS if name in row}
    return own | {"attributes": {name: value for name, value in row.items() if name in attributes}}


def rows_by_batch(tables: Mapping[str, pd.DataFrame]) -> Iterator[tuple[str, dict[str, list[PlainRow]]]]:
    """Each batch with its rows of all tables, as a body of the endpoint."""
    grouped = {table: dict(iter(tables[table].groupby("batch_id"))) for table in ROW_TABLES}
    for batch_id in tables["batches"]["batch_id"]:
        own = {table: found[batch_id] for table, found in grouped.items() if batch_id in found}
        yield batch_id, {table: plain_rows(rows.drop(columns="batch_id")) for table, rows in own.items()}


def differences(rows: list[dict], answers: list[dict]) -> dict[str, int]:
    """How many scores differ in any field, and in each: floats are equal to the bit or they are not.

    Args:
        rows: Of `models.evaluation.sealed_test.Scored.rows`.
        answers: Of the endpoint, in the same order.
    """
    found = dict.fromkeys(
        ("scores", "failure_probability", "interval", "call", "call_cause", "support", "support_causes"), 0
    )
    for row, answer in zip(rows, answers, strict=True):
        wanted = {
            "failure_probability": row["failure_probability"],
            "interval": [row["probability_low"], row["probability_high"]],
            "call": row["call"], "call_cause": row["call_cause"] or None, "support": row["support"],
            "support_causes": row["support_causes"].split("; ") if row["support_causes"] else [],
        }  # fmt: skip
        other = [name for name, value in wanted.items() if answer[name] != value]
        for name in [*other, *(["scores"] if other else [])]:
            found[name] += 1
    return found


def _score(served: Endpoint, batch_id: str, as_of: pd.Timestamp) -> dict[str, object]:
    wanted = {"as_of": as_of.isoformat(), "reasons": False}
    status, told = ask(served.port, served.send("POST", f"/v1/batches/{batch_id}/scores", wanted))
    assert (status, told.get("batch_id")) == (200, batch_id), told
    return told


def _post(served: Endpoint, path: str, body: Mapping[str, list[PlainRow]]) -> None:
    n = sum(map(len, body.values()))
    status, told = ask(served.port, served.send("POST", path, body))
    assert (status, told.get("accepted")) == (200, n), told


def _counted(values: pd.Series) -> str:
    return ", ".join(f"{name} {count}" for name, count in values.value_counts().items())

"""The registered model as clients of MLflow call it: in the process, through a server, through its evaluation."""

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

from features.digests import process_digest
from features.errors import ContractError
from models.registry import Registry
from models.scoring.registered import COLUMNS, load_scorer, save_scorer, score_table
from models.scoring.rows import FeatureRows
from models.scoring.score import Model
from models.scoring.scorer import Scorer
from tests.servers import free_port, wait_for

pytestmark = pytest.mark.filterwarnings("ignore")  # of MLflow, its evaluation and what these import
URI = "models:/soup@challenger"


@pytest.fixture
def mlflow(filled: Registry) -> ModuleType:
    """MLflow, told of the registry."""
    filled.store.client()
    import mlflow

    return mlflow


@pytest.fixture(scope="module")
def expected(plant, trained) -> pd.DataFrame:
    """What the one scorer says of all snapshots, row by row."""
    rows = FeatureRows.of_frame(plant.snapshots, plant.features)
    model = Model("soup", "1", trained.predictor.sha256, "unreviewed", "soup", process_digest(plant.process), "0")
    scores = Scorer(trained.predictor, plant.process, model, rows.columns).score(rows, data_sha256="", reasons=False)
    return pd.DataFrame(
        {
            "batch_id": [s.batch_id for s in scores],
            "as_of": [s.as_of.strftime("%Y-%m-%dT%H:%M:%S.%fZ") for s in scores],
            "failure_probability": [s.failure_probability for s in scores],
            "low": [s.interval[0] for s in scores],
            "high": [s.interval[1] for s in scores],
            "call": [s.call for s in scores],
            "call_cause": [s.call_cause or "" for s in scores],
            "support": [s.support for s in scores],
            "causes": ["; ".join(s.support_causes or []) for s in scores],
            "decision": [s.decision for s in scores],
        }
    )


def test_mlflow_loads_the_predictor_and_scores_the_stored_snapshots_to_the_bit(mlflow, plant, expected) -> None:
    found = mlflow.pyfunc.load_model(URI).predict(plant.snapshots)
    pd.testing.assert_frame_equal(found, expected, check_exact=True)
    assert set(found["call"]) > {"high"}


def test_a_snapshot_needs_no_more_than_its_ids(mlflow, plant) -> None:
    ids = plant.snapshots[["batch_id", "checkpoint_h", "as_of"]].tail(3)
    found = mlflow.pyfunc.load_model(URI).predict(ids)
    assert found["batch_id"].tolist() == ids["batch_id"].tolist()
    assert set(found["support"]) == {"none"}
    assert found["failure_probability"].between(0, 1).all()


def test_a_snapshot_without_its_hour_is_refused(mlflow, plant) -> None:
    with pytest.raises(Exception, match=r"missing inputs.*checkpoint_h"):
        mlflow.pyfunc.load_model(URI).predict(plant.snapshots.drop(columns="checkpoint_h").tail(1))


def test_the_version_states_its_columns_its_example_and_its_requirements(mlflow, plant) -> None:
    info = mlflow.models.get_model_info(URI)
    types = {column.name: (str(column.type), column.required) for column in info.signature.inputs}
    assert types["batch_id"] == ("DataType.string", True)
    assert types["force_kn.since_start.mean"] == ("DataType.double", False)
    assert types["line.before_start.value"] == ("DataType.string", False)
    assert info.signature.outputs.input_names() == list(COLUMNS)
    loaded = mlflow.pyfunc.load_model(URI)
    assert loaded.predict(loaded.input_example)["batch_id"].tolist() == [plant.snapshots["batch_id"].iloc[-1]]
    requirements = mlflow.pyfunc.get_model_dependencies(URI, format="pip")
    assert f"numpy=={np.__version__}" in Path(requirements).read_text().splitlines()


def test_mlflow_predicts_from_a_file(mlflow, plant, expected, tmp_path) -> None:
    (tmp_path / "rows.json").write_text(json.dumps(as_split(plant.snapshots.tail(4))))
    mlflow.models.predict(
        URI, input_path=str(tmp_path / "rows.json"), env_manager="local", output_path=str(tmp_path / "scores.json")
    )
    found = pd.DataFrame(json.loads((tmp_path / "scores.json").read_text())["predictions"])
    pd.testing.assert_frame_equal(found, expected.tail(4).reset_index(drop=True), check_exact=True)


def test_mlflow_evaluates_the_model_on_labelled_snapshots(mlflow, plant, expected) -> None:
    last = plant.snapshots[plant.snapshots["checkpoint_h"] == 24].merge(
        plant.log[["batch_id", "failed"]], on="batch_id"
    )
    frame = last.astype({"failed": "float64"})
    with mlflow.start_run(experiment_id=mlflow.get_experiment_by_name("soup").experiment_id):
        found = mlflow.models.evaluate(
            URI, frame, targets="failed", predictions="failure_probability", model_type="regressor",
            evaluator_config={"log_model_explainability": False},
        )  # fmt: skip
    p = expected["failure_probability"].to_numpy()[(plant.snapshots["checkpoint_h"] == 24).to_numpy()]
    assert found.metrics["mean_squared_error"] == pytest.approx(np.mean((p - frame["failed"]) ** 2), abs=1e-12)


@pytest.fixture(scope="module")
def served(filled: Registry) -> Iterator[str]:
    """Address of `mlflow models serve` as a process of its own."""
    port = free_port()
    command = f"-m mlflow models serve -m {URI} --env-manager local --host 127.0.0.1 --port {port}"
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])  # MLflow starts uvicorn by its name
    environment = os.environ | {"MLFLOW_TRACKING_URI": filled.tracking_uri, "PATH": path}
    process = subprocess.Popen([sys.executable, *command.split()], env=environment, start_new_session=True)
    try:
        wait_for(f"http://127.0.0.1:{port}/ping", process)
        yield f"http://127.0.0.1:{port}/invocations"
    finally:
        process.terminate()
        process.wait(20)


def asked(address: str, body: dict) -> pd.DataFrame:
    request = urllib.request.Request(address, json.dumps(body).encode(), {"Content-Type": "application/json"})  # noqa: S310 - loopback
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
        return pd.DataFrame(json.loads(answer.read())["predictions"])


def as_split(frame: pd.DataFrame) -> dict:
    times = {name: frame[name].map(pd.Timestamp.isoformat) for name in ("started_at", "as_of")}
    plain = frame.assign(**times).astype(object)
    plain = plain.where(plain.notna(), None)
    return {"dataframe_split": {"columns": list(plain.columns), "data": plain.to_numpy().tolist()}}


@pytest.mark.slow
def test_the_served_model_answers_over_http_to_the_bit(served, plant, expected) -> None:
    found = asked(served, as_split(plant.snapshots))
    pd.testing.assert_frame_equal(found, expected, check_exact=True)
    with pytest.raises(urllib.error.HTTPError) as refused:
        asked(served, {"dataframe_split": {"columns": ["batch_id"], "data": [["B000"]]}})
    assert refused.value.code == 400


def test_a_stored_scorer_keeps_the_process_and_refuses_another_predictor(plant, trained, tmp_path) -> None:
    save_scorer(tmp_path, trained.predictor, plant.process, plant.features)
    kept = load_scorer(tmp_path, sha256=trained.predictor.sha256)
    assert (kept.process, kept.features) == (plant.process, plant.features)
    with pytest.raises(Exception, match="has digest"):
        load_scorer(tmp_path, sha256="0" * 64)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [("as_of", "yesterday", "as_of is no time"), ("batch_id", None, "a snapshot has no batch_id")],
)
def test_a_row_that_cannot_be_scored_is_named(plant, trained, tmp_path, column, value, message) -> None:
    save_scorer(tmp_path, trained.predictor, plant.process, plant.features)
    frame = plant.snapshots.tail(1).astype({column: object}).assign(**{column: value})
    with pytest.raises(ContractError, match=message):
        score_table(load_scorer(tmp_path), frame)


def test_a_time_without_an_offset_is_utc(plant, trained, tmp_path) -> None:
    save_scorer(tmp_path, trained.predictor, plant.process, plant.features)
    frame = plant.snapshots.tail(1).assign(as_of="2026-03-01T07:00:00")
    assert score_table(load_scorer(tmp_path), frame)["as_of"].tolist() == ["2026-03-01T07:00:00.000000Z"]

"""The plant's own MLflow server: a real one, with and without a login."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features.errors import StorageError
from models.mlflow_store import MlflowStore
from models.registry import CHALLENGER, RegisteredModel, Registry
from tests.servers import free_port, wait_for

PASSWORD = "a-password-of-the-plant"  # noqa: S105 - of a server that lives as long as this module
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::DeprecationWarning")]


@dataclass(frozen=True)
class Server:
    """An MLflow server on loopback."""

    uri: str
    artifacts: Path
    process: subprocess.Popen


def start(folder: Path, *more: str, **variables: str) -> Server:
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += [
        "--backend-store-uri",
        f"sqlite:///{folder}/server.db",
        "--artifacts-destination",
        str(folder / "files"),
    ]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "PATH": path, **variables}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([*command, *more], env=environment, cwd=folder, stdout=log, stderr=log)
    return Server(f"http://127.0.0.1:{port}", folder / "files", process)


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory, filled: Registry) -> Iterator[tuple[Server, Server]]:
    """One without a login, one with."""
    plain, guarded = tmp_path_factory.mktemp("plain"), tmp_path_factory.mktemp("guarded")
    for folder in (plain, guarded):
        _empty_copy(filled, folder / "server.db")
    (guarded / "auth.ini").write_text(
        f"[mlflow]\ndefault_permission = READ\ndatabase_uri = sqlite:///{guarded}/auth.db\nadmin_username = admin\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
        "auth_cache_ttl_seconds = 60\n"
    )
    login = {
        "MLFLOW_AUTH_CONFIG_PATH": str(guarded / "auth.ini"), "MLFLOW_AUTH_ADMIN_PASSWORD": PASSWORD,
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "of a test",
    }  # fmt: skip
    both = start(plain), start(guarded, "--app-name", "basic-auth", **login)
    try:
        for server in both:
            wait_for(f"{server.uri}/health", server.process)
        yield both
    finally:
        for server in both:
            server.process.terminate()
        for server in both:
            server.process.wait(20)


def _empty_copy(filled: Registry, database: Path) -> None:
    """A database with MLflow's tables and nothing in them but its default experiment: making one takes seconds."""
    import sqlite3

    shutil.copy(filled.store.database, database)
    connection = sqlite3.connect(database)
    names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    for name in {*names} - {"alembic_version", "experiments", "workspaces", "sqlite_sequence"}:
        connection.execute(f"DELETE FROM {name}")  # noqa: S608 - names of MLflow
    connection.execute("DELETE FROM experiments WHERE name != 'Default'")
    connection.commit()
    connection.close()


@pytest.fixture
def server(servers, monkeypatch) -> Server:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", servers[0].uri)
    return servers[0]


def register(registry: Registry, plant, trained, judged) -> RegisteredModel:
    return registry.register(
        plant.process, trained, judged, report="<p>report</p>", images={}, features=plant.features,
        example=plant.snapshots.iloc[[-1]],
    )  # fmt: skip


@pytest.fixture(scope="module")
def on_server(servers, plant, trained, judged, tmp_path_factory) -> RegisteredModel:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", servers[0].uri)
        return register(Registry(tmp_path_factory.mktemp("first")), plant, trained, judged)


def test_a_version_goes_to_the_server_and_its_files_lie_there(server, on_server, tmp_path) -> None:
    found = Registry(tmp_path).by_alias("soup", CHALLENGER)
    assert found is not None
    assert (found.version, found.sha256) == ("1", on_server.sha256)
    assert list(server.artifacts.rglob(f"{on_server.run_id}/artifacts/predictor/predictor.json"))
    assert list(server.artifacts.rglob("pyfunc_model.py"))
    assert not list(tmp_path.rglob("mlflow.db"))


@pytest.mark.usefixtures("server")
def test_another_machine_downloads_the_files_once(on_server, plant, trained, judged, tmp_path) -> None:
    registry = Registry(tmp_path)
    np.testing.assert_array_equal(
        registry.predictor(on_server).predict(plant.snapshots), trained.predictor.predict(plant.snapshots)
    )
    assert registry.evaluation(on_server).overall == judged.overall
    assert registry.report(on_server) == "<p>report</p>"
    kept = tmp_path / "mlflow_cache" / on_server.sha256
    assert sorted(path.name for path in kept.iterdir()) == ["evaluation", "predictor", "report"]
    (kept / "report" / "report.html").write_text("kept here")
    assert registry.report(on_server) == "kept here"


@pytest.mark.usefixtures("server")
def test_a_damaged_copy_is_downloaded_again(on_server, tmp_path) -> None:
    registry = Registry(tmp_path)
    path = registry.predictor_folder(on_server) / "predictor.json"
    path.write_text(path.read_text().replace("intercept", "intercepd"))
    assert registry.predictor(on_server).sha256 == on_server.sha256


@pytest.mark.usefixtures("server")
def test_the_same_predictor_is_registered_once_by_two_machines(on_server, plant, trained, judged, tmp_path) -> None:
    again = register(Registry(tmp_path), plant, trained, judged)
    assert (again.version, again.is_new) == (on_server.version, False)


@pytest.mark.usefixtures("server", "on_server")
def test_mlflow_scores_with_the_model_of_the_server(plant, trained, tmp_path) -> None:
    Registry(tmp_path).store.client()
    import mlflow

    found = mlflow.pyfunc.load_model("models:/soup@challenger").predict(plant.snapshots)
    assert isinstance(found, pd.DataFrame)
    np.testing.assert_array_equal(found["failure_probability"], trained.predictor.predict(plant.snapshots))


def test_a_server_with_a_login_takes_the_plants_own(servers, plant, trained, judged, monkeypatch, tmp_path) -> None:
    guarded = servers[1]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", guarded.uri)
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "admin")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)
    registry = Registry(tmp_path)
    made = register(registry, plant, trained, judged)
    assert registry.predictor(made).sha256 == trained.predictor.sha256
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "another")
    with pytest.raises(StorageError, match="You are not authenticated") as refused:
        Registry(tmp_path / "other").find("soup", sha256=made.sha256)
    assert "MLFLOW_TRACKING_PASSWORD" in str(refused.value)


def test_a_silent_server_is_one_line_within_seconds(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://reviewer:secret@127.0.0.1:{free_port()}")
    begun = time.monotonic()
    with pytest.raises(StorageError, match=r"http://127\.0\.0\.1:\d+: the registry cannot be read") as silent:
        Registry(tmp_path).by_alias("soup", CHALLENGER)
    assert time.monotonic() - begun < 20
    text = str(silent.value)
    assert "secret" not in text
    assert "\n" not in text
    assert "released bundles go on serving" in text


def test_runs_and_versions_may_lie_in_two_stores(filled, plant, trained, judged, monkeypatch, tmp_path) -> None:
    for name in ("runs.db", "versions.db"):
        _empty_copy(filled, tmp_path / name)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/runs.db")
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", f"sqlite:///{tmp_path}/versions.db")
    registry = Registry(tmp_path)
    made = register(registry, plant, trained, judged)
    assert registry.predictor(made).sha256 == trained.predictor.sha256
    assert not (tmp_path / "mlflow.db").exists()


def test_without_variables_the_store_is_that_of_the_data_directory(tmp_path) -> None:
    store = MlflowStore.of(tmp_path, {})
    assert store.embedded
    assert not store.exists
    assert store.tracking_uri == f"sqlite:///{tmp_path.resolve()}/mlflow.db"


def test_the_store_leaves_the_variables_as_the_plant_set_them(filled) -> None:
    filled.store.client()
    assert "MLFLOW_TRACKING_URI" not in os.environ
    assert "MLFLOW_REGISTRY_URI" not in os.environ

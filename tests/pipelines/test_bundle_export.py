"""From the registry to a bundle that the endpoint loads."""

import contextlib
import os
import sqlite3
from pathlib import Path

import pytest

from features.context import vocabulary
from features.errors import StorageError
from features.process import load_process
from models.registry import Registry
from pipelines.bundle_export import bundles_of, export
from pipelines.plant import Plant
from serving.bundle.loader import load_predictor


def written(plant: Plant) -> set[str]:
    return {path.name for path in bundles_of(plant.settings, "small").root.glob("*")}


def test_a_version_of_the_registry_becomes_a_bundle_that_can_serve(clone) -> None:
    plant = Plant(clone.settings())
    model = Registry(clone.data_dir).by_version("small", "1")
    bundle = export(plant, model, submission=3)
    assert bundles_of(plant.settings, "small").read(bundle.sha256) == bundle
    assert (bundle.manifest.version, bundle.manifest.submission, bundle.released_by) == ("1", 3, None)
    assert bundle.process == load_process(clone.process)
    assert bundle.vocabulary == vocabulary(plant.context_tables(), plant.process)
    assert (plant.models_dir / load_predictor(bundle).sha256).is_dir()


@pytest.mark.parametrize("name", ["predictor.json", "model.0.txt"])
def test_a_changed_predictor_makes_no_bundle(clone, name) -> None:
    path = next(clone.data_dir.glob(f"mlartifacts/small/*/artifacts/predictor/{name}"))
    path.write_bytes(path.read_bytes() + b" ")
    plant = Plant(clone.settings())
    before = written(plant)
    with pytest.raises(StorageError, match="was changed"):
        export(plant, Registry(clone.data_dir).by_version("small", "1"), submission=1)
    assert written(plant) == before


def locked(path: Path, stack: contextlib.ExitStack) -> None:
    lock = stack.enter_context(contextlib.closing(sqlite3.connect(path, isolation_level=None)))
    lock.execute("BEGIN EXCLUSIVE")


def no_database(path: Path, _: object) -> None:
    path.write_bytes(b"nonsense" * 1000)


def cut(path: Path, _: object) -> None:
    path.write_bytes(path.read_bytes()[:40_000])


def without_runs(path: Path, _: object) -> None:
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("DROP TABLE runs")


def a_pipe(path: Path, _: object) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("harm", "line"),
    [
        (locked, "the registry cannot be read: database is locked"),
        (no_database, "the registry cannot be read: file is not a database"),
        (cut, "the registry cannot be read: database disk image is malformed"),
        (without_runs, "the registry cannot be read: "),
        (a_pipe, "has no version '1'"),
    ],
)
def test_a_registry_that_cannot_be_read_is_one_line(clone, run, monkeypatch, harm, line) -> None:
    monkeypatch.setattr("models.mlflow_store.WAIT_S", 0.1)
    monkeypatch.setenv("BATCHGUARD_SIGNING_SECRET", "never looked at")
    with contextlib.ExitStack() as stack:
        harm(clone.data_dir / "mlflow.db", stack)
        refused = run("release", "submit", "1", "--process", clone.process, "--data-dir", clone.data_dir,
                      "--signer", "anna", "--reason", "figures read")  # fmt: skip
    assert refused.exit_code == 1
    assert line in refused.stderr
    assert len(refused.stderr.splitlines()) == 1

"""From the registry to a bundle that the endpoint loads."""

import contextlib
import os
import sqlite3

import pytest

from features.context import vocabulary
from features.process import load_process
from pipelines.bundle_export import KEYS, bundles_of, export
from pipelines.plant import Plant
from serving.bundle.loader import BundleLoader
from serving.bundle.manifest import trusted_keys


def test_a_version_of_the_registry_becomes_a_signed_bundle_that_can_serve(clone, run) -> None:
    done = run("bundle", "1", "--process", clone.process, "--data-dir", clone.data_dir)
    assert done.exit_code == 0, done.output
    plant = Plant(clone.settings())
    store = bundles_of(plant.settings, "small")
    assert store.pointed() in done.output
    assert "small version 1, unreviewed" in done.output
    serving_model = BundleLoader(store, trusted_keys(clone.data_dir / KEYS), canary=lambda _: None).refresh()
    assert serving_model.bundle.process == load_process(clone.process)
    assert serving_model.bundle.vocabulary == vocabulary(plant.context_tables(), plant.process)
    assert (plant.models_dir / serving_model.predictor.sha256).is_dir()


def test_the_champion_can_be_named_and_an_unknown_version_is_refused(clone, run) -> None:
    assert export(clone.settings(), "champion").manifest.version == "1"
    refused = run("bundle", "7", "--process", clone.process, "--data-dir", clone.data_dir)
    assert refused.exit_code == 1
    assert "has no version '7'" in refused.output


@pytest.mark.parametrize("name", ["predictor.json", "model.0.txt"])
def test_a_changed_predictor_is_not_signed(clone, run, name) -> None:
    path = next(clone.data_dir.glob(f"mlartifacts/small/*/artifacts/predictor/{name}"))
    path.write_bytes(path.read_bytes() + b" ")
    refused = run("bundle", "1", "--process", clone.process, "--data-dir", clone.data_dir)
    assert refused.exit_code == 1
    assert "was changed" in refused.output
    assert not (clone.data_dir / "bundles").exists()


def locked(path, stack) -> None:
    lock = stack.enter_context(contextlib.closing(sqlite3.connect(path, isolation_level=None)))
    lock.execute("BEGIN EXCLUSIVE")


def no_database(path, _) -> None:
    path.write_bytes(b"nonsense" * 1000)


def cut(path, _) -> None:
    path.write_bytes(path.read_bytes()[:40_000])


def without_runs(path, _) -> None:
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("DROP TABLE runs")


def a_pipe(path, _) -> None:
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
    with contextlib.ExitStack() as stack:
        harm(clone.data_dir / "mlflow.db", stack)
        refused = run("bundle", "1", "--process", clone.process, "--data-dir", clone.data_dir)
    assert refused.exit_code == 1
    assert line in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    assert not (clone.data_dir / "bundles").exists()

"""Stores that were damaged, copied or shared: one clear line, and nothing of another directory is written."""

import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import Result

from models.artifact_locations import bring_home
from models.registry import CHALLENGER, Registry
from tests.pipelines.small_plant import Place

Run = Callable[..., Result]


def one_line(result: Result) -> str:
    assert result.exit_code == 1
    assert result.exception is None or isinstance(result.exception, SystemExit)
    [line] = result.stderr.splitlines()
    return line


def newest(folder: Path, pattern: str) -> Path:
    return max(folder.rglob(pattern), key=lambda path: path.stat().st_mtime_ns)


def score(place: Place, run: Run) -> Result:
    return run("score", *place.options(), "--as-of", "history")


@pytest.mark.parametrize("keep", [0, 7, 0.5, -1])
def test_a_stored_file_that_was_cut_is_one_line_with_its_remedy(clone, run, keep) -> None:
    path = newest(clone.data_dir / "history" / "small" / "observations", "*.parquet")
    whole = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(whole[: int(len(whole) * keep) if isinstance(keep, float) else keep])
    clone.replace("materials", clone.read("materials").iloc[:-1])  # so that features are made again
    assert path.name in one_line(score(clone, run))


@pytest.mark.parametrize("content", [b"", b"garbage" * 1000, b"SQLite format 3\x00" + b"\xff" * 4000])
def test_a_garbled_registry_is_one_line(clone, run, content) -> None:
    (clone.data_dir / "mlflow.db").write_bytes(content)
    line = one_line(score(clone, run))
    assert "mlflow.db" in line or "model 'small' has no version '1'" in line


@pytest.mark.parametrize("content", [b"garbage" * 1000, b"SQLite format 3\x00" + b"\xff" * 4000])
def test_a_garbled_run_history_of_dagster_is_one_line_and_its_remedy_works(clone, run, content) -> None:
    home = clone.data_dir / "dagster"
    damaged = [path for path in home.rglob("*.db") if path.is_file()]
    assert damaged
    for path in damaged:
        path.write_bytes(content)
    line = one_line(score(clone, run))
    assert f"Move {home} away" in line
    shutil.move(home, clone.root / "aside")
    assert score(clone, run).exit_code == 0


def test_a_lost_last_entry_of_a_log_is_noticed(clone, run) -> None:
    assert run("verify", *clone.options()[:2], *clone.options()[4:]).exit_code == 0
    log = newest(clone.data_dir / "history" / "small" / "batches" / "_delta_log", "*.json")
    first = clone.data_dir / "history" / "small" / "batches" / "_delta_log" / f"{0:020}.json"
    if log == first:  # a second version
        clone.replace("batches", clone.read("batches").assign(age_years="50"))
        assert score(clone, run).exit_code == 0
        log = newest(log.parent, "*.json")
    log.unlink()
    result = run("verify", *clone.options()[:2], *clone.options()[4:])
    assert result.exit_code == 1
    assert f"the log ends at version {int(log.stem) - 1}; expected version {int(log.stem)}" in result.stderr


def test_a_copied_data_directory_writes_into_itself(ran, clone, run) -> None:
    original = {path: path.stat().st_mtime_ns for path in ran.place.data_dir.rglob("*") if path.is_file()}
    model = Registry(clone.data_dir).by_alias("small", CHALLENGER)
    assert model is not None
    decided = clone.read("dispositions")
    decided.loc[40:43, "outcome"] = ["rejected", "released", "rejected", "released"]
    clone.replace("dispositions", decided)
    result = run("run", *clone.options(), "--as-of", "history")
    assert result.exit_code == 0, result.output
    made = Registry(clone.data_dir).by_alias("small", CHALLENGER)
    assert made is not None
    assert made.version != model.version
    assert Registry(clone.data_dir).predictor(made).sha256 == made.sha256
    now = {path: path.stat().st_mtime_ns for path in ran.place.data_dir.rglob("*") if path.is_file()}
    assert now == original
    with closing(sqlite3.connect(clone.data_dir / "mlflow.db")) as database:
        places = [
            uri
            for (uri,) in database.execute(
                "SELECT artifact_uri FROM runs UNION SELECT artifact_location FROM experiments"
            )
        ]
    own = (clone.data_dir / "mlartifacts").absolute().as_uri()
    assert [uri for uri in places if "/mlartifacts/" in uri and not uri.startswith(own)] == []


def test_a_directory_that_never_moved_is_left_as_it_is(ran) -> None:
    assert bring_home(ran.place.data_dir / "mlflow.db", Registry(ran.place.data_dir).artifacts) == 0


def test_another_process_under_the_same_id_is_refused_before_it_does_anything(clone, run) -> None:
    before = sorted(str(path) for path in clone.data_dir.rglob("*"))
    text = clone.process.read_text()
    clone.process.write_text(text.replace('name = "Small plant"', 'name = "Other plant"'))
    line = one_line(score(clone, run))
    assert "holds the process 'Small plant' under the id 'small', and this one is 'Other plant'" in line
    assert sorted(str(path) for path in clone.data_dir.rglob("*")) == before
    note = clone.data_dir / "history" / "small" / "process.json"
    assert str(note) in line
    note.unlink()  # the remedy for a process that was renamed
    assert score(clone, run).exit_code == 0
    assert json.loads(note.read_text())["name"] == "Other plant"


def test_a_process_may_get_and_lose_parameters(clone, run) -> None:
    extra = '\n[[parameter]]\nname = "ph"\nlabel = "pH"\nunit = "1"\nkind = "sensor"\n'
    clone.process.write_text(clone.process.read_text() + extra)
    os.utime(clone.process)
    assert run("run", *clone.options(), "--as-of", "history").exit_code == 0

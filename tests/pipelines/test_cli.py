import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from features.errors import StorageError
from models.registry import Registry
from pipelines.plant import Plant
from pipelines.storage import Store
from pipelines.training_sets import verified
from tests.pipelines.small_plant import N_BATCHES, Place


def stored(place: Place) -> dict[str, tuple[int, str]]:
    """Digest and version of every stored table."""
    found = {}
    for kind in ("history", "features", "scores"):
        store = Store(place.data_dir / kind / "small")
        found |= {f"{kind}/{name}": (store.version(name), store.digest(name)) for name in store.tables()}
    return found


def test_a_run_writes_the_fields_that_were_promised(ran) -> None:
    result = json.loads(ran.place.result.read_text())
    assert list(result) == ["process", "data", "test", "by_checkpoint", "random_split", "model", "serving", "scores"]
    assert {"rows_in", "rows_kept", "rows_quarantined", "batches", "failed", "censored"} <= set(result["data"])
    test = {"n_batches", "n_failed", "base_rate", "auroc", "auroc_ci", "auprc", "brier", "ece"}
    assert test <= set(result["test"])
    assert {"checkpoint_h", "n", "n_failed", "auroc", "auprc"} <= set(result["by_checkpoint"][0])
    assert [row["checkpoint_h"] for row in result["by_checkpoint"]] == [0, 6, 12, 24]
    assert set(result["random_split"]) == {"auroc", "questions"}
    assert {"name", "version", "sha256"} <= set(result["model"])
    assert (result["serving"]["version"], result["serving"]["released_by"]) == ("1", "demo keys")
    assert {score["model"]["release_id"] for score in result["scores"]} == {result["serving"]["release_id"]}
    assert {"batch_id", "as_of", "failure_probability", "reasons"} <= set(result["scores"][0])


def test_rows_and_batches_add_up(ran) -> None:
    result = json.loads(ran.place.result.read_text())
    data = result["data"]
    rows = sum(len(ran.place.read(name)) for name in ("batches", "observations", "dispositions", "materials"))
    assert data["rows_in"] == rows == data["rows_kept"] + data["rows_quarantined"]
    assert data["batches"] == N_BATCHES
    assert data["failed"] == int((ran.place.read("dispositions")["outcome"] == "rejected").sum())
    # trained first when 50 outcomes were known: two or three batches run at a time, and all later ones are the test
    assert result["test"]["n_batches"] == 63
    low, high = result["test"]["auroc_ci"]
    assert low <= result["test"]["auroc"] <= high


def test_batches_without_a_disposition_get_scores_with_reasons(ran) -> None:
    scores = {score["batch_id"]: score for score in json.loads(ran.place.result.read_text())["scores"]}
    assert sorted(scores) == ["B117", "B118", "B119"]
    assert all(0 <= score["failure_probability"] <= 1 for score in scores.values())
    assert scores["B119"]["failure_probability"] > scores["B118"]["failure_probability"]  # one is warm, one is not
    why = scores["B119"]["reasons"][0]
    assert {"sentence", "value", "unit", "normal", "points"} <= set(why)
    assert (why["unit"], why["normal"]) == ("degC", [36, 38])
    assert why["value"] == pytest.approx(38.5, abs=1)
    assert why["points"] > 0
    assert "Temperature" in why["sentence"]


def test_the_report_and_the_table_of_scores_are_there(ran) -> None:
    report = Plant(ran.place.settings()).report_path
    assert report.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert str(report) in ran.first.output
    assert "3 batches in progress as of 2025-06-01" in ran.first.output
    assert "validate no model" in ran.first.output  # simulated batches are among the rows


def test_a_second_run_gives_the_same_model_and_scores_and_changes_nothing(ran, clone, run) -> None:
    before = stored(clone)
    again = clone.root / "again.json"
    result = run("run", *clone.options(), "--json", str(again), "--as-of", "history")
    assert result.exit_code == 0
    assert json.loads(again.read_text()) == json.loads(ran.place.result.read_text())
    assert stored(clone) == before
    assert "source unchanged" in result.output
    assert result.output.count("; 0 months changed") == 2
    assert len(Registry(clone.data_dir)._versions("small")) == 1
    readings = (Plant(clone.settings()).models_dir / "test_readings.jsonl").read_text().splitlines()
    entries = [json.loads(line) for line in readings]
    blocks = [entry["test_sha256"] for entry in entries if entry["purpose"].startswith("block ")]
    assert [entry["purpose"].split(" ")[0] for entry in entries] == ["block"] * 3 + ["evaluate"]
    assert len(blocks) == len(set(blocks)) == 3  # each closed block was read once, whatever ran again


def test_stored_files_are_verified_and_a_flipped_byte_is_named(clone, run) -> None:
    options = ["--process", str(clone.process), "--data-dir", str(clone.data_dir)]
    sound = run("verify", *options)
    assert (sound.exit_code, sound.stderr) == (0, "")
    assert "files are as they were written" in sound.stdout
    path = flip_a_byte(clone)
    damaged = run("verify", *options)
    assert damaged.exit_code == 1
    assert len(damaged.stderr.splitlines()) == 1
    assert damaged.stderr.startswith(f"batchguard: {path}: ")
    assert path.name in damaged.stderr


def test_a_changed_predictor_is_named(clone, run) -> None:
    (path,) = Plant(clone.settings()).models_dir.glob("*/model.0.txt")
    path.write_text(path.read_text().replace("leaf", "reaf", 1))
    result = run("verify", "--process", str(clone.process), "--data-dir", str(clone.data_dir))
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert "model.0.txt" in result.stderr


def test_what_a_killed_writer_left_is_told_but_is_no_damage(clone, run) -> None:
    folder = Plant(clone.settings()).features.root / "snapshot_features"
    (folder / "month=2025-02" / f"{'0' * 64}.{'0' * 64}.parquet").write_bytes(b"torn")
    result = run("verify", "--process", str(clone.process), "--data-dir", str(clone.data_dir))
    assert result.exit_code == 0
    assert "left by a writer that was stopped" in result.stderr


def test_an_empty_data_directory_is_not_verified(fresh, run) -> None:
    result = run("verify", "--process", str(fresh.process), "--data-dir", str(fresh.data_dir))
    assert result.exit_code == 1
    assert "no run history of 'small'" in result.stderr


def test_nothing_is_trained_from_damaged_data(clone, run) -> None:
    path = flip_a_byte(clone)
    result = run("train", *clone.options())
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith(f"batchguard: {path}")
    with pytest.raises(StorageError, match="Nothing was trained"):
        verified(Plant(clone.settings()))
    assert len(Registry(clone.data_dir)._versions("small")) == 1


def flip_a_byte(place: Place) -> Path:
    path = Plant(place.settings()).history.files("observations", ["2025-02"])[0]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    return path


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom pipelines.cli import app\n"
        "assert CliRunner().invoke(app, ['run', '--help']).exit_code == 0\n"
        "print([m for m in ('mlflow', 'shap', 'dagster', 'matplotlib', 'pandera') if m in sys.modules])"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, check=True)
    assert ended.stdout.strip() == "[]"


def test_a_moment_whose_future_the_model_knows_is_not_scored(clone, run) -> None:
    options = ("--process", str(clone.process), "--history", str(clone.history), "--data-dir", str(clone.data_dir))
    early = run("score", *options, "--as-of", "2025-02-10T00:00Z")
    assert early.exit_code == 1
    assert "the model would know the future" in early.stderr
    assert len(early.stderr.splitlines()) == 1


@pytest.mark.parametrize("name", ["run", "train", "backtest"])
def test_a_command_with_the_former_option_trials_goes_on_to_its_other_faults(tmp_path, run, name) -> None:
    result = run(name, "--process", str(tmp_path / "none.toml"), "--history", str(tmp_path), "--trials", "12")
    assert result.exit_code == 1
    assert "--trials" not in result.output

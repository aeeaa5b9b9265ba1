"""Kills while a stored predictor is logged with MLflow and registered, and while a plant is trained."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.field.made_plant import PROCESS, made_plant
from benchmarks.record import figure
from benchmarks.release.killing import in_child, killed_at, n_events
from benchmarks.serving.process import ROOT
from models.evaluation.evaluate import Evaluation, evaluate
from models.learners.trees import Plan
from models.registry import CHALLENGER, Registry
from models.train import Trained, train

N_BATCHES = 150


@dataclass(frozen=True)
class TrainedExample:
    """A predictor with its evaluation, and an example of its snapshots."""

    trained: Trained
    evaluation: Evaluation
    example: pd.DataFrame


def trained_example() -> TrainedExample:
    """Trained on one thread: the children that are forked later must not inherit the threads of LightGBM."""
    h = made_plant(N_BATCHES).history
    plan = Plan(folds=2, most_rounds=20, threads=1)
    trained = train(PROCESS, h.snapshots, h.features, h.batches, h.log, plan=plan)
    evaluation = evaluate(PROCESS, trained, h.snapshots, h.features, h.batches, h.log)
    return TrainedExample(trained, evaluation, h.snapshots.head(1))


def of_registering(made: TrainedExample, folder: Path, n: int) -> list[dict[str, Any]]:
    """Kills spread over the events of logging and registering."""
    features, log, rng = made.trained.predictor.features, folder / "child.log", random.Random(3)  # noqa: S311
    place = folder / "registry"

    def register() -> None:
        found = Registry(place).register(
            PROCESS, made.trained, made.evaluation, report="<p>report</p>", images={}, features=features,
            example=made.example, card="# Model card",
        )  # fmt: skip
        Registry(place).as_challenger(found)

    def sound() -> None:
        registry = Registry(place)
        models = registry.all(PROCESS.id)
        assert len(models) <= 1, [model.version for model in models]
        for model in models:
            registry.check_files(model)
            registry.predictor(model)

    def complete() -> None:
        sound()
        model = Registry(place).by_alias(PROCESS.id, CHALLENGER)
        assert model is not None
        version = Registry(place).store.client().get_model_version(PROCESS.id, model.version)
        assert version.description == "# Model card", version.description

    def fresh(i: int) -> None:
        """Every tenth time without a database, which MLflow takes seconds to make."""
        shutil.rmtree(place, ignore_errors=True)
        if i % 10:
            shutil.copytree(made_before, place)

    half = incomplete = kills = 0
    made_before = folder / "registry before"
    made_before.mkdir()
    assert in_child(lambda: Registry(made_before).store.client(), log) == 0, log.read_text()
    fresh(1)
    events = n_events(register, log)
    for i in range(n):
        fresh(i + 1)
        kills += killed_at(register, 1 + (i * events) // n if i % 2 else rng.randrange(1, events + 1), log)
        half += in_child(sound, log) != 0
        again = in_child(register, log) or in_child(complete, log)
        incomplete += again != 0
        if again:
            print(log.read_text()[-1500:])
    note = f"{events} events (files, statements, commits); an orphaned MLflow run may stay, no version is half"
    return [
        figure("kills while a predictor is logged and registered that leave a half version", half, "kills", bound=0, side="max",
               n=kills, n_failed=half, note=note),
        figure("runs of logging and registering again that do not complete", incomplete, "runs", bound=0, side="max", n=n,
               n_failed=incomplete),
    ]  # fmt: skip


def of_training(folder: Path, n: int) -> list[dict[str, Any]]:
    """Kills of `batchguard run` at random moments; the next run goes on, the last one completes."""
    plant = _plant(folder)
    command = [
        sys.executable,
        "-m",
        "pipelines.cli",
        "run",
        *plant,
        "--as-of",
        "history",
        "--release-as-demo",
    ]
    begin = time.monotonic()
    _run(command)
    whole_s = time.monotonic() - begin
    data_dir, rng, half = Path(plant[-1]), random.Random(9), 0  # noqa: S311
    for i in range(n):
        if i % 10 == 0:
            shutil.rmtree(data_dir, ignore_errors=True)
        _killed(command, rng.uniform(0.05, 1.0) * whole_s)
        half += _verify(plant) != 0
    completes = _run(command) == 0 and _verify(plant) == 0
    result = subprocess.run(
        [*command, "--json", str(folder / "result.json")], cwd=ROOT, capture_output=True, check=False
    )
    released = result.returncode == 0 and json.loads((folder / "result.json").read_text())["serving"]["released_by"]
    note = f"a whole run takes {whole_s:.0f} s; a new data directory after every tenth kill"
    return [
        figure("kills while a plant is trained and released that leave something damaged", half, "kills", bound=0, side="max",
               n=n, n_failed=half, note=note),
        figure("the run after the last kill completes, and its scores are released", float(bool(completes and released)), "",
               bound=1, n=1),
    ]  # fmt: skip


def _killed(command: list[str], after_s: float) -> None:
    child = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        child.wait(after_s)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def _run(command: list[str]) -> int:
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if ran.returncode:
        print(ran.stdout[-500:], ran.stderr[-1500:])
    return ran.returncode


def _verify(plant: list[str]) -> int:
    """Whether something is damaged; a folder in which nothing was stored yet is not."""
    if not (Path(plant[-1]) / "history" / "killed" / "batches").exists():
        return 0
    command = [sys.executable, "-m", "pipelines.cli", "verify", *plant[:2], *plant[-2:]]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if ran.returncode and "no run history" not in ran.stderr:
        print(ran.stderr[-1500:])
        return 1
    return 0


def _plant(folder: Path) -> list[str]:
    """The made-up plant as a person would bring it; the options of the command line, the data directory last."""
    made, root = made_plant(N_BATCHES), folder / "plant"
    (root / "history").mkdir(parents=True)
    for name in ("batches", "observations", "dispositions"):
        made.tables[name].to_parquet(root / "history" / f"{name}.parquet", index=False)
    (root / "killed.toml").write_text(_TOML)
    for kind in ("intended_use", "acceptance"):
        shutil.copy(ROOT / "processes" / f"cart.{kind}.toml", root / f"killed.{kind}.toml")
    return [
        "--process",
        str(root / "killed.toml"),
        "--history",
        str(root / "history"),
        "--data-dir",
        str(root / "data"),
    ]


_TOML = """\
[process]
id = "killed"
name = "Killed"
version = "1"
planned_duration_h = 48
checkpoints_h = [12, 36]
windows_h = [6]
""" + "".join(f"""
[[parameter]]
name = "{name}"
label = "{name}"
unit = "1"
kind = "{kind}"
normal = [4, 6]
""" for name, kind in (("temp_c", "sensor"), ("ph", "sensor"), ("oxygen_pct", "sensor"), ("glucose_mm", "assay"), ("titre", "assay")))  # fmt: skip

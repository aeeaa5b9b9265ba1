"""A planted leak: a release result that claims to have been known from the start. Does the product notice?

Three plants: one as it is; one in which only `available_at` lies; one in which the time of observation lies with it, so that
nothing in the record contradicts it. The result is no longer excluded in the process definition of the last two.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.model.measures import Counts, Measure
from benchmarks.model.plant import PROCESS, Ground, Say, ground, simulate
from features.errors import ContractError
from features.process import load_process
from models.cohort.table import before_the_label
from pipelines.history import ingest
from pipelines.plant import Plant
from pipelines.report import Limits
from pipelines.settings import Settings
from pipelines.sources.folder import HistoryFolder
from pipelines.sources.policy import PlantDefinition
from pipelines.target_leakage import TargetLeakage, check_target_leakage

SECTION = "A planted leak"
BATCHES = 600
RESULT, OTHER_RESULT = "dose_viable_car_e8", "final_viable_e9"


def leaks(clean: Ground, snapshots: pd.DataFrame, folder: Path, say: Say = print) -> list[Measure]:
    """Plant leaks in a small plant of the same seed; the clean plant is the large one.

    Args:
        clean: The large plant.
        snapshots: Its snapshots.
        folder: For the small ones.
        say: Told what goes on.
    """
    source = folder / "small"
    if not (source / "truth.parquet").exists():
        simulate(clean.seed, source, BATCHES)
    say(f"seed {clean.seed}: planting leaks in {BATCHES} batches")
    honest, caught = _checked(clean, snapshots), _checked_in(source, folder / "both", RESULT, say)
    other = _checked_in(source, folder / "other", OTHER_RESULT, say)
    one = Counts(n=1)
    return [
        Measure(SECTION, "available_at before observed_at: refused at ingest", float(_refused(source, folder / "one")), **one, bound=1.0),
        Measure(SECTION, f"{RESULT} said to be known at the start: caught by its values", float(not caught.passed), n=caught.n_batches,
                n_failed=caught.n_failed, bound=1.0, note=caught.copies[0] if caught.copies else "not caught"),
        Measure(SECTION, f"{OTHER_RESULT}, which is no release attribute, likewise", float(not other.passed), n=other.n_batches,
                n_failed=other.n_failed, note="a known gap where 0: only release attributes and an AUROC above .9 are looked for"),
        Measure(SECTION, "features of the plant as it is that are called leaks", float(len(honest.copies)), "features", n=honest.n_batches,
                n_failed=honest.n_failed, bound=0.0, side="max", note=f"{len(honest.suspicious)} more to be explained"),
    ]  # fmt: skip


def _checked_in(source: Path, folder: Path, result: str, say: Say) -> TargetLeakage:
    process = plant_leak(source, folder / "plant", result, observed_too=True)
    place = ground(0, folder, process=process, say=lambda _: None)
    found = _checked(place, place.snapshots())
    say(f"{result} planted: {len(found.copies)} copies, {len(found.suspicious)} to be explained")
    return found


def _checked(place: Ground, snapshots: pd.DataFrame) -> TargetLeakage:
    mine = before_the_label(snapshots[snapshots["batch_id"].isin(place.train.index)], place.log)
    seen = place.plant.observations_of([q.parameter for q in place.process.quality_attribute])
    return check_target_leakage(place.process, mine, place.train, seen)


def _refused(source: Path, folder: Path) -> bool:
    """Whether ingest refuses a plant in which only `available_at` lies."""
    process = plant_leak(source, folder / "plant", RESULT, observed_too=False)
    plant = Plant(
        Settings(process=process, history=folder / "plant" / "history", data_dir=folder / "data", as_of="history")
    )
    try:
        ingest(
            HistoryFolder(plant.settings.history),
            plant.history,
            load_process(process, PlantDefinition),
            limits=Limits(0),
        )
    except ContractError as error:
        return "available_at" in str(error)
    return False


def plant_leak(source: Path, out: Path, result: str, *, observed_too: bool) -> Path:
    """Copy a plant with a result said to be known at the start of its batch, and a process that takes it for a feature.

    Returns:
        The process definition, beside the copy.
    """
    shutil.rmtree(out.parent, ignore_errors=True)
    shutil.copytree(source, out)
    path = out / "history" / "observations.parquet"
    started = pd.read_parquet(out / "history" / "batches.parquet").set_index("batch_id")["started_at"]
    table = pq.read_table(path)
    frame = table.to_pandas()
    mine = frame["parameter"] == result
    for name in ("available_at", "observed_at") if observed_too else ("available_at",):
        frame.loc[mine, name] = frame.loc[mine, "batch_id"].map(started).astype(frame[name].dtype)
    pq.write_table(pa.Table.from_pandas(frame, schema=table.schema, preserve_index=False), path, row_group_size=131_072)
    process = out.parent / PROCESS.name
    process.write_text(without_exclusion(PROCESS.read_text(encoding="utf-8"), result), encoding="utf-8")
    return process


def without_exclusion(text: str, parameter: str) -> str:
    """A process definition in which one parameter is no longer excluded."""
    block = re.compile(rf'(name = "{re.escape(parameter)}"\n(?:(?!\[\[).*\n)*?)excluded = true\n')
    changed, n = block.subn(r"\1", text)
    if n != 1:
        raise ValueError(f"{parameter} is not excluded exactly once")
    return changed

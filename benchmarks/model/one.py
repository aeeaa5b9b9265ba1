"""All figures of one plant; a process of its own, so that memory is given back: `python -m benchmarks.model.one`."""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd

from benchmarks.baselines.compare import METHODS
from benchmarks.model import alarms, stages
from benchmarks.model.against import RIVALS, against
from benchmarks.model.cases import LOST, cases
from benchmarks.model.fidelity import fidelity
from benchmarks.model.leak import leaks
from benchmarks.model.measures import Measure
from benchmarks.model.plant import ALL_BATCHES, Ground, Say, ground
from benchmarks.model.scored import Scored, scored, trained_on
from models.learners.trees import Plan

FOUNDATION, SOUND = "The plants", "Sums and repeats"
THREADS = 2
SLOW = ("process-improve T2", "process-improve SPE", "tsfresh + LightGBM")  # minutes each: on one plant


def main() -> None:
    """Measure one plant and write its figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument(
        "--folder", type=Path, required=True, help="for the plant and its data; what is there is used again"
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--quick", action="store_true", help="two rivals")
    parser.add_argument(
        "--first", action="store_true", help="with what is done on one plant only: packages, a leak, one thread"
    )
    args = parser.parse_args()
    found = measures(args.seed, args.folder, quick=args.quick, first=args.first, say=_say_with_time())
    args.out.write_text(json.dumps([m.to_json() for m in found], indent=1), encoding="utf-8")


def measures(seed: int, folder: Path, *, quick: bool, first: bool, say: Say) -> list[Measure]:
    """Simulate, train, score, and take every figure.

    Args:
        seed: Of the simulator.
        folder: For the plant and its data.
        quick: Compare with limits only.
        first: Also plant leaks, train again on one thread, and run the packages that take minutes.
        say: Told what goes on.
    """
    place = ground(seed, folder, batches=ALL_BATCHES, say=say)
    snapshots = place.snapshots()
    plan = Plan(threads=THREADS)
    trained = trained_on(place, snapshots, plan, say)
    once = []
    if first:
        once = leaks(place, snapshots, folder / "leaks", say)
        once.append(_same_on_one_thread(place, snapshots, plan, trained.predictor.sha256, say))
    del snapshots
    scores, known = scored(place, trained.predictor, say), cases(place)
    at = scores.at_checkpoints
    out = _foundation(place, scores, known, n_train=len(trained.failed), n_train_failed=int(trained.failed.sum()))
    out += _alarms(place, scores, known)
    out += stages.ranking(at, known) + stages.calibrated(at) + stages.covered(at)
    out += stages.called(at) + stages.costs(scores.rows, place.process)
    say(f"seed {seed}: reasons")
    out += fidelity(place, scores, known)
    out.append(Measure(SOUND, "largest gap between base plus contributions and log-odds", scores.worst_gap, n=len(at), bound=1e-6, side="max", note="over every score at a sixth hour"))  # fmt: skip
    out += once
    rows, scores = scores.held, None
    methods = RIVALS if quick else tuple(m for m in METHODS if first or m not in SLOW)
    return out + against(place, rows, known, cases(place, LOST), methods, say)


def _alarms(place: Ground, scores: Scored, known: pd.DataFrame) -> list[Measure]:
    strict, held = cases(place, LOST), scores.held
    as_lost = held.assign(failed=held["batch_id"].map(strict["failed"]))
    return [
        *alarms.found_at_shares(held, known, alarms.WIDE, bounds=True),
        alarms.fast_ones(held, known),
        *alarms.ceiling(known),
        alarms.hidden_ones(held, known),
        alarms.too_good(held, known),
        *alarms.found_at_shares(as_lost, strict, alarms.STRICT, bounds=False),
        *alarms.ceiling(strict, alarms.STRICT),
        *alarms.carried_over(scores.rows, scores.predictor),
        *alarms.drifting_probes(held, known),
    ]


def _same_on_one_thread(place: Ground, snapshots: pd.DataFrame, plan: Plan, sha256: str, say: Say) -> Measure:
    """Whether the files of a predictor are the same, to the last byte, when trained on one thread."""
    say(f"seed {place.seed}: once more on one thread")
    again = trained_on(place, snapshots, replace(plan, threads=1), lambda _: None)
    return Measure(SOUND, "same files from 1 and 2 threads", float(again.predictor.sha256 == sha256), bound=1.0, note="1: every byte")  # fmt: skip


def _foundation(
    place: Ground, scores: Scored, known: pd.DataFrame, *, n_train: int, n_train_failed: int
) -> list[Measure]:
    observable = int(known["observable"].sum())
    return [
        Measure(FOUNDATION, "training batches", n_train, "batches", n=n_train, n_failed=n_train_failed),
        Measure(FOUNDATION, "later batches", len(known), "batches", n=len(known), n_failed=int(known["failed"].sum()), bound=3000),
        Measure(FOUNDATION, "observable failures among them", observable, "batches", n=len(known), n_failed=observable),
        Measure(FOUNDATION, "scores before harvest", len(scores.rows), "scores", n=scores.rows["batch_id"].nunique()),
        Measure(FOUNDATION, "rows refused at ingest", place.rows_refused, "rows", n=place.rows_in, note="keys used twice by the simulated people"),
    ]  # fmt: skip


def _say_with_time() -> Say:
    began = time.perf_counter()
    return lambda text: print(f"{time.perf_counter() - began:5.0f} s  {text}", flush=True)


if __name__ == "__main__":
    main()

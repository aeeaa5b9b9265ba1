"""The baselines on one simulated plant, side by side.

`python -m benchmarks.baselines.compare --plant PLANT --data-dir DATA` prints one line a method: at 5 % and 2 % of good
test batches ever alarmed, the recall of observable failures, the share warned 48 h ahead and the median lead, then the
recall of all failures and AUROC by checkpoint, beside seconds passed and seconds of a core. PLANT is a folder that `batchguard simulate` wrote (its truth
beside its history), DATA the data directory in which its features were made.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from benchmarks.baselines import (
    combined_limits,
    golden_limits,
    logistic,
    mspc,
    normal_range,
    plain_lightgbm,
    process_improve_monitor,
    snapshots,
    tsfresh_lightgbm,
)
from benchmarks.baselines.signals import signals, with_covariates
from features.errors import BatchguardError
from models.cohort.labels import labels_as_of
from models.cohort.splits import known_before, seal_test, subject_groups
from pipelines.plant import Plant
from pipelines.settings import Settings

Scores = Callable[[Plant, pd.Series, tuple[str, ...]], pd.DataFrame]
METHODS: dict[str, Scores] = {
    "normal-range limits": normal_range.scores,
    "equal-share limits": golden_limits.scores,
    "combined limits": combined_limits.scores,
    "MSPC T2": mspc.scores_t2,
    "MSPC SPE": mspc.scores_spe,
    "process-improve T2": process_improve_monitor.scores_t2,
    "process-improve SPE": process_improve_monitor.scores_spe,
    "logistic regression": logistic.scores,
    "tsfresh + LightGBM": tsfresh_lightgbm.scores,
    "plain LightGBM": plain_lightgbm.scores,
}
OBSERVABLE = ("M1", "M2", "M3", "M4", "M6", "M7", "M8", "M10")
SHARES = (0.05, 0.02)
AT_H = (24.0, 84.0, 132.0, 204.0)
WARNED_H = 48.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plant", type=Path, required=True)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--process", type=Path, default=Path("processes/cart.toml"))
    parser.add_argument("--train-batches", type=int, default=2350, help="batches that started first")
    parser.add_argument("--only", nargs="*", choices=list(METHODS), default=list(METHODS))
    args = parser.parse_args()
    plant = Plant(
        Settings(process=args.process, history=args.plant / "history", data_dir=args.data_dir, as_of="history")
    )
    batches, log = plant.table("batches"), plant.labels()
    share = 1 - args.train_batches / len(batches)
    seal = seal_test(batches, log, process_id=plant.process.id, share=share)
    train = known_before(batches, log, seal.cut, away_from=seal.batch_ids, groups=subject_groups(batches))
    test = _test_batches(plant, seal.batch_ids, args.plant / "truth.parquet")
    print(f"train: {len(train)} batches, {train.sum()} failed; test: {len(test)}, {test['failed'].sum()} failed, "
          f"{test['observable'].sum()} of these observable")  # fmt: skip
    began = time.perf_counter()
    signals(plant), with_covariates(plant), snapshots.usable(plant)
    print(f"{'(reading)':22s} {time.perf_counter() - began:5.0f} s", flush=True)
    for name in args.only:
        began, used = time.perf_counter(), _processor_s()
        try:
            found = METHODS[name](plant, train, seal.batch_ids)
        except BatchguardError as error:
            print(f"{name:22s} could not run: {error}", flush=True)
            continue
        print(_line(name, found, test, time.perf_counter() - began, _processor_s() - used), flush=True)
        if name == "normal-range limits":
            print(_plain(found, test), flush=True)


def _processor_s() -> float:
    return sum(
        t.ru_utime + t.ru_stime for t in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def _test_batches(plant: Plant, ids: tuple[str, ...], truth: Path) -> pd.DataFrame:
    """`failed`, `observable`, `end_h` by batch."""
    known = pd.read_parquet(truth)
    seen = known.loc[known["caused_failure"] & known["mode"].isin(OBSERVABLE), "batch_id"]
    failed = labels_as_of(plant.labels())["failed"].reindex(list(ids))
    data = signals(plant)
    end_h = data.end_h[data.rows(ids)]
    return pd.DataFrame({"failed": failed, "observable": failed & failed.index.isin(seen), "end_h": end_h})


def _line(name: str, found: pd.DataFrame, test: pd.DataFrame, seconds: float, processor_s: float) -> str:
    highest = found.groupby("batch_id")["score"].max().reindex(test.index).fillna(-np.inf)
    good = np.sort(highest[~test["failed"]])[::-1]
    parts = []
    for share in SHARES:
        threshold = good[int(share * len(good))]
        first = found[found["score"] > threshold].groupby("batch_id")["checkpoint_h"].min()
        lead = test["end_h"] - first.reindex(test.index)
        mine = lead[test["observable"]]
        parts.append(
            f"{share:.0%} ({(good > threshold).mean():.3f}): recall {mine.notna().mean():.3f}, "
            f"48 h {(mine >= WARNED_H).mean():.3f}, lead {mine.median():3.0f} h, all {lead[test['failed']].notna().mean():.3f}"
        )
    rows = found.assign(failed=found["batch_id"].map(test["failed"]))
    areas = [
        roc_auc_score(at["failed"], at["score"])
        for _, at in rows[rows["checkpoint_h"].isin(AT_H)].groupby("checkpoint_h")
    ]
    return f"{name:22s} {seconds:5.0f} s ({processor_s:.0f} of a core)  {' | '.join(parts)} | AUROC {' '.join(f'{a:.2f}' for a in areas)}"


def _plain(found: pd.DataFrame, test: pd.DataFrame) -> str:
    alarmed = found.groupby("batch_id")["score"].max().reindex(test.index) > normal_range.PLAIN_THRESHOLD
    return (
        f"{'  as plain alarms':22s}          {alarmed[~test['failed']].mean():.3f} of good batches alarmed, "
        f"{alarmed[test['observable']].mean():.3f} of observable failures"
    )


if __name__ == "__main__":
    main()

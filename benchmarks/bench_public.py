"""What the product reaches on IndPenSim, fault present, in repeated folds, beside plain trees and plain deviations.

Run: python -m benchmarks.bench_public [--docs]

IndPenSim's batches are drawn independently by a simulator: only therefore may folds be drawn at random here, by batch. The
product itself splits forward in time (bench_results.py, whose sealed test stays as it is). Simulated data verify
software and validate no model. The data are not part of the repository: see bench_results.py.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedKFold

from benchmarks.bench_results import write_between
from benchmarks.field.dated import DATA_SETS, ROOT, data_folder
from benchmarks.field.histories import history_of_set
from benchmarks.field.rivals import TestRows, TrainRows, plain_lightgbm
from benchmarks.record import RESULTS, figure, write
from features.snapshots import ROW_COLUMNS
from models.backtest.fits import raw_scores
from models.backtest.history import History
from models.cohort.splits import nothing_sealed
from models.cohort.table import before_the_label
from models.learners.deviations import FAR_SHARE, LARGEST, fit_deviations
from models.policy import Policy
from models.train import train

DOCS = ROOT / "docs" / "results.md"
NAME = "public_folds"
BEGIN, END = "<!-- folds: begin -->", "<!-- folds: end -->"
REPEATS, FOLDS = 10, 5
PRODUCT, PLAIN = "product", "plain_lightgbm"
HOURS, BOUNDS, EARLY_H = (60.0, 115.0, 170.0), {115.0: 0.88, 170.0: 0.94}, 60.0
EARLY = "6 of the 21 faults show by 60 h: a score that finds these and guesses the rest reaches .64"
METHODS = {
    PRODUCT: "the product, default policy",
    PLAIN: "plain LightGBM on the same snapshots",
    LARGEST: "largest deviation from good batches, nothing learnt from failures",
    FAR_SHARE: "share of parameters with |z| > 4, nothing learnt from failures",
}


def main() -> None:
    """Measure, record, and write the table of docs/results.md."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--docs", action="store_true", help="only write the table of docs/results.md from the record")
    if not parser.parse_args().docs and not measure():
        return
    write_table(DOCS, json.loads((RESULTS / f"{NAME}.json").read_text(encoding="utf-8")))


def measure() -> bool:
    """Whether the data were there to measure on."""
    if not (data_folder() / "indpensim").is_dir():
        print(f"skipped, no folder {data_folder() / 'indpensim'}; set BATCHGUARD_REAL_DATA")
        return False
    with tempfile.TemporaryDirectory() as folder:
        history = indpensim(Path(folder))
    print(write(NAME, figures_of(repeated(history, Policy(), repeats=REPEATS))))
    return True


def indpensim(folder: Path) -> History:
    """The history with the on-line variables only, ingested into `folder`.

    What was known of other batches' outcomes is left out: with folds at random it would tell a batch of the test.
    """
    history = history_of_set(next(data for data in DATA_SETS if data.name == "indpensim"), folder)
    on_line = {parameter.name for parameter in history.process.features_of("sensor")}
    features = tuple(feature for feature in history.features if feature.parameter in on_line)
    columns = [*ROW_COLUMNS, *(feature.name for feature in features)]
    rows = before_the_label(history.snapshots[columns], history.log)
    return replace(history, features=features, snapshots=rows[rows["batch_id"].isin(history.outcomes["batch_id"])])


def repeated(history: History, policy: Policy, *, repeats: int) -> pd.DataFrame:
    """AUROC per checkpoint, method and repeat.

    Only batches scored by one model are compared (pairs within a fold): pooling folds compares scores of different models
    and is biased downwards (Airola et al., 2011).

    Returns:
        `checkpoint_h`, `method`, `repeat`, `auroc`, `n`, `n_failed`, and `learners`: how many of the repeat's models of
        the product are trees, deviations or layers.
    """
    found = []
    failed = history.outcomes.set_index("batch_id")["failed"].astype(bool)
    for repeat in range(repeats):
        folds = [fold_scores(history, policy, learnt, test) for learnt, test in drawn(failed, FOLDS, seed=repeat)]
        scores = pd.concat([scored.assign(fold=number) for number, scored in enumerate(folds)])
        learners = scores.groupby("fold")["learner"].first().value_counts().to_dict()
        for hours, at_hour in scores.groupby("checkpoint_h"):
            count = {"n": len(at_hour), "n_failed": int(at_hour["failed"].sum()), "learners": learners}
            found += [
                {"checkpoint_h": hours, "method": m, "repeat": repeat, "auroc": auroc_within(at_hour, m), **count}
                for m in METHODS
            ]
    return pd.DataFrame(found).sort_values(["checkpoint_h", "repeat"], kind="stable")


def drawn(failed: pd.Series, n_folds: int, *, seed: int) -> Iterator[tuple[pd.Index, pd.Index]]:
    """Folds of batches at random, the share of failures alike: an independent simulator, see above."""
    folds = StratifiedKFold(n_folds, shuffle=True, random_state=seed)
    for learnt, test in folds.split(np.zeros(len(failed)), failed):
        yield failed.index[np.sort(learnt)], failed.index[np.sort(test)]


def fold_scores(history: History, policy: Policy, learnt: pd.Index, test: pd.Index) -> pd.DataFrame:
    """Every method's scores of the test batches, with no outcome known but those of the training batches.

    Returns:
        `batch_id`, `checkpoint_h`, `failed`, a column for each of `METHODS`, and the product's `learner`.
    """
    failed = history.outcomes.set_index("batch_id")["failed"].astype(bool)
    rows = history.snapshots
    mine, theirs = (rows[rows["batch_id"].isin(ids)].reset_index(drop=True) for ids in (learnt, test))
    good = failed[learnt].index[~failed[learnt]]
    far = fit_deviations(mine, history.features, good).of(theirs)
    ours = product_scores(history, policy, learnt, theirs)
    return theirs[["batch_id", "checkpoint_h"]].assign(**{
        "failed": theirs["batch_id"].map(failed), "learner": ours["learner"], PRODUCT: ours["log_odds"],
        PLAIN: plain_lightgbm(TrainRows(mine, failed[learnt]), TestRows(theirs)),
        LARGEST: far[LARGEST], FAR_SHARE: far[FAR_SHARE],
    })  # fmt: skip


def product_scores(history: History, policy: Policy, learnt: pd.Index, theirs: pd.DataFrame) -> pd.DataFrame:
    """Calibrated log-odds of other batches' rows by a model of the training batches; their order in time stays as it is."""
    batches, log = (table[table["batch_id"].isin(learnt)] for table in (history.batches, history.log))
    moment = max(history.started.max(), log["label_available_at"].max()) + pd.Timedelta(microseconds=1)
    known = replace(history, batches=batches, log=log).at(moment)
    trained = train(
        history.process, known.snapshots(learnt), history.features, batches, log, course=known.course(learnt),
        seal=nothing_sealed(history.process.id, moment), plan=policy.plan(history.process),
    )  # fmt: skip
    return raw_scores(trained.predictor, theirs, history.features)


def auroc_within(scores: pd.DataFrame, method: str) -> float:
    """Share of pairs of a failed and a good batch of the same fold that are in the right order; ties count half."""
    right = pairs = 0.0
    for _, fold in scores.groupby("fold"):
        failed, value = fold["failed"].to_numpy(bool), fold[method].to_numpy()
        ahead = value[failed][:, None] - value[~failed]
        right += float((ahead > 0).sum() + 0.5 * (ahead == 0).sum())
        pairs += ahead.size
    return right / pairs


def figures_of(found: pd.DataFrame) -> list[dict[str, object]]:
    """Mean over the repeats, with the 2.5-97.5 % of the repeats beside it; bounds are asked of the product only."""
    groups = found.groupby(["method", "checkpoint_h"], sort=False)
    return [_figure(*rows[["method", "checkpoint_h"]].iloc[0], rows) for _, rows in groups]


def _figure(method: str, hours: float, rows: pd.DataFrame) -> dict[str, object]:
    low, high = rows["auroc"].quantile([0.025, 0.975])
    note = f"{FOLDS} folds by batch, {len(rows)} repeats, interval over repeats only; simulated"
    if method == PRODUCT:
        learners = pd.DataFrame(rows["learners"].tolist()).sum()
        note += "; models: " + ", ".join(f"{int(count)} {learner}" for learner, count in learners.items())
    return figure(
        f"indpensim, {METHODS[method]}, {hours:g} h", float(rows["auroc"].mean()), "AUROC", low=float(low), high=float(high),
        n=int(rows["n"].iloc[0]), n_failed=int(rows["n_failed"].iloc[0]),
        bound=BOUNDS.get(hours) if method == PRODUCT else None,
        against=f"chance is .5; {EARLY}" if hours == EARLY_H else "chance is .5", note=note,
    )  # fmt: skip


def write_table(path: Path, record: dict[str, Any]) -> None:
    """Replace what stands between the markers of a page: one row per method, one column per hour."""
    write_between(path, lambda: table(record), (BEGIN, END))


def table(record: dict[str, Any]) -> str:
    """A record as Markdown."""
    cells: dict[str, list[str]] = {}
    for f in record["figures"]:
        bound = "" if f["bound"] is None else f"; bound {f['bound']:.2f} {'holds' if f['holds'] else 'does not hold'}"
        cell = f"{f['value']:.3f} ({f['low']:.3f} to {f['high']:.3f}){bound}"
        cells.setdefault(f["name"].split(", ", 1)[1].rsplit(", ", 1)[0], []).append(cell)
    first = record["figures"][0]
    hours = " | ".join(f"{hours:g} h, fair limit .64" if hours == EARLY_H else f"{hours:g} h" for hours in HOURS)
    rows = [f"| {method.replace('|', chr(92) + '|')} | {' | '.join(row)} |" for method, row in cells.items()]
    head = [f"| {first['n_failed']} of {first['n']} batches failed | {hours} |", "|---" * (len(HOURS) + 1) + "|"]
    return "\n".join([*head, *rows, "", f"{record['date']}, commit {record['commit']}, {record['machine']}."])


if __name__ == "__main__":
    main()

"""What the learners reach on IndPenSim, fault present, in repeated folds: trees, deviations, and both together.

Run: python -m benchmarks.bench_public [--docs]

IndPenSim's batches are drawn independently by a simulator: only therefore may folds be drawn at random here, by batch. The
product itself splits forward in time (bench_results.py, whose sealed test stays as it is). Simulated data verify
software and validate no model. The data are not part of the repository: see bench_results.py.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedKFold

from benchmarks.record import RESULTS, figure, write
from features.context import vocabulary
from features.dictionary import Feature
from features.snapshots import ROW_COLUMNS, checkpoint_rows, snapshots
from models.cohort.encode import fit_encoder
from models.cohort.labels import labels_as_of
from models.cohort.table import before_the_label, training_table
from models.learners.blend import fit_blend
from models.learners.deviations import FAR_SHARE, LARGEST, TYPICAL, fit_deviations, out_of_fold
from models.learners.trees import Bins, Plan, Settings
from pipelines.main_job import prepare, run_job, with_months_of_source
from pipelines.plant import Plant
from pipelines.settings import Settings as PlantSettings
from pipelines.sources.convert import CONVERTERS

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs" / "results.md"
NAME = "public_folds"
BEGIN, END = "<!-- folds: begin -->", "<!-- folds: end -->"
REPEATS, FOLDS, INNER_FOLDS = 10, 5, 4
EVIDENCE = (LARGEST, TYPICAL)
BOUNDS = {60.0: 0.69, 115.0: 0.82, 170.0: 0.90}
EARLY = "6 of the 21 faults show before 60 h: who finds these and guesses the rest reaches .64, more is luck"
METHODS = {
    "blend": "trees and deviations blended",
    "trees_with_deviations": "trees with the deviations among their columns",
    "trees": "trees on plain snapshots",
    LARGEST: "farthest parameter alone, nothing learned",
    FAR_SHARE: "share of parameters with |z| > 4 alone, nothing learned",
}


@dataclass(frozen=True)
class Data:
    """Snapshots in order of start, their dictionary, and the outcome by batch in that order."""

    rows: pd.DataFrame
    features: tuple[Feature, ...]
    failed: pd.Series

    def of(self, ids: pd.Index) -> pd.DataFrame:
        return self.rows[self.rows["batch_id"].isin(ids)]


def main() -> None:
    """Measure, record, and write the table of docs/results.md."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--docs", action="store_true", help="only write the table of docs/results.md from the record")
    if not parser.parse_args().docs and not measure():
        return
    write_table(DOCS, json.loads((RESULTS / f"{NAME}.json").read_text(encoding="utf-8")))


def measure() -> bool:
    """Whether the data were there to measure on."""
    folder = Path(os.environ.get("BATCHGUARD_REAL_DATA", ROOT.parent / "shared" / "data")) / "indpensim"
    if not folder.is_dir():
        print(f"skipped, no folder {folder}; set BATCHGUARD_REAL_DATA")
        return False
    print(write(NAME, figures_of(repeated(indpensim(folder), repeats=REPEATS))))
    return True


def indpensim(source: Path) -> Data:
    """Convert, ingest and featurise the source in a temporary folder."""
    with tempfile.TemporaryDirectory() as temporary:
        history = Path(temporary) / "history"
        CONVERTERS["indpensim"](source, history)
        settings = PlantSettings(
            process=ROOT / "processes" / "indpensim.toml", history=history, data_dir=Path(temporary) / "data", as_of="history"
        )  # fmt: skip
        settings = prepare(with_months_of_source(settings))
        run_job(settings, "ingest", lambda _: None)
        return data_of(Plant(settings))


def data_of(plant: Plant) -> Data:
    """Snapshots of all batches with an outcome, with the on-line variables only.

    What was known of other batches' outcomes is left out: with folds at random it would tell a batch of the test.
    """
    tables = plant.context_tables()
    labels = plant.labels(tables["dispositions"])
    rows = checkpoint_rows(tables["batches"], labels, plant.process, until=plant.newest_moment)
    summaries = plant.features.read("batch_summaries")
    words = vocabulary(tables, plant.process)
    frame, features = snapshots(rows, summaries, tables, labels, plant.process, words)
    on_line = {parameter.name for parameter in plant.process.features_of("sensor")}
    features = tuple(feature for feature in features if feature.parameter in on_line)
    frame = frame[[*ROW_COLUMNS, *(feature.name for feature in features)]]
    frame = before_the_label(frame, labels).sort_values(["started_at", "batch_id", "checkpoint_h"], ignore_index=True)
    known = labels_as_of(labels)
    failed = known.loc[~known["censored"], "failed"].reindex(frame["batch_id"].unique()).dropna().astype(bool)
    return Data(frame[frame["batch_id"].isin(failed.index)], features, failed)


def repeated(data: Data, *, repeats: int) -> pd.DataFrame:
    """AUROC per checkpoint, method and repeat: columns `checkpoint_h`, `method`, `repeat`, `auroc`, `n`, `n_failed`.

    Only batches scored by one model are compared (pairs within a fold): pooling folds compares scores of different models
    and is biased downwards (Airola et al., 2011).
    """
    found = []
    for repeat in range(repeats):
        folds = [fold_scores(data, train, test) for train, test in drawn(data.failed, FOLDS, seed=repeat)]
        scores = pd.concat([scored.assign(fold=number) for number, scored in enumerate(folds)])
        for hours, at_hour in scores.groupby("checkpoint_h"):
            count = {"n": len(at_hour), "n_failed": int(at_hour["failed"].sum())}
            found += [
                {"checkpoint_h": hours, "method": m, "repeat": repeat, "auroc": auroc_within(at_hour, m), **count}
                for m in METHODS
            ]
    return pd.DataFrame(found).sort_values(["checkpoint_h", "repeat"], kind="stable")


def drawn(failed: pd.Series, n_folds: int, *, seed: int) -> Iterator[tuple[pd.Index, pd.Index]]:
    """Folds of batches at random, the share of failures alike: an independent simulator, see above."""
    folds = StratifiedKFold(n_folds, shuffle=True, random_state=seed)
    for train, test in folds.split(np.zeros(len(failed)), failed):
        yield failed.index[np.sort(train)], failed.index[np.sort(test)]


def fold_scores(data: Data, train: pd.Index, test: pd.Index) -> pd.DataFrame:
    """Every method's score of the test batches, with nothing known but the training batches."""
    with_trees = scored(data, train, test)
    inner = pd.concat([scored(data, a, b) for a, b in drawn(data.failed[train], INNER_FOLDS, seed=0)])
    blend = fit_blend(
        inner["trees_with_deviations"].to_numpy(),
        inner[list(EVIDENCE)].to_numpy(),
        inner["failed"].to_numpy(bool),
        inner["weight"].to_numpy(),
        names=EVIDENCE,
        n_failed=int(data.failed[train].sum()),
    )
    raw = with_trees["trees_with_deviations"].to_numpy()
    plain, _ = tree_scores(data.of(train), data.of(test), data.failed[train])
    return with_trees.assign(trees=plain, blend=blend.log_odds(raw, with_trees[list(EVIDENCE)].to_numpy()))


def scored(data: Data, train: pd.Index, test: pd.Index) -> pd.DataFrame:
    """Deviations of the test batches, and trees that learned from training deviations they had no part in."""
    rows, others, failed = data.of(train), data.of(test), data.failed[train]
    own = out_of_fold(rows, data.features, failed)
    theirs = fit_deviations(rows, data.features, failed.index[~failed]).of(others)
    raw, weight = tree_scores(pd.concat([rows, own], axis=1), pd.concat([others, theirs], axis=1), failed)
    head = others[["batch_id", "checkpoint_h"]].assign(failed=others["batch_id"].map(data.failed).to_numpy(bool))
    return pd.concat([head, theirs], axis=1).assign(trees_with_deviations=raw, weight=weight)


def tree_scores(rows: pd.DataFrame, others: pd.DataFrame, failed: pd.Series) -> tuple[np.ndarray, float]:
    """Raw log-odds of other batches by the product's trees with their default settings, and the weight of a row."""
    table = training_table(rows, fit_encoder(rows))
    bins = Bins(table, Plan(), failed_share=float(failed.mean()))
    y = table.rows["batch_id"].map(failed).to_numpy(bool)
    booster, _ = bins.fit(bins.rows(np.arange(len(y)), y), Settings())
    raw = booster.predict(table.encoder.encode(others), raw_score=True, num_threads=1)
    return np.asarray(raw), table.rows["weight"].iloc[0]


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
    """Mean over the repeats, with the 2.5-97.5 % of the repeats beside it; bounds are asked of the blend only."""
    groups = found.groupby(["method", "checkpoint_h"], sort=False)
    return [_figure(*rows[["method", "checkpoint_h"]].iloc[0], rows) for _, rows in groups]


def _figure(method: str, hours: float, rows: pd.DataFrame) -> dict[str, object]:
    low, high = rows["auroc"].quantile([0.025, 0.975])
    made = figure(
        f"indpensim, {METHODS[method]}, {hours:g} h", float(rows["auroc"].mean()), "AUROC", low=float(low), high=float(high),
        n=int(rows["n"].iloc[0]), n_failed=int(rows["n_failed"].iloc[0]), bound=BOUNDS.get(hours) if method == "blend" else None,
        against="chance is .5", note=f"{FOLDS} folds by batch, {len(rows)} repeats, interval over repeats only; simulated",
    )  # fmt: skip
    return made | ({"note": f"{made['note']}; {EARLY}"} if made["holds"] is False and hours == min(BOUNDS) else {})


def write_table(path: Path, record: dict[str, Any]) -> None:
    """Replace what stands between the markers of a page: one row per method, one column per hour."""
    head, begin, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not (begin and end):
        raise SystemExit(f"{path}: the markers {BEGIN} and {END} are missing")
    path.write_text(f"{head}{BEGIN}\n{table(record)}\n{END}{tail}", encoding="utf-8")


def table(record: dict[str, Any]) -> str:
    """A record as Markdown."""
    cells: dict[str, list[str]] = {}
    for f in record["figures"]:
        bound = "" if f["bound"] is None else f"; bound {f['bound']:.2f} {'holds' if f['holds'] else 'does not hold'}"
        cell = f"{f['value']:.3f} ({f['low']:.3f} to {f['high']:.3f}){bound}"
        cells.setdefault(f["name"].split(", ", 1)[1].rsplit(", ", 1)[0], []).append(cell)
    first = record["figures"][0]
    hours = " | ".join(f"{hours:g} h" for hours in BOUNDS)
    rows = [f"| {method.replace('|', chr(92) + '|')} | {' | '.join(row)} |" for method, row in cells.items()]
    lines = [
        f"| {first['n_failed']} of {first['n']} batches failed | {hours} |",
        "|---" * (len(BOUNDS) + 1) + "|",
        *rows,
    ]
    return "\n".join([*lines, "", f"{record['date']}, commit {record['commit']}, {record['machine']}."])


if __name__ == "__main__":
    main()

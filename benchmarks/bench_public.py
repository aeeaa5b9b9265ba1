"""What the product reaches on IndPenSim, fault present, in repeated folds, beside plain LightGBM and deviations alone.

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

from benchmarks.field.rivals import TestRows, TrainRows, plain_lightgbm
from benchmarks.record import RESULTS, figure, write
from features.context import vocabulary
from features.dictionary import Feature
from features.snapshots import ROW_COLUMNS, checkpoint_rows, snapshots
from models.cohort.labels import labels_as_of
from models.cohort.splits import nothing_sealed
from models.cohort.table import before_the_label
from models.learners.deviations import FAR_SHARE, LARGEST, fit_deviations
from models.policy import Policy
from models.train import train as train_predictor
from pipelines.main_job import prepare, run_job, with_months_of_source
from pipelines.plant import Plant
from pipelines.settings import Settings as PlantSettings
from pipelines.sources.convert import CONVERTERS
from pipelines.sources.policy import PlantDefinition

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs" / "results.md"
NAME = "public_folds"
BEGIN, END = "<!-- folds: begin -->", "<!-- folds: end -->"
REPEATS, FOLDS = 5, 5
HOURS, BOUNDS = (60.0, 115.0, 170.0), {115.0: 0.88, 170.0: 0.94}
EARLY = "6 of the 21 faults show before 60 h: who finds these and guesses the rest reaches .64, more is luck"
PRODUCT, LAYERS, PLAIN = "product", "layers", "plain"
METHODS = {
    PRODUCT: "the product with its defaults",
    LAYERS: "the product, layers asked for",
    PLAIN: "plain LightGBM",
    LARGEST: "farthest parameter alone, nothing learned",
    FAR_SHARE: "share of parameters with |z| > 4 alone, nothing learned",
}
_END = pd.to_datetime("2200-01-01", utc=True)  # after all outcomes


@dataclass(frozen=True)
class Data:
    """Snapshots in order of start, their dictionary, the outcome by batch in that order, and what a training reads."""

    rows: pd.DataFrame
    features: tuple[Feature, ...]
    failed: pd.Series
    process: PlantDefinition
    batches: pd.DataFrame
    log: pd.DataFrame

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
    own = frame[frame["batch_id"].isin(failed.index)]
    return Data(own, features, failed, plant.process, tables["batches"], labels)


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
    rows, others, failed = data.of(train), data.of(test), data.failed[train]
    usual = fit_deviations(rows, data.features, failed.index[~failed]).of(others)
    plain = plain_lightgbm(TrainRows(rows, failed), TestRows(others))
    learnt = {name: product_scores(data, train, others, policy) for name, policy in POLICIES.items()}
    head = others[["batch_id", "checkpoint_h"]].assign(failed=others["batch_id"].map(data.failed).to_numpy(bool))
    return pd.concat([head, usual], axis=1).assign(plain=plain, **learnt)


POLICIES = {PRODUCT: Policy(), LAYERS: Policy(learner="layers")}


def product_scores(data: Data, train: pd.Index, others: pd.DataFrame, policy: Policy) -> np.ndarray:
    """Calibrated log-odds of other rows by a predictor that learned from the training batches, as the product trains it."""
    batches, log = (frame[frame["batch_id"].isin(train)] for frame in (data.batches, data.log))
    seal, plan = nothing_sealed(data.process.id, _END), policy.plan(data.process)
    made = train_predictor(data.process, data.of(train), data.features, batches, log, seal=seal, plan=plan)
    return made.predictor.log_odds(others)


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
    """Mean over the repeats, with the 2.5-97.5 % of the repeats beside it; bounds are asked of the product."""
    groups = found.groupby(["method", "checkpoint_h"], sort=False)
    return [_figure(*rows[["method", "checkpoint_h"]].iloc[0], rows) for _, rows in groups]


def _figure(method: str, hours: float, rows: pd.DataFrame) -> dict[str, object]:
    low, high = rows["auroc"].quantile([0.025, 0.975])
    made = figure(
        f"indpensim, {METHODS[method]}, {hours:g} h", float(rows["auroc"].mean()), "AUROC", low=float(low), high=float(high),
        n=int(rows["n"].iloc[0]), n_failed=int(rows["n_failed"].iloc[0]), bound=BOUNDS.get(hours) if method == PRODUCT else None,
        against="chance is .5", note=f"{FOLDS} folds by batch, {len(rows)} repeats, interval over repeats only; simulated",
    )  # fmt: skip
    return made | ({"note": f"{made['note']}; {EARLY}"} if hours == HOURS[0] else {})


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
    hours = " | ".join(f"{hours:g} h" for hours in HOURS)
    rows = [f"| {method.replace('|', chr(92) + '|')} | {' | '.join(row)} |" for method, row in cells.items()]
    lines = [
        f"| {first['n_failed']} of {first['n']} batches failed | {hours} |",
        "|---" * (len(HOURS) + 1) + "|",
        *rows,
    ]
    return "\n".join([*lines, "", f"{record['date']}, commit {record['commit']}, {record['machine']}."])


if __name__ == "__main__":
    main()

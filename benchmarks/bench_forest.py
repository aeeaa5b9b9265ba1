"""`make bench-forest`: our forest beside LightGBM on the same rows, in turns, one thread: `benchmarks/results/forest.json`."""

from __future__ import annotations

import time
from collections.abc import Callable

import lightgbm as lgb
import numpy as np

from benchmarks.record import figure, write
from models.learners.forest import Forest

TREES, LEAVES, INPUTS, TRAINED_ON, N, WARM_UP = 500, 31, 300, 3_000, 600, 20


def made_up() -> tuple[lgb.Booster, np.ndarray]:
    """A booster of the size that the endpoint's bounds speak of, and rows that it has not seen, a tenth of the values missing."""
    rng = np.random.default_rng(1)
    X = rng.normal(size=(TRAINED_ON + N, INPUTS))
    X[rng.random(X.shape) < 0.1] = np.nan
    y = np.nansum(X[:, :20], axis=1) + rng.normal(size=len(X)) > 4
    parameters = {"objective": "binary", "num_leaves": LEAVES, "min_data_in_leaf": 5, "num_threads": 1, "verbose": -1,
                  "deterministic": True, "force_row_wise": True, "learning_rate": 0.02}  # fmt: skip
    return lgb.train(parameters, lgb.Dataset(X[:TRAINED_ON], y[:TRAINED_ON]), TREES), X[TRAINED_ON:]


def in_turns(
    ours: Callable[[np.ndarray], object], theirs: Callable[[np.ndarray], object], rows: np.ndarray
) -> np.ndarray:
    """Milliseconds of both for each row, shape (rows, 2); the first rows do not count."""
    times = np.empty((len(rows), 2))
    for i in range(len(rows)):
        for who, ask in enumerate((ours, theirs)):
            begin = time.perf_counter()
            ask(rows[i : i + 1])
            times[i, who] = 1e3 * (time.perf_counter() - begin)
    return times[WARM_UP:]


def compared(name: str, against: str, times: np.ndarray) -> dict[str, object]:
    """Median of the rows' own ratios, with its quartiles."""
    low, middle, high = np.quantile(times[:, 0] / times[:, 1], [0.25, 0.5, 0.75])
    own, other = np.median(times, axis=0)
    return figure(name, round(middle, 3), "ratio", low=round(low, 3), high=round(high, 3), side="max", n=len(times),
                  against=against, note=f"{own:.3f} ms against {other:.3f} ms, a row at a time, {TREES} trees of {LEAVES} leaves")  # fmt: skip


def main() -> None:
    booster, rows = made_up()
    forest = Forest.of([booster.model_to_string()])
    shap = np.asarray(booster.predict(rows, pred_contrib=True, num_threads=1))[:, :-1]
    same = np.asarray(booster.predict(rows, raw_score=True, num_threads=1)) == forest.log_odds(rows)[:, 0]
    far = float(np.abs(forest.contributions(rows) - shap).max())
    why = in_turns(forest.contributions, lambda row: booster.predict(row, pred_contrib=True, num_threads=1), rows)
    raw = in_turns(forest.log_odds, lambda row: booster.predict(row, raw_score=True, num_threads=1), rows)
    figures = [
        compared("contributions of a row", "booster.predict(pred_contrib=True, num_threads=1) of the same row", why),
        compared("log-odds of a row", "booster.predict(raw_score=True, num_threads=1) of the same row", raw),
        figure("rows whose log-odds are not LightGBM's to the bit", int((~same).sum()), "rows", bound=0, side="max", n=len(rows)),
        figure("largest difference of a contribution", far, "log-odds", bound=1e-12, side="max", n=len(rows)),
    ]  # fmt: skip
    for found in figures:
        print(f"{found['name']}: {found['value']} {found['unit']} ({found['note']})")
    print(write("forest", figures))


if __name__ == "__main__":
    main()

import numpy as np
import pandas as pd
import pytest

from benchmarks.bench_public import BEGIN, END, HOURS, METHODS, auroc_within, drawn, figures_of, write_table


def found(auroc: float) -> pd.DataFrame:
    rows = [
        {"checkpoint_h": hours, "method": method, "repeat": r, "auroc": auroc + 0.01 * r, "n": 70, "n_failed": 21}
        for hours in HOURS for method in METHODS for r in range(3)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_only_batches_of_one_fold_are_compared() -> None:
    scores = pd.DataFrame({"fold": [0, 0, 1, 1, 1], "failed": [True, False, True, False, False], "p": [1, 0, 8, 8, 9]})
    assert auroc_within(scores, "p") == pytest.approx((1 + 0.5 + 0) / 3)


def test_every_batch_is_tested_once_and_never_trained_on_then() -> None:
    failed = pd.Series(np.arange(30) % 3 == 0, index=[f"B{i:02d}" for i in range(30)])
    folds = list(drawn(failed, 5, seed=1))
    assert sorted(batch for _, test in folds for batch in test) == list(failed.index)
    assert all(len(train.intersection(test)) == 0 for train, test in folds)


def test_bounds_are_asked_of_the_product_only_and_figures_carry_their_failures() -> None:
    figures = figures_of(found(0.8))
    asked = [f for f in figures if f["bound"] is not None]
    assert [(f["bound"], f["holds"]) for f in asked] == [(0.88, False), (0.94, False)]
    assert {f["n_failed"] for f in figures} == {21}
    for f in figures:
        low, value, high = (float(str(f[name])) for name in ("low", "value", "high"))
        assert low < value < high


def test_the_table_replaces_what_stands_between_the_markers(tmp_path) -> None:
    page = tmp_path / "results.md"
    page.write_text(f"before\n{BEGIN}\nstale\n{END}\nafter\n")
    write_table(page, {"figures": figures_of(found(0.8)), "date": "d", "commit": "c", "machine": "m"})
    text = page.read_text()
    assert "stale" not in text and text.startswith("before") and text.endswith("after\n")
    assert "| 21 of 70 batches failed | 60 h | 115 h | 170 h |" in text
    assert text.count("\n| ") == 1 + len(METHODS)

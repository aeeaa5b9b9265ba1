from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from models.cohort.encode import Encoder
from models.cohort.folds import Fold
from models.cohort.table import TrainingTable
from models.learners.trees import BINS, PLAIN, PLAIN_BINS, Bins, Block, Settings, fold_places, portable_text, rounds_of
from tests.models.plant import QUICK, labels, utc


def table(n: int = 200, seed: int = 1) -> tuple[TrainingTable, np.ndarray]:
    """Two rows a batch: a column that tells the outcome (one batch in eight fails), and one that does not."""
    rng = np.random.default_rng(seed)
    failed = np.arange(n) % 8 == 0
    X = np.column_stack([np.repeat(rng.normal(size=n) + 2.0 * failed, 2), rng.normal(size=2 * n)])
    ids = pd.array(np.repeat([f"B{i:03d}" for i in range(n)], 2), dtype="str")
    rows = pd.DataFrame({"batch_id": ids, "checkpoint_h": np.tile([0.0, 12.0], n), "weight": 0.5})
    return TrainingTable(rows, X, (), Encoder(("noise", "signal"), {})), np.repeat(failed, 2)


def block(seed: int = 1, *, shuffled: bool = False) -> Block:
    made, failed = table(seed=seed)
    if shuffled:
        failed = np.random.default_rng(9).permutation(failed)
    places = np.arange(400)
    early, late = places[:240], places[240:]
    bins = Bins(made, QUICK)
    return Block("fold", utc("2026-01-01"), bins, early, failed[early], late, failed[late])


def test_with_the_bins_of_trees_alone_a_limit_between_many_values_is_found() -> None:
    """Of 2000 values those from 1888 on fail: bins of about 8 values cut nearer to it than bins of about 32."""
    value, ids = np.arange(2000.0)[:, None], pd.array([f"B{i:04d}" for i in range(2000)], dtype="str")
    rows = pd.DataFrame({"batch_id": ids, "checkpoint_h": 0.0, "weight": 1.0})
    made, failed = TrainingTable(rows, value, (), Encoder(("value",), {})), value[:, 0] >= 1888
    plain, coarse = (Bins(made, QUICK, max_bin=most) for most in (PLAIN_BINS, BINS))
    cuts = []
    for bins in (plain, coarse):
        text = portable_text(bins.fit(bins.rows(np.arange(2000), failed), replace(PLAIN, rounds=1, leaves=2))[0])
        cuts.append(float(text.partition("threshold=")[2].split()[0]))
    assert abs(cuts[0] - 1887.5) < 8
    assert 8 < abs(cuts[1] - 1887.5) < 32


def test_rows_carry_outcome_and_weight() -> None:
    made, failed = table()
    data = Bins(made, QUICK).rows(np.arange(6), failed[:6])
    assert np.asarray(data.get_label()).tolist() == [1, 1, 0, 0, 0, 0]
    assert np.asarray(data.get_weight()).tolist() == pytest.approx([0.5] * 6)


def test_the_same_rows_give_the_same_text_and_another_seed_another() -> None:
    made, failed = table()
    bins = Bins(made, QUICK)
    texts = [
        portable_text(bins.fit(bins.rows(np.arange(400), failed), Settings(rounds=9), seed=seed)[0])
        for seed in (None, QUICK.seed, 8)
    ]
    assert texts[0] == texts[1]
    assert texts[0] != texts[2]


def test_noise_takes_fewer_trees_than_a_signal_and_the_shape_of_the_trees_is_the_default() -> None:
    noise, signal = rounds_of([block(shuffled=True)], QUICK), rounds_of([block(1), block(2)], QUICK)
    assert noise.rounds < signal.rounds <= QUICK.most_rounds
    assert replace(noise, rounds=0) == replace(signal, rounds=0) == replace(Settings(), rounds=0)


def test_training_rows_have_the_outcome_known_at_the_folds_cut_and_validated_ones_the_newest() -> None:
    made = table(4)[0]
    fold = Fold("fold", utc("2026-02-01"), ("B000", "B001"), ("B002",))
    log = labels(
        ("B000", True, "2026-01-01"),
        ("B000", False, "2026-02-01", False, 1),  # at the cut: too late
        ("B001", False, "2026-01-01"),
        ("B002", False, "2026-02-10"),
        ("B002", True, "2026-02-11", False, 1),
    )
    train, outcome, validation, newest = fold_places(made, fold, log)
    assert (train.tolist(), outcome.tolist()) == ([0, 1, 2, 3], [True, True, False, False])
    assert (validation.tolist(), newest.tolist()) == ([4, 5], [True, True])

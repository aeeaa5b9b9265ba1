import pandas as pd
import pytest

from models.evaluation.figures import by_checkpoint, figures, last_checkpoint
from tests.models.plant import utc


def scores(*rows: tuple[str, float, bool, float]) -> pd.DataFrame:
    """Rows of (batch_id, checkpoint_h, failed, probability); every label is known 100 h after the start."""
    frame = pd.DataFrame(rows, columns=["batch_id", "checkpoint_h", "failed", "failure_probability"])
    start = utc("2026-01-01")
    return frame.assign(
        as_of=start + pd.to_timedelta(frame["checkpoint_h"], unit="h"),
        label_available_at=start + pd.Timedelta(hours=100),
    )


def test_overall_figures_take_each_batch_at_its_last_checkpoint() -> None:
    table = scores(
        ("A", 0, True, 0.1), ("A", 12, True, 0.9), ("B", 0, False, 0.5), ("C", 0, False, 0.2), ("C", 12, False, 0.1)
    )
    last = last_checkpoint(table)
    assert sorted(last["failure_probability"]) == [0.1, 0.5, 0.9]
    found = figures(last)
    assert (found["n_batches"], found["n_failed"], found["auroc"]) == (3, 1, 1.0)
    assert found["base_rate"] == pytest.approx(1 / 3)


def test_every_checkpoint_has_its_own_count_of_failures() -> None:
    table = by_checkpoint(
        scores(("A", 0, True, 0.1), ("B", 0, False, 0.5), ("A", 12, True, 0.9), ("C", 12, False, 0.1))
    )
    assert table[["checkpoint_h", "n", "n_failed", "auroc"]].to_numpy().tolist() == [[0, 2, 1, 0], [12, 2, 1, 1]]

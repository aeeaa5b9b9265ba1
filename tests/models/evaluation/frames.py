"""Score frames written by hand, and drawn by hypothesis."""

from collections.abc import Collection, Mapping, Sequence

import pandas as pd
from hypothesis import strategies as st

from tests.models.plant import utc

START = utc("2026-01-01")


def trail(
    scores: Mapping[str, Sequence[float | None]],
    failed: Collection[str] = (),
    step_h: float = 12.0,
    end_h: float | dict[str, float] = 100.0,
    **columns: object,
) -> pd.DataFrame:
    """One list of scores per batch, from hour 0 on every `step_h`; every batch ends after `end_h`.

    A column given as a dict holds a value per batch, as a list a value per row.
    """
    rows = [(b, i * step_h, b in failed, p) for b, path in scores.items() for i, p in enumerate(path)]
    frame = pd.DataFrame(rows, columns=["batch_id", "checkpoint_h", "failed", "failure_probability"])
    frame = frame.astype({"batch_id": "str", "failure_probability": "float64"})
    ends = end_h if isinstance(end_h, dict) else dict.fromkeys(scores, end_h)
    for name, values in columns.items():
        frame[name] = frame["batch_id"].map(values) if isinstance(values, dict) else values
    return frame.assign(
        as_of=START + pd.to_timedelta(frame["checkpoint_h"], unit="h"),
        end_at=START + pd.to_timedelta(frame["batch_id"].map(ends), unit="h"),
        label_available_at=START + pd.Timedelta(hours=400),
    )


@st.composite
def drawn(draw: st.DrawFn, least: int = 2, most: int = 25) -> pd.DataFrame:
    """Batches with one to four scores on a coarse grid, so that ties are common; the first is good, the second failed."""
    paths = draw(st.lists(st.lists(st.integers(0, 6), min_size=1, max_size=4), min_size=least, max_size=most))
    outcomes = draw(st.lists(st.booleans(), min_size=len(paths), max_size=len(paths)))
    outcomes[:2] = [False, True]
    names = [f"B{i:02d}" for i in range(len(paths))]
    scores = {name: [v / 6 for v in path] for name, path in zip(names, paths, strict=True)}
    return trail(scores, {name for name, bad in zip(names, outcomes, strict=True) if bad})

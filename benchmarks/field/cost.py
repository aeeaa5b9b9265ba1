"""What a replay costs by the number of its trainings, in trainings of the full history measured in the same run."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from benchmarks.field.killed_replay import POLICY, training_dates
from benchmarks.field.made_plant import made_plant
from benchmarks.record import figure
from models.backtest.fits import Fits
from models.backtest.history import History
from models.backtest.replay import replay

N_BATCHES, TRAININGS = 150, (2, 4, 8, 16)


def figures() -> list[dict[str, object]]:
    """Replay one history with more and more trainings, fresh and again, each between two trainings of all of it."""
    history, found = made_plant(N_BATCHES).history, []
    n_known, n_failed = len(history.outcomes), int(history.outcomes["failed"].sum())
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        one_training(history, root)  # compiles and loads what every later one uses
        of_one = [one_training(history, root)]
        for n in TRAININGS:
            fresh, resumed = (replay_s(history, n, root / str(n)) for _ in range(2))
            of_one.append(one_training(history, root))
            unit = median(of_one[-2:])
            for name, seconds in (("fresh", fresh), ("resumed", resumed)):
                found.append(
                    figure(f"time of a {name} replay with {n} trainings", seconds / unit, "trainings of all batches", n=n_known,
                           n_failed=n_failed, note=f"{seconds / n / unit:.2f} for each training of the replay")
                )  # fmt: skip
    return found


def replay_s(history: History, n: int, folder: Path) -> float:
    """Seconds of a replay with so many trainings; models that are in the folder are not made again."""
    dates = training_dates(history, n)
    assert len(dates) == n, "the history has too few outcomes for so many trainings"
    return seconds_of(lambda: replay(history, POLICY, Fits(folder, POLICY), dates=dates))


def one_training(history: History, folder: Path) -> float:
    """Seconds of one training on everything that is ever known."""
    known, fits = history.at(history.log["label_available_at"].max()), Fits(folder, POLICY)
    return seconds_of(lambda: fits.trained(known, fits.weights(known)))


def seconds_of(work: Callable[[], object]) -> float:
    """Seconds that some work takes."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin

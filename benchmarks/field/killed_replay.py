"""The replay that is killed: a process of its own that opens a stored history and tells in a log what it does."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, fields
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.field.made_plant import PROCESS
from features.dictionary import Feature
from models.backtest.calendar import Retraining
from models.backtest.fits import Fits
from models.backtest.history import History, Known
from models.backtest.replay import replay
from models.backtest.versions import LEAST
from models.policy import Policy
from models.train import Trained

N_MODELS = 18
POLICY = Policy(learner="trees")
_FRAMES = ("snapshots", "between", "batches", "log")


def store(history: History, folder: Path) -> None:
    """Write a made-up plant's history: frames as Parquet, the dictionary as JSON."""
    folder.mkdir(parents=True)
    for name in _FRAMES:
        getattr(history, name).to_parquet(folder / f"{name}.parquet", index=False)
    (folder / "features.json").write_text(json.dumps([asdict(feature) for feature in history.features]))


def stored(folder: Path) -> History:
    """Read what `store` wrote."""
    frames = {name: pd.read_parquet(folder / f"{name}.parquet") for name in _FRAMES}
    names = [field.name for field in fields(Feature)]
    told = json.loads((folder / "features.json").read_text())
    return History(PROCESS, features=tuple(Feature(*(entry[name] for name in names)) for entry in told), **frames)


def training_dates(history: History, n: int) -> tuple[Retraining, ...]:
    """So many trainings at different moments, from when enough is known to the last one with a batch behind it."""
    known = history.outcomes["known_at"]
    moments = known[known < history.started.max()] + pd.Timedelta(microseconds=1)
    # labels are corrected later: what counts is what was known then
    enough = (history.at(at).outcomes["failed"].sum() >= 2 * LEAST for at in moments)  # and some are left for each fold
    first = next(place for place, there_are in enumerate(enough) if there_are)
    places = np.unique(np.linspace(first, len(moments) - 1, n).round().astype(int))
    return tuple(Retraining(number, moments.iloc[at], moments.iloc[at]) for number, at in enumerate(places, start=1))


class ToldFits(Fits):
    """Fits that say in a log what they are about to do, and what they have done."""

    def __init__(self, folder: Path, log: Path) -> None:
        self._log = log
        super().__init__(folder, POLICY, made=lambda key: self.tell(f"made {key}"))

    def trained(self, known: Known, weights: pd.Series) -> Trained:
        """Fit, between two lines of the log."""
        self.tell("training")
        found = super().trained(known, weights)
        self.tell("trained")
        return found

    def tell(self, line: str) -> None:
        """Append a line; a kill cannot take it back."""
        with self._log.open("a") as log:
            log.write(f"{line}\n")


def main(history: Path, folder: Path) -> None:
    """Replay a stored history into a folder."""
    fits, opened = ToldFits(folder / "fits", folder / "log"), stored(history)
    fits.tell("opened")
    scores = replay(opened, POLICY, fits, dates=training_dates(opened, N_MODELS)).scores
    scores.to_parquet(folder / "scores.parquet", index=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

"""A made-up plant with all that a replay has to live with: a censored batch, one undecided, one corrected."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from models.backtest.history import History
from models.policy import Policy
from tests.models.plant import make_plant

CENSORED, UNDECIDED, CORRECTED = "B060", "B100", "B020"
POLICY = Policy(learner="trees", retrain_every_outcomes=25)
CORRECTED_AFTER = pd.Timedelta(days=20)


def lived(n: int = 120, **columns: object) -> History:
    """The plant of `tests.models.plant`: a batch every 12 h, decided after three days; scored at 0, 12, 18 and 24 h.

    Args:
        n: Batches.
        columns: Further columns of the batches, or others instead.
    """
    plant = make_plant(n)
    log = plant.log[plant.log["batch_id"] != UNDECIDED]
    log = log.assign(censored=log["batch_id"] == CENSORED)
    log["failed"] &= ~log["censored"]
    first = log[log["batch_id"] == CORRECTED]
    later = first.assign(
        failed=~first["failed"], revision=np.int32(1), label_available_at=first["label_available_at"] + CORRECTED_AFTER
    )
    between = plant.snapshots[plant.snapshots["checkpoint_h"] == 12].assign(
        checkpoint_h=18.0, as_of=lambda rows: rows["as_of"] + pd.Timedelta(hours=6)
    )
    return History(
        process=plant.process,
        snapshots=plant.snapshots,
        between=between.reset_index(drop=True),
        features=plant.features,
        batches=plant.batches.assign(**columns),
        log=pd.concat([log, later], ignore_index=True),
    )


def until(history: History, moment: pd.Timestamp) -> History:
    """The history as it lay in the store at a moment."""
    known = history.at(moment)
    seen = {name: getattr(history, name) for name in ("snapshots", "between")}
    return replace(
        history,
        batches=known.batches,
        log=known.log,
        **{name: rows[rows["as_of"] < moment].reset_index(drop=True) for name, rows in seen.items()},
    )

"""Small histories of any mixture and order of outcomes, for the tests of what can be trained."""

from __future__ import annotations

import numpy as np
import pandas as pd

from models.backtest.history import History
from tests.models.plant import make_plant, make_release

N = 60
ORDERS = ("failures first", "failures last", "alternating", "clustered", "in the middle", "scattered")


def outcomes_in_order(n_failed: int, order: str, n: int = N) -> np.ndarray:
    """Whether each of n batches failed, in order of start: `n_failed` failures in one of `ORDERS`."""
    failed = np.zeros(n, bool)
    places = {
        "failures first": np.arange(n_failed),
        "failures last": np.arange(n - n_failed, n),
        "alternating": np.linspace(0, n - 1, n_failed).astype(int),
        "in the middle": (n - n_failed) // 2 + np.arange(n_failed),
        "scattered": np.random.default_rng(n_failed).permutation(n)[:n_failed],
        # five runs, spread over the history
        "clustered": np.concatenate(
            [int(i * n / 5) + np.arange(len(run)) for i, run in enumerate(np.array_split(np.arange(n_failed), 5))]
        ),
    }[order]
    failed[places] = True
    return failed


def history_of_outcomes(failed: np.ndarray, *, release: bool) -> History:
    """A batch every 12 h, decided after three days; its force is higher where it fails, and purity follows the force.

    Args:
        failed: Outcomes in order of start, shape (n,).
        release: Whether there are results of the release attributes.
    """
    plant = make_plant(len(failed))
    rng = np.random.default_rng(3)
    force = rng.normal(5, 0.5, len(failed)) + failed
    of_batch = pd.Series(force, index=plant.batches["batch_id"])
    rows = plant.snapshots
    seen = (rows["checkpoint_h"] >= 12).to_numpy()
    columns = {
        name: np.where(seen, rows["batch_id"].map(of_batch) + rng.normal(0, 0.1, len(rows)), np.nan)
        for name in ("force_kn.since_start.mean", "force_kn.since_start.last")
    }
    log = plant.log.assign(failed=failed)
    known = make_release(log, 96 - 1.2 * force, rng)
    return History(
        process=plant.process if release else plant.process.model_copy(update={"quality_attribute": ()}),
        snapshots=rows.assign(**columns),
        between=rows.iloc[:0],
        features=plant.features,
        batches=plant.batches,
        log=log,
        observations=known.observations if release else None,
        dispositions=known.dispositions,
    )

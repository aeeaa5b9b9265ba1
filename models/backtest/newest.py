"""The model of all that is known now, with the thresholds and the calibration of the scores that were really given."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd

from models.backtest.fits import Fit, Fits
from models.backtest.history import History, outcomes_of
from models.backtest.prequential import finished
from models.backtest.replay import Replayed
from models.cohort.splits import Seal, nothing_sealed, seal_of
from models.policy import Policy
from models.train import Trained


def prequential_seal(
    process_id: str, batches: pd.DataFrame, log: pd.DataFrame, first: pd.Timestamp, moment: pd.Timestamp
) -> Seal:
    """The batches that test the versions of a replay: those that started after the first training, with a known outcome.

    Args:
        process_id: The process.
        batches: `batch_id`, `started_at`.
        log: `features.contracts.LABELS`.
        first: The first training.
        moment: What is known at it or later neither trains nor tests.
    """
    known = outcomes_of(batches, log[log["label_available_at"] < moment])["batch_id"]
    rows = batches[batches["batch_id"].isin(known) & (batches["started_at"] >= first)]
    order = rows.sort_values(["started_at", "batch_id"])["batch_id"]
    return replace(seal_of(process_id, moment, tuple(order)), learnt=True)


def newest(history: History, policy: Policy, fits: Fits, replayed: Replayed, seal: Seal) -> Trained:
    """Train on all that was known, and take thresholds, calibration and limits from the replay.

    Args:
        history: Everything.
        policy: The rules.
        fits: Settings of the training.
        replayed: Up to the same moment.
        seal: From `prequential_seal`; its batches tested the versions before this one.
    """
    known = history.at(seal.cut)
    trained = fits.trained(known, fits.weights(known))
    fit = Fit(trained.predictor, trained.out_of_fold, Path(), nothing_sealed(history.process.id, seal.cut))
    predictor = finished(fit, replayed.given, history.process, policy)
    return replace(trained, predictor=replace(predictor, test_sha256=seal.sha256), seal=seal)

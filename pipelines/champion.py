"""A challenger beside the champion, on batches that started after both had been made."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from features.errors import BatchguardError
from models.backtest.history import History
from models.backtest.replay import Replayed
from models.cohort.labels import labels_as_of
from models.cohort.splits import Seal, in_order_of_start, seal_of, subject_groups
from models.evaluation.champion import COLUMNS, UNKNOWN, Comparison, compare
from models.evaluation.evaluate import ahead_of
from models.evaluation.sealed_test import score_test
from models.policy import Policy
from models.registry import RegisteredModel, Registry
from models.train import Trained
from pipelines.effective import effective_version
from pipelines.progress import Say
from pipelines.settings import Settings

_GIVEN = "The challenger is judged by the scores that its policy gave, each by a version made before the batch started."


def champion_of(settings: Settings, process_id: str, registry: Registry, say: Say) -> RegisteredModel | None:
    """The version that the records call effective, whatever the alias says; None where there is none, or none to be read."""
    try:
        found = effective_version(settings, process_id)
        return registry.by_version(process_id, found.version) if found else None
    except BatchguardError as error:
        say(f"no comparison with a champion: {error}")
        return None


def against_champion(
    champion: RegisteredModel | None,
    registry: Registry,
    trained: Trained,
    history: History,
    policy: Policy,
    replayed: Replayed | None,
) -> Comparison | None:
    """Judge a challenger against the champion of its process; None where there is no other champion.

    A challenger of a sealed test is judged by its own scores. One that is tested by earlier scores has learnt from every
    batch with an outcome: it is judged by the scores that its policy gave, each from a version made before the batch
    started.

    Args:
        champion: The effective version; None: there is none.
        registry: With its files.
        trained: The challenger.
        history: What is known now.
        policy: With the margin.
        replayed: The scores of the replay; None: the challenger has a sealed test.
    """
    process = history.process
    if champion is None or champion.sha256 == trained.predictor.sha256:
        return None
    since, given = registry.seal(champion).cut, replayed is not None and trained.prequential
    since = since if given else max(since, trained.seal.cut)
    later = _unknown_since(history, since)
    parts = history.snapshots, history.features, history.batches, history.log
    ours = theirs = pd.DataFrame(columns=["batch_id", "checkpoint_h", "failed"])
    try:
        if later.batch_ids:
            theirs = score_test(process, registry.predictor(champion), *parts, later, contributions=False).rows
            if given and replayed is not None:
                ours = replayed.scores[replayed.scores["batch_id"].isin(later.batch_ids)]
            else:
                ours = score_test(process, trained.predictor, *parts, later, contributions=False).rows
    except BatchguardError as error:
        why = f"The champion cannot score these snapshots: {error}"
        nothing = pd.DataFrame(columns=COLUMNS)
        return Comparison(champion.version, UNKNOWN, policy.not_worse_by, since.isoformat(), 0, 0, why, nothing)
    found = compare(
        ours, theirs, champion=champion.version, since=since, margin=policy.not_worse_by,
        budget=process.decision.alarm_budget, ahead_h=ahead_of(process),
    )  # fmt: skip
    return replace(found, why=f"{found.why} {_GIVEN}") if given else found


def _unknown_since(history: History, since: pd.Timestamp) -> Seal:
    """Batches with an outcome that started at a moment or later, without patients and donors of earlier batches."""
    labels = labels_as_of(history.log)
    started = in_order_of_start(history.batches, labels.index[~labels["censored"]])
    groups = subject_groups(history.batches)
    before = history.batches.loc[history.batches["started_at"] < since, "batch_id"]
    seen = groups.loc[groups["batch_id"].isin(before), "group"]
    known = groups.loc[groups["group"].isin(seen), "batch_id"]
    ids = started.index[(started >= since) & ~started.index.isin(known)]
    return seal_of(history.process.id, since, tuple(ids))

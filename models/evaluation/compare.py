"""What a random split would have claimed, beside what forward in time gives. Never used for anything else."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from features.errors import TrainingError
from models.cohort.encode import fit_encoder
from models.cohort.folds import most_folds
from models.cohort.labels import labels_as_of
from models.cohort.splits import enough_failures
from models.cohort.table import TrainingTable, before_the_label, training_table
from models.evaluation.figures import last_checkpoint
from models.evaluation.intervals import Interval
from models.evaluation.metrics import auroc_with_interval
from models.learners.trees import Bins, Plan, Settings, fold_places

_RANDOM_FOLDS = 5
_SPLITS = ("random", "forward")


def compare_splits(
    snapshots: pd.DataFrame,
    batches: pd.DataFrame,
    logs: dict[str, pd.DataFrame],
    *,
    groups: pd.DataFrame,
    settings: Settings | None = None,
    plan: Plan | None = None,
) -> pd.DataFrame:
    """Random against forward, with the same model settings, for several questions.

    Each batch counts once, at its last checkpoint before its label. Random is a stratified, shuffled K-fold over
    batches; forward trains on what was known when each block began.

    Args:
        snapshots: `features.contracts.SNAPSHOT`.
        batches: `batch_id`, `started_at`.
        logs: Label log per question.
        groups: Pairs `batch_id`, `group`; the random split ignores them, as random splits do.
        settings: Of the trees; None takes untuned defaults.
        plan: Seed and threads.

    Returns:
        `question`, `split` (random or forward), `n`, `n_failed`, `auroc`, `auroc_low`, `auroc_high`, `note`.
    """
    rows = []
    for question, log in logs.items():
        labels = labels_as_of(log)
        labels = labels[~labels["censored"]]
        usable = before_the_label(snapshots, log) if len(labels) else snapshots.iloc[:0]
        usable = usable[usable["batch_id"].isin(labels.index)]
        if usable.empty:
            rows += [
                _row(question, split, None, "no batch has an outcome and a snapshot before it") for split in _SPLITS
            ]
            continue
        last = last_checkpoint(usable)
        table = training_table(last, fit_encoder(last))
        bins = Bins(table, plan or Plan())
        random, why_not = _try(random_scores, bins, labels["failed"], settings or Settings())
        forward, note = _try(_forward, bins, batches, log, groups, settings or Settings())
        if random is not None and forward is not None:  # the oldest batches only ever train forward in time
            random = random[random["batch_id"].isin(forward["batch_id"])]
        rows += [_row(question, "random", random, why_not), _row(question, "forward", forward, note)]
    return pd.DataFrame(rows)


def random_scores(bins: Bins, failed: pd.Series, settings: Settings) -> pd.DataFrame:
    """Scores of a shuffled, stratified K-fold: `batch_id`, `failed`, `raw`.

    Raises:
        TrainingError: Fewer failures than folds.
    """
    from sklearn.model_selection import StratifiedKFold

    table: TrainingTable = bins.table
    y = table.rows["batch_id"].map(failed).to_numpy(bool)
    if min(y.sum(), (~y).sum()) < _RANDOM_FOLDS:
        raise TrainingError(f"{y.sum()} of {len(y)} batches failed: too few for {_RANDOM_FOLDS} folds")
    raw = np.full(len(y), np.nan)
    folds = StratifiedKFold(_RANDOM_FOLDS, shuffle=True, random_state=bins.plan.seed)
    for train, held_out in folds.split(table.X, y):
        booster, _ = bins.fit(bins.rows(train, y[train]), settings)
        raw[held_out] = booster.predict(table.X[held_out], raw_score=True)
    return pd.DataFrame({"batch_id": table.rows["batch_id"], "failed": y, "raw": raw})


def _forward(
    bins: Bins, batches: pd.DataFrame, log: pd.DataFrame, groups: pd.DataFrame, settings: Settings
) -> pd.DataFrame:
    known = pd.Index(bins.table.rows["batch_id"])
    failed = labels_as_of(log)["failed"].reindex(known)
    enough_failures(failed, at_least=bins.plan.min_failures, where="the forward split")
    folds = most_folds(batches, log, known, groups=groups, at_most=bins.plan.folds, warm_up=bins.plan.warm_up)
    blocks = []
    for fold in folds:
        train, train_failed, rows, failed = fold_places(bins.table, fold, log)
        booster, _ = bins.fit(bins.rows(train, train_failed), settings)
        raw = booster.predict(bins.table.X[rows], raw_score=True)
        blocks.append(bins.table.rows.iloc[rows].assign(failed=failed, raw=raw))
    return pd.concat(blocks, ignore_index=True)


def _try(score: Callable[..., pd.DataFrame], *args: object) -> tuple[pd.DataFrame | None, str]:
    try:
        return score(*args), ""
    except TrainingError as error:
        return None, error.what


def _row(question: str, split: str, scores: pd.DataFrame | None, note: str) -> dict[str, object]:
    head: dict[str, object] = {"question": question, "split": split}
    if scores is None:
        return head | {"n": 0, "n_failed": 0} | Interval(np.nan, np.nan, np.nan).named("auroc") | {"note": note}
    found = auroc_with_interval(*(scores[name].to_numpy() for name in ("failed", "raw", "batch_id")))
    count = {"n": len(scores), "n_failed": int(scores["failed"].sum())}
    return head | count | found.named("auroc") | {"note": note}

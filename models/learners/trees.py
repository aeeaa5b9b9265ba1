"""LightGBM, deterministic: the same rows give the same trees, to the last byte, on any number of threads.

Features are binned once; every fold trains on a subset of those bins.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote

import numpy as np
import pandas as pd

from models.cohort.folds import Fold
from models.cohort.labels import labels_as_of
from models.cohort.table import TrainingTable

if TYPE_CHECKING:
    import lightgbm as lgb

Progress = Callable[[str, int, int], None]  # what, done, of how many

_FIXED = {
    "objective": "binary",
    "deterministic": True,
    "force_row_wise": True,
    "feature_pre_filter": False,
    "bagging_freq": 1,
    "verbose": -1,
}
BINS, PLAIN_BINS = 63, 255  # of a feature: of the layers' few columns, of trees that stand alone


@dataclass(frozen=True)
class Settings:
    """Shape of the trees.

    The defaults suit a few dozen failures: a search around them found nothing better (docs/model.md, "The trees"). All
    checkpoints share one model, so a leaf has to be small enough to hold the batches of one stage only.

    Attributes:
        leaves: Leaves of a tree.
        leaf_share: Least share of the training batches in a leaf.
        features: Share of the features a tree may use.
        l2: Penalty on the leaves.
        rounds: Number of trees.
        rate: Learning rate.
        bagging: Share of the rows a tree may use.
        least_rows: Least rows in a leaf whatever the share; None: the share decides alone.
    """

    leaves: int = 8
    leaf_share: float = 0.005
    features: float = 0.3
    l2: float = 3.0
    rounds: int = 120
    rate: float = 0.08
    bagging: float = 0.7
    least_rows: int | None = None


PLAIN = Settings(leaves=7, l2=10.0, rate=0.05, bagging=0.8, least_rows=20)
"""Of trees that stand alone (docs/model.md, "Layers, trees or deviations"); their number is fixed."""

Learner = Literal["auto", "layers", "trees", "deviations"]


@dataclass(frozen=True)
class Plan:
    """How a predictor is made; all of it is recorded with the model.

    Attributes:
        test_share: Newest share of the batches, sealed.
        folds: Forward folds at most.
        warm_up: Share of the training batches that is never validated.
        most_rounds: Trees at most.
        min_failures: Failures (and successes) without which nothing is trained.
        seed: Of LightGBM's sampling.
        members: Models in the bag, alike but for their seed.
        threads: Changes the speed, never the trees.
        learner: All layers; trees alone on the features; the largest deviation alone; `auto`: layers where a forward fold can
            forecast release attributes, elsewhere one of the last two (`models.learners.candidates`).
    """

    test_share: float = 0.25
    folds: int = 4
    warm_up: float = 0.4
    most_rounds: int = 200
    min_failures: int = 5
    seed: int = 7
    members: int = 3
    threads: int = 1
    learner: Learner = "auto"

    @property
    def fold_members(self) -> int:
        """Models per forward fold: of trees alone, whose folds calibrate the first versions and choose, one is enough."""
        return self.members if self.learner == "layers" else 1


class Bins:
    """A training table binned once, from which any rows can be trained on.

    Args:
        table: All rows that may train.
        plan: Seed and threads.
        max_bin: Bins of a feature.
        start: Log-odds that the trees start from, shape (rows,); None: from the mean.
    """

    def __init__(
        self,
        table: TrainingTable,
        plan: Plan,
        *,
        max_bin: int = BINS,
        start: np.ndarray | None = None,
    ) -> None:
        import lightgbm as lgb

        self.table, self.start = table, start
        self.plan = plan
        self._max_bin = max_bin
        self.names = [quote(name, safe=".") for name in table.encoder.columns]  # JSON marks are refused in names
        self._data = lgb.Dataset(
            table.X,
            label=np.zeros(len(table.X)),
            feature_name=self.names,
            categorical_feature=list(table.categorical),
            params=self._params(Settings()),
            free_raw_data=False,
        ).construct()

    def rows(self, places: np.ndarray, failed: np.ndarray, *, times: float = 1) -> lgb.Dataset:
        """Some rows, ascending, with their outcomes and `times` their weight; they share the bins."""
        data = self._data.subset(places.tolist()).construct()
        weight = self.table.rows["weight"].to_numpy()[places] * times
        data = data.set_label(failed.astype(float)).set_weight(weight)
        return data if self.start is None else data.set_init_score(self.start[places])

    def without_start(self) -> Bins:
        """The same bins for another question."""
        other = copy(self)
        other.start = None
        return other

    def fit(
        self, data: lgb.Dataset, settings: Settings, watch: lgb.Dataset | None = None, *, seed: int | None = None
    ) -> tuple[lgb.Booster, np.ndarray]:
        """Train; `seed` None takes the plan's.

        Returns:
            The booster, and the log-loss on `watch` after each round (empty without).
        """
        import lightgbm as lgb

        history: dict[str, dict[str, list[float]]] = {}
        booster = lgb.train(
            self._params(settings) | ({} if seed is None else {"seed": seed}),
            data,
            num_boost_round=settings.rounds,
            valid_sets=[watch] if watch is not None else None,
            valid_names=["watch"] if watch is not None else None,
            callbacks=[lgb.record_evaluation(history)] if watch is not None else None,
        )
        return booster, np.array(history.get("watch", {}).get("binary_logloss", []))

    def _params(self, settings: Settings) -> dict[str, object]:
        batches = self.table.rows["batch_id"].nunique()
        # snapshots of a batch are nearly the same: a leaf needs more rows where there are more of them, but not as many more
        share = round(settings.leaf_share * batches * self.table.rows_per_batch**0.5)
        least = max(2, share) if settings.least_rows is None else settings.least_rows
        return _FIXED | {
            "max_bin": self._max_bin,
            "seed": self.plan.seed,
            "num_threads": self.plan.threads,
            "learning_rate": settings.rate,
            "num_leaves": settings.leaves,
            "min_data_in_leaf": least,
            "min_data_per_group": least,
            "min_sum_hessian_in_leaf": 1e-3,
            "feature_fraction": settings.features,
            "bagging_fraction": settings.bagging,
            "lambda_l2": settings.l2,
            "cat_l2": settings.l2,
        }


@dataclass(frozen=True, eq=False)
class Block:
    """One forward fold, ready to train on.

    Attributes:
        name: Of the fold.
        cut: When its validation began: what became known later played no part.
        bins: Its rows: those that train and those that are predicted.
        train: Places of the rows that train.
        train_failed: Their outcomes as known at the fold's cut.
        validation: Places of the rows that are predicted.
        validation_failed: Their outcomes as the whole log has them.
    """

    name: str
    cut: pd.Timestamp
    bins: Bins
    train: np.ndarray
    train_failed: np.ndarray
    validation: np.ndarray
    validation_failed: np.ndarray

    @property
    def train_rate(self) -> float:
        """Share of the batches that failed among those that train."""
        failed = pd.Series(self.train_failed, index=self.bins.table.rows["batch_id"].iloc[self.train])
        return float(failed.groupby(level=0).first().mean())

    def data(self) -> tuple[lgb.Dataset, lgb.Dataset, float]:
        """What to train on, what to watch, and how much the latter weighs."""
        watch = self.bins.rows(self.validation, self.validation_failed)
        return self.bins.rows(self.train, self.train_failed), watch, float(np.asarray(watch.get_weight()).sum())


def fold_places(
    table: TrainingTable, fold: Fold, log: pd.DataFrame
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Rows of a fold and their outcomes: training as known at its cut, validation as the whole log has it.

    Returns:
        Training rows, their outcomes, validation rows, their outcomes.
    """
    train, validation = table.places(fold.train), table.places(fold.validation)
    then = labels_as_of(log[log["label_available_at"] < fold.cut])["failed"]
    now = labels_as_of(log)["failed"]
    batch = table.rows["batch_id"]
    return (
        train,
        batch.iloc[train].map(then).to_numpy(bool),
        validation,
        batch.iloc[validation].map(now).to_numpy(bool),
    )


def rounds_of(blocks: Sequence[Block], plan: Plan) -> Settings:
    """The default shape of the trees, with the number of trees that gives the least log-loss over all forward folds.

    Args:
        blocks: Forward folds inside the training part.
        plan: Trees at most.
    """
    most = replace(Settings(), rounds=plan.most_rounds)
    curves = []
    for block in blocks:
        train, watch, weight = block.data()
        curves.append(weight * block.bins.fit(train, most, watch)[1])
    return replace(most, rounds=int(np.argmin(np.sum(curves, axis=0))) + 1)


def portable_text(booster: lgb.Booster) -> str:
    """The model as text without the number of threads, which has no effect on the trees."""
    return re.sub(r"^\[num_threads: \d+\]$", "[num_threads: 0]", booster.model_to_string(), flags=re.MULTILINE)

"""Inputs of the failure model beside the features: margins of release attributes, deviations, residuals of the sensors.

A few numbers that need hardly any failures to be learned, each of which can be handed on to the features behind it, so
that a reason always names a parameter of the process.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated

import numpy as np
import pandas as pd
from pydantic import Field

from features.dictionary import Feature
from features.process import ProcessDefinition, QualityAttribute
from models.cohort.encode import Encoder
from models.learners import deviations
from models.learners.deviations import Deviations, fit_deviations
from models.learners.forecasts import Expected, Forecasts, fit_forecasts
from models.learners.reference import Usual
from models.learners.residuals import LEVELS, NOW, Residuals
from models.persistence import LaterField, Persistent

MARGIN, MISS = "margin", "miss_probability"
LEAST_MARGIN, MISS_LOG_ODDS = "attributes.at_release.least_margin", "attributes.at_release.miss_log_odds"
_LEAST_PROBABILITY = 1e-6
_FAR_MARGIN = 8.0  # standard deviations from the limit beyond which nothing more is learned
_ENOUGH_GOOD = 200  # successful batches from which on a batch hardly moves the median it belongs to
_NEWEST = (".since_start.last", ".lot.value", ".before_start.value")
_SITE, _VERSION = "site.before_start.value", "process_version.before_start.value"


@dataclass(frozen=True, eq=False)
class Evidence(Persistent):
    """Makes the evidence from encoded rows, frozen.

    Attributes:
        encoder: Of the matrix; stored with the predictor, so `from_json` takes it as one more entry.
        deviations: Trajectories of successful batches, overall and by site and process version.
        forecasts: Of the release attributes; None where none has enough results.
        residuals: Of the sensors; None where the process has no windows, or too few batches succeeded.
    """

    encoder: Annotated[Encoder, Field(exclude=True)]
    deviations: Deviations
    forecasts: Forecasts | None
    residuals: LaterField[Residuals] = None

    @cached_property
    def features(self) -> tuple[Feature, ...]:
        """One entry per column of `of`, in its order."""
        return (*self.slow, *self.fast)

    @cached_property
    def slow(self) -> tuple[Feature, ...]:
        """Margins and deviations."""
        if self.forecasts is None:
            return deviations.FEATURES
        made = [entry for a in self.forecasts.attributes for entry in _entries(a.name)]
        return (*made, *_TOGETHER, *deviations.FEATURES)

    @property
    def fast(self) -> tuple[Feature, ...]:
        """Residuals of the sensors: what shows within hours."""
        return self.residuals.features if self.residuals else ()

    @cached_property
    def ranking(self) -> tuple[int, ...]:
        """Places of the columns that order batches without trees: the chance of missing a limit, and the deviations."""
        names = [feature.name for feature in self.features]
        return tuple(names.index(n) for n in (MISS_LOG_ODDS, deviations.LARGEST, deviations.TYPICAL) if n in names)

    def groups(self, X: np.ndarray) -> list[str]:
        """Label of site and process version of each encoded row, as at the fit."""
        return group_labels(self.encoder, X)

    def of(self, X: np.ndarray, checkpoint_h: np.ndarray) -> Seen:
        """The evidence of encoded rows.

        Args:
            X: Shape (n, k).
            checkpoint_h: Hours since the start, shape (n,).
        """
        expected = self.forecasts.expected(X, checkpoint_h) if self.forecasts else None
        z = self.deviations.reference.z(X[:, self._places], checkpoint_h, self.groups(X))
        distance, view = self.deviations.farthest(z)
        columns = ([] if expected is None else [attribute_columns(expected)]) + [deviations.summaries(distance)]
        z = None
        if self.residuals is not None:
            z = self.residuals.z(self._levels(X), version_codes(self.encoder, X), checkpoint_h)
            columns.append(self.residuals.columns_of(z))
        return Seen(np.column_stack(columns), expected, distance, view, z)

    def hand_on(self, seen: Seen, contributions: np.ndarray, X: np.ndarray, checkpoint_h: np.ndarray) -> np.ndarray:
        """Contributions of the evidence handed on to the features behind it.

        A margin is handed to what pulled the forecast the way in which the risk moved, in proportion; a deviation to the
        parameters that stray. What nothing can be named for goes to all features of the forecast alike.

        Args:
            seen: From `of`.
            contributions: Log-odds per column of the evidence, shape (n, columns).
            X: The same encoded rows, shape (n, k).
            checkpoint_h: Hours since the start, shape (n,).

        Returns:
            Shape (n, k); every row has the sum of its contributions.
        """
        out = np.zeros((len(contributions), X.shape[1]))
        done = 0
        if self.forecasts is not None and seen.expected is not None:
            done = 2 * len(seen.expected.attributes) + len(_TOGETHER)
            of_attribute = _per_attribute(seen.expected, contributions[:, :done])
            behind = self.forecasts.contributions(X, checkpoint_h)
            for i, attribute in enumerate(seen.expected.attributes):
                pull = _toward_limit(attribute, behind[:, :, i]) * behind[:, :, i]
                share = of_attribute[:, i, None] * _with_the_risk(pull, of_attribute[:, i])
                np.add.at(out.T, self.forecasts.design.owners, share.T)
        shares = deviations.behind(seen.distance)
        places = self._places[seen.view]
        rows = np.arange(len(out))[:, None]
        for i, feature in enumerate(deviations.FEATURES):
            np.add.at(out, (rows, places), contributions[:, done + i, None] * shares[feature.name])
        if self.residuals is not None and seen.residual_z is not None:
            behind = self.residuals.shares(seen.residual_z)
            own = np.einsum("nf,nfs->ns", contributions[:, len(self.slow) :], behind, optimize=False)
            np.add.at(out.T, self._now_places, own.T)
        return out

    def _levels(self, X: np.ndarray) -> np.ndarray:
        """Levels of the sensors in encoded rows, shape (n, columns of the residuals); NaN where not known."""
        return np.where(self._level_places >= 0, X[:, self._level_places], np.nan)

    @cached_property
    def _level_places(self) -> np.ndarray:
        """Place in the encoded matrix of each level of the sensors; -1 where it is not there."""
        place = {name: i for i, name in enumerate(self.encoder.columns)}
        names = self.residuals.columns if self.residuals else ()
        return np.array([place.get(name, -1) for name in names], int)

    @cached_property
    def _now_places(self) -> np.ndarray:
        """Place in the encoded matrix of the level of each sensor now, to which its residuals are handed on.

        A sensor without one has no residual; its contribution is 0 and may stand anywhere.
        """
        return np.maximum(self._level_places[NOW::LEVELS], 0)

    @cached_property
    def _places(self) -> np.ndarray:
        """Place in the encoded matrix of each view of the deviations."""
        place = {name: i for i, name in enumerate(self.encoder.columns)}
        return np.array([place[name] for name in self.deviations.reference.columns], int)

    def usual(self, parameter: str, checkpoint_h: float, group: str | None = None) -> Usual | None:
        """What successful batches usually show of a parameter's newest value at an hour; None where that is not known.

        Args:
            parameter: Of the process.
            checkpoint_h: Hours since the start.
            group: From `groups`; None, or one without numbers of its own, takes all batches.
        """
        view = self._newest.get(parameter)
        return self.deviations.reference.usual(view, checkpoint_h, group) if view else None

    @cached_property
    def _newest(self) -> dict[str, str]:
        """The view of each parameter that is its newest value."""
        owner = dict(zip(self.deviations.reference.parameters, self.deviations.owners, strict=True))
        return {owner[view]: view for view in owner if view.endswith(_NEWEST)}


@dataclass(frozen=True, eq=False)
class Seen:
    """Evidence of n rows.

    Attributes:
        columns: Shape (n, columns), in the order of `Evidence.features`; NaN where not known.
        expected: Forecasts of the release attributes behind it, or None.
        distance: |z| of each parameter's farthest view, shape (n, parameters).
        view: Which view that is, the same shape.
        residual_z: Residuals of the sensors behind it, shape (n, 2, sensors), or None.
    """

    columns: np.ndarray
    expected: Expected | None
    distance: np.ndarray
    view: np.ndarray
    residual_z: np.ndarray | None = None


def fit_evidence(
    process: ProcessDefinition,
    encoder: Encoder,
    features: Sequence[Feature],
    snapshots: pd.DataFrame,
    X: np.ndarray,
    failed: pd.Series,
    results: pd.DataFrame,
    residuals: Residuals | None = None,
) -> tuple[Evidence, np.ndarray]:
    """Fit on training rows.

    Args:
        process: Gives the release attributes.
        encoder: Of the matrix.
        features: One entry per column of the matrix.
        snapshots: Training rows, in order of start, index 0..n-1.
        X: The same rows encoded (sensors found faulty are NaN), shape (n, k).
        failed: Outcome by batch_id as known at the cut.
        results: Final results as known at the cut, from `models.learners.forecasts.final_results`.
        residuals: Of the sensors, fitted before; None: left out.

    Returns:
        The evidence, and its columns for the training rows themselves: margins out of fold, deviations too where few
        batches succeeded.
    """
    frame = numeric_frame(snapshots, X, encoder)
    label = pd.Series(group_labels(encoder, X), index=frame["batch_id"]).groupby(level=0).first()
    succeeded = failed.index[~failed.astype(bool)]
    entries = [feature for feature in features if feature.name not in encoder.categories]
    fitted = fit_deviations(frame, entries, succeeded, groups=label)
    forecasts, expected = fit_forecasts(process.quality_attribute, encoder, features, X, snapshots, results)
    evidence = Evidence(encoder, fitted, forecasts, residuals)
    columns = evidence.of(X, snapshots["checkpoint_h"].to_numpy(float)).columns
    if expected is not None:
        own = attribute_columns(expected)
        columns[:, : own.shape[1]] = own
    if len(succeeded) < _ENOUGH_GOOD:
        own = deviations.out_of_fold(frame, entries, failed, groups=label).to_numpy()
        end = len(evidence.slow)
        columns[:, end - own.shape[1] : end] = own
    return evidence, columns


def versions_of(encoder: Encoder) -> int:
    """Number of process versions; 0 where there is one."""
    return len(encoder.categories.get(_VERSION, ()))


def version_codes(encoder: Encoder, X: np.ndarray) -> np.ndarray:
    """Place of the process version of encoded rows, shape (n,); NaN where there is one version, or it is new."""
    if _VERSION not in encoder.categories:
        return np.full(len(X), np.nan)
    return X[:, encoder.columns.index(_VERSION)]


def group_labels(encoder: Encoder, X: np.ndarray) -> list[str]:
    """Site and process version of each encoded row in one label; empty parts where they do not differ or are new."""
    parts = []
    for name in (_SITE, _VERSION):
        if name in encoder.categories:
            names, codes = np.array([*encoder.categories[name], ""]), X[:, encoder.columns.index(name)]
            parts.append(names[np.where(np.isnan(codes), len(names) - 1, codes).astype(int)])
    return [" / ".join(row) for row in zip(*parts, strict=True)] if parts else [""] * len(X)


def attribute_columns(expected: Expected) -> np.ndarray:
    """Margin and chance of a miss of every attribute, the least margin, and the log-odds that any is missed.

    Returns:
        Shape (n, 2 attributes + 2); NaN before the first checkpoint with a forecast.
    """
    margin = np.clip(expected.margins, -_FAR_MARGIN, _FAR_MARGIN)
    miss = np.clip(expected.miss_probability, _LEAST_PROBABILITY, 1 - _LEAST_PROBABILITY)
    any_miss = np.clip(1 - np.prod(1 - miss, axis=1), _LEAST_PROBABILITY, 1 - _LEAST_PROBABILITY)
    each = np.stack([margin, miss], axis=2).reshape(len(margin), 2 * margin.shape[1])
    return np.column_stack([each, margin.min(axis=1), np.log(any_miss / (1 - any_miss))])


def _per_attribute(expected: Expected, contributions: np.ndarray) -> np.ndarray:
    """Contributions of the attributes' columns by attribute, shape (n, attributes).

    The least margin is that of one attribute; the log-odds of any miss belong to all, by their chances.
    """
    n_attributes = len(expected.attributes)
    miss = np.clip(expected.miss_probability, _LEAST_PROBABILITY, 1)
    least = np.argmin(expected.margins, axis=1)[:, None] == np.arange(n_attributes)
    own = contributions[:, :-2].reshape(len(contributions), n_attributes, 2).sum(axis=2)
    return (
        own + contributions[:, -2, None] * least + contributions[:, -1, None] * miss / miss.sum(axis=1, keepdims=True)
    )


def _toward_limit(attribute: QualityAttribute, behind: np.ndarray) -> np.ndarray | float:
    """Sign of what moves a forecast to its limit: with two limits, to the one on the side to which it strays."""
    if attribute.lower is not None and attribute.upper is not None:
        return np.where(behind.sum(axis=1) < 0, -1.0, 1.0)[:, None]
    return 1.0 if attribute.lower is None else -1.0


def _with_the_risk(pull: np.ndarray, contribution: np.ndarray) -> np.ndarray:
    """Share of each column in a contribution: those that pull its way, in proportion; otherwise all alike."""
    toward = np.maximum(pull * np.where(contribution < 0, -1.0, 1.0)[:, None], 0.0)
    total = toward.sum(axis=1, keepdims=True)
    return np.where(total > 0, toward / np.where(total > 0, total, 1.0), 1.0 / pull.shape[1])


def numeric_frame(snapshots: pd.DataFrame, X: np.ndarray, encoder: Encoder) -> pd.DataFrame:
    """Ids and numeric columns of encoded rows as a frame: the input of trajectories and sensor checks."""
    numeric = [i for i, name in enumerate(encoder.columns) if name not in encoder.categories]
    values = pd.DataFrame(X[:, numeric], columns=[encoder.columns[i] for i in numeric], index=snapshots.index)
    return pd.concat([snapshots[["batch_id", "checkpoint_h"]], values], axis=1)


def _entries(attribute: str) -> tuple[Feature, Feature]:
    subject, words = f"attribute.{attribute}", attribute.replace("_", " ")
    return (
        Feature(f"{subject}.at_release.{MARGIN}", subject, words, "1", "at_release", MARGIN,
                f"distance of the expected {words} to its limit, in standard deviations of the forecast"),
        Feature(f"{subject}.at_release.{MISS}", subject, words, "", "at_release", MISS,
                f"probability that {words} misses its specification"),
    )  # fmt: skip


_TOGETHER = (
    Feature(LEAST_MARGIN, "attributes", "Release attributes", "1", "at_release", "least_margin",
            "least margin of all release attributes"),
    Feature(MISS_LOG_ODDS, "attributes", "Release attributes", "1", "at_release", "miss_log_odds",
            "log-odds that any release attribute misses its specification"),
)  # fmt: skip

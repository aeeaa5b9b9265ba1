"""The frozen predictor: a folder of open files, checked to the last byte before anything is loaded from it.

No fitting happens here. The same snapshot gives the same probability and the same contributions, always.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.special import expit

from features.dictionary import Feature
from features.errors import StorageError
from models.cohort.encode import Encoder
from models.learners.calibrate import Calibration

if TYPE_CHECKING:
    import lightgbm as lgb

MANIFEST = "manifest.json"
FILES = ("model.txt", "predictor.json", "features.json")
AGE = "age_h"  # the statistic that says how old a parameter's newest value is
USUAL = 0.95  # quantile of the ages in training above which a value is stale


@dataclass(frozen=True)
class Predictor:
    """Everything needed to score a snapshot and to say why.

    Attributes:
        model_text: LightGBM's own text format.
        encoder: Snapshot to matrix.
        calibration: Raw log-odds to probability.
        features: One entry per column of the matrix, in its order.
        process_id: Process it was made for.
        process_version: Version of that process definition.
        training_sha256: Digest of the rows it was trained on.
        test_sha256: Digest of the sealed test set it has not seen.
        usual_ages: Per parameter and checkpoint (as text), the age in hours that 95 % of the training rows stay below.
    """

    model_text: str
    encoder: Encoder
    calibration: Calibration
    features: tuple[Feature, ...]
    process_id: str
    process_version: str
    training_sha256: str
    test_sha256: str
    usual_ages: dict[str, dict[str, float]]

    @cached_property
    def booster(self) -> lgb.Booster:
        """The trees."""
        import lightgbm as lgb

        return lgb.Booster(model_str=self.model_text)

    @cached_property
    def sha256(self) -> str:
        """Digest of the manifest, and so of every file."""
        return hashlib.sha256(_manifest(self._files())).hexdigest()

    @cached_property
    def base_log_odds(self) -> float:
        """Calibrated log-odds before anything is known of a batch: the mean over the training rows."""
        nothing = np.full((1, len(self.encoder.columns)), np.nan)
        return float(self.calibration.log_odds(self._trees(nothing, pred_contrib=True)[0, -1]))

    @property
    def base_probability(self) -> float:
        """The probability that belongs to `base_log_odds`."""
        return float(expit(self.base_log_odds))

    def log_odds(self, snapshots: pd.DataFrame) -> np.ndarray:
        """Calibrated log-odds, shape (n,)."""
        return self.calibration.log_odds(self._trees(self.encoder.encode(snapshots), raw_score=True))

    def predict(self, snapshots: pd.DataFrame) -> np.ndarray:
        """Calibrated failure probability of each snapshot, shape (n,).

        Raises:
            ContractError: The snapshots lack a feature, or hold an infinite value.
        """
        return expit(self.log_odds(snapshots))

    def contributions(self, snapshots: pd.DataFrame) -> pd.DataFrame:
        """What each feature adds to the calibrated log-odds, by TreeSHAP (Lundberg et al., 2020).

        Returns:
            Index of the snapshots, one column per feature; a row plus `base_log_odds` sums to its `log_odds`.
        """
        raw = self._trees(self.encoder.encode(snapshots), pred_contrib=True)[:, :-1]
        return pd.DataFrame(self.calibration.slope * raw, index=snapshots.index, columns=list(self.encoder.columns))

    def percentage_points(self, contributions: pd.DataFrame) -> pd.DataFrame:
        """Contributions in percentage points; each row sums to 100 (p - base probability).

        The probability changes along the straight line from the base to the snapshot in log-odds; each
        feature takes the share of the change that it has of the line (integrated gradients, Sundararajan et al., 2017).
        """
        change = contributions.to_numpy().sum(axis=1)
        per_log_odds = mean_slope(self.base_log_odds, self.base_log_odds + change)
        return contributions.mul(100.0 * per_log_odds, axis=0)

    def by_parameter(self, contributions: pd.DataFrame) -> pd.DataFrame:
        """Contributions summed over the features of each parameter; one column per parameter."""
        parameters = [feature.parameter for feature in self.features]
        return contributions.T.groupby(parameters, sort=True).sum().T

    def save(self, folder: Path) -> None:
        """Write the files and, last, the manifest with their digests."""
        folder.mkdir(parents=True, exist_ok=True)
        files = self._files()
        for name, content in files.items():
            (folder / name).write_bytes(content)
        (folder / MANIFEST).write_bytes(_manifest(files))

    @classmethod
    def load(cls, folder: Path, *, sha256: str | None = None) -> Predictor:
        """Read a predictor back, checking every byte before LightGBM sees one.

        Args:
            folder: Made by `save`.
            sha256: The digest it must have; None accepts any that is whole.

        Raises:
            StorageError: A file is missing or was changed, or the digest is another one.
        """
        files = _checked(folder, sha256)
        head = json.loads(files["predictor.json"])
        return cls(
            model_text=files["model.txt"].decode(),
            encoder=Encoder.from_json(head["encoder"]),
            calibration=Calibration(**head["calibration"]),
            features=tuple(Feature(**row) for row in json.loads(files["features.json"])),
            process_id=head["process_id"],
            process_version=head["process_version"],
            training_sha256=head["training_sha256"],
            test_sha256=head["test_sha256"],
            usual_ages=head["usual_ages"],
        )

    def _trees(self, X: np.ndarray, **kwargs: bool) -> np.ndarray:
        if not len(X):
            width = (0, X.shape[1] + 1) if kwargs.get("pred_contrib") else 0
            return np.zeros(width)
        # one thread: a score takes about a millisecond, and the endpoint runs many at a time
        return np.asarray(self.booster.predict(X, num_threads=1, **kwargs))

    def _files(self) -> dict[str, bytes]:
        head = {
            "process_id": self.process_id,
            "process_version": self.process_version,
            "training_sha256": self.training_sha256,
            "test_sha256": self.test_sha256,
            "encoder": self.encoder.to_json(),
            "calibration": asdict(self.calibration),
            "usual_ages": self.usual_ages,
        }
        return {
            "model.txt": self.model_text.encode(),
            "predictor.json": _json(head),
            "features.json": _json([asdict(feature) for feature in self.features]),
        }


def mean_slope(base_log_odds: float, log_odds: np.ndarray) -> np.ndarray:
    """(p - p0) / (logit p - logit p0): mean slope of the logistic curve between two points; p (1 - p) where they meet."""
    p0, p = expit(base_log_odds), expit(log_odds)
    change = log_odds - base_log_odds
    near = np.abs(change) < 1e-6
    middle = expit(base_log_odds + change / 2)
    return np.where(near, middle * (1 - middle), (p - p0) / np.where(near, 1.0, change))


def usual_ages(rows: pd.DataFrame, features: tuple[Feature, ...]) -> dict[str, dict[str, float]]:
    """How old the newest value of each parameter usually is, per checkpoint, from the training rows."""
    ages = {f.name: f.parameter for f in features if f.statistic == AGE and f.name in rows}
    usual = rows.groupby("checkpoint_h")[list(ages)].quantile(USUAL) if ages else pd.DataFrame()
    return {
        parameter: {f"{hours:g}": float(age) for hours, age in usual[name].dropna().items()}
        for name, parameter in ages.items()
    }


def _checked(folder: Path, sha256: str | None) -> dict[str, bytes]:
    remedy = "Restore the folder from the registry, or train again."
    try:
        manifest = (folder / MANIFEST).read_bytes()
        files = {name: (folder / name).read_bytes() for name in FILES}
    except FileNotFoundError as error:
        raise StorageError(f"predictor {folder}: {Path(str(error.filename)).name} is missing", remedy=remedy) from None
    digest = hashlib.sha256(manifest).hexdigest()
    if sha256 is not None and digest != sha256:
        raise StorageError(f"predictor {folder} has digest {digest[:12]}", expected=sha256[:12], remedy=remedy)
    if manifest != _manifest(files):
        stored = json.loads(manifest).get("files", {})
        wrong = [n for n in FILES if stored.get(n) != hashlib.sha256(files[n]).hexdigest()] or [MANIFEST]
        raise StorageError(f"predictor {folder}: {wrong[0]} was changed after it was written", remedy=remedy)
    return files


def _manifest(files: dict[str, bytes]) -> bytes:
    return _json({"format": 1, "files": {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}})


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n").encode()

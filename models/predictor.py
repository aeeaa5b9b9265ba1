"""The frozen predictor: a folder of open files, checked to the last byte before anything is loaded from it.

No fitting happens here. The same snapshot gives the same probability and the same contributions, always. Everything runs
on the encoded matrix of snapshots, so an endpoint that holds a row of numbers needs no frame.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import expit

from features.dictionary import Feature
from models.cohort.encode import Encoder
from models.cohort.table import between_checkpoints
from models.folder import as_json, manifest_of, read_files, write_files
from models.learners.applicability.model import Applicability
from models.learners.bag import Forests
from models.learners.blend import Blend
from models.learners.calibrate import Calibration
from models.learners.candidates import Choice
from models.learners.conformal import Conformal
from models.learners.evidence import Evidence, Seen
from models.learners.failure_modes import ModeModel
from models.learners.sensors import SensorChecks
from models.learners.subgroup_offsets import SubgroupOffsets
from models.learners.trees import Learner
from models.scoring.call import Thresholds

AGE = "age_h"  # the statistic that says how old a parameter's newest value is
USUAL = 0.95  # quantile of the ages in training above which a value is stale


@dataclass(frozen=True)
class Predictor:
    """Everything needed to score a snapshot, to say how sure the score is, and why.

    Attributes:
        model_texts: A bag of small models over `inputs`, LightGBM's own text format, stage by stage; the raw log-odds of a
            stage's members are averaged.
        inputs: Columns the trees see: features, and columns of the evidence.
        encoder: Snapshot to matrix.
        sensors: Finds sensors at fault, whose features are hidden.
        evidence: Margins of release attributes, deviations from the usual course.
        blend: Trees and evidence in one score.
        calibration: Raw log-odds to probability, by stage.
        sets: Conformal sets at the nominal level, for the record.
        decision_sets: Conformal sets at the stated errors of the decision.
        offsets: Of the subgroups that fail more, or less, often than the trees state.
        thresholds: Where decisions change.
        modes: Models of the failure modes with enough cases.
        few_cases: Cases of the modes without a model.
        applicability: Where the predictor applies; None only while it is being fitted.
        features: One entry per column of the matrix, in its order.
        process_id: Process it was made for.
        process_version: Version of that process definition.
        training_sha256: Digest of the rows it was trained on.
        test_sha256: Digest of the sealed test set it has not seen.
        from_h: Hour from which the models of each stage score (`models.learners.bag.Forests`).
        usual_ages: Per parameter and checkpoint (as text), the age in hours that 95 % of the training rows stay below.
        choice: Of the learner, with its figures; None: the layers.
    """

    model_texts: tuple[str, ...]
    inputs: tuple[str, ...]
    encoder: Encoder
    sensors: SensorChecks
    evidence: Evidence
    blend: Blend
    calibration: Calibration
    sets: Conformal
    decision_sets: Conformal
    thresholds: Thresholds
    modes: tuple[ModeModel, ...]
    few_cases: dict[str, int]
    applicability: Applicability | None
    features: tuple[Feature, ...]
    process_id: str
    process_version: str
    training_sha256: str
    test_sha256: str
    usual_ages: dict[str, dict[str, float]]
    offsets: SubgroupOffsets = field(default_factory=SubgroupOffsets)
    from_h: tuple[float, ...] = (0.0,)
    choice: Choice | None = None

    @cached_property
    def forests(self) -> Forests:
        """The trees of the whole bag."""
        return Forests.of(self.model_texts, self.from_h)

    @property
    def learner(self) -> Learner:
        """What the scores come from: `layers`, `trees` or `deviations`."""
        return self.choice.learner if self.choice else "layers"

    @cached_property
    def sha256(self) -> str:
        """Digest of the manifest, and so of every file."""
        return hashlib.sha256(manifest_of(self._files())).hexdigest()

    def assess(self, X: np.ndarray, checkpoint_h: np.ndarray, *, contributions: bool = True) -> Assessment:
        """Score encoded rows.

        Args:
            X: From the encoder, shape (n, k).
            checkpoint_h: Hours since the start, shape (n,).
            contributions: Whether to say why, which takes most of the time.
        """
        believed, faulty = self.hidden(X, checkpoint_h)
        seen = self.evidence.of(believed, checkpoint_h)
        inputs = self._inputs(believed, seen)
        raw = self.forests.log_odds(inputs, checkpoint_h)
        numbers = seen.columns[:, self._ranking]
        blended = self.blend.log_odds(raw.mean(axis=1), numbers)
        why = self._why(believed, seen, inputs, numbers, checkpoint_h) if contributions else None
        places, offsets = self.offsets.of(X, self.encoder)
        if why is not None:
            why[:, places] += offsets
        return Assessment(
            log_odds=self.calibration.log_odds(blended, checkpoint_h) + offsets.sum(axis=1),
            half_width=self._half_width(raw, blended, checkpoint_h),
            base_log_odds=self.base_log_odds(checkpoint_h),
            contributions=why,
            seen=seen,
            inputs=inputs,
            faulty=faulty,
        )

    def hidden(self, X: np.ndarray, checkpoint_h: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows in which the features of sensors found faulty are NaN, and which sensors those are."""
        faulty = self.sensors.faulty(self._signs(X), checkpoint_h)
        if not faulty.any():
            return X, faulty
        return np.where(faulty @ self._hides, np.nan, X), faulty

    def log_odds(self, snapshots: pd.DataFrame) -> np.ndarray:
        """Calibrated log-odds, shape (n,)."""
        return self._assess(snapshots, contributions=False).log_odds

    def predict(self, snapshots: pd.DataFrame) -> np.ndarray:
        """Calibrated failure probability of each snapshot, shape (n,).

        Raises:
            ContractError: The snapshots lack a feature, or hold an infinite value.
        """
        return expit(self.log_odds(snapshots))

    def contributions(self, snapshots: pd.DataFrame) -> pd.DataFrame:
        """What each feature adds to the calibrated log-odds: TreeSHAP (Lundberg et al., 2020), and the slopes of the blend.

        What the evidence adds stands with the features behind it (`Evidence.hand_on`).

        Returns:
            Index of the snapshots, one column per feature; a row plus its `base_log_odds` sums to its `log_odds`.
        """
        found = self._assess(snapshots).contributions
        return pd.DataFrame(found, index=snapshots.index, columns=list(self.encoder.columns))

    def base_log_odds(self, checkpoint_h: np.ndarray) -> np.ndarray:
        """Calibrated log-odds at hours since the start of a batch of which only that is known."""
        hours = np.asarray(checkpoint_h, float)
        raw = self.blend.intercept + self.blend.trees_slope * self.forests.base(hours)
        return self.calibration.log_odds(raw, hours)

    def mode_probabilities(self, assessment: Assessment, checkpoint_h: np.ndarray) -> dict[str, np.ndarray]:
        """Probability of a failure in each mode that has a model, shape (n,) each."""
        return {model.mode: model.probability(assessment.inputs, checkpoint_h) for model in self.modes}

    def save(self, folder: Path) -> None:
        """Write the files and, last, the manifest with their digests."""
        write_files(folder, self._files())

    @classmethod
    def load(cls, folder: Path, *, sha256: str | None = None) -> Predictor:
        """Read a predictor back, checking every byte before LightGBM sees one.

        Args:
            folder: Made by `save`.
            sha256: The digest it must have; None accepts any that is whole.

        Raises:
            StorageError: A file is missing or was changed, or the digest is another one.
        """
        files = read_files(folder, sha256)
        head = json.loads(files["predictor.json"])
        encoder = Encoder.from_json(head["encoder"])
        domain = json.loads(files["applicability.json"])
        modes = tuple(
            ModeModel(
                item["mode"],
                item["n_cases"],
                files[f"mode.{i}.txt"].decode(),
                Calibration.from_json(item["calibration"]),
            )
            for i, item in enumerate(head["modes"])
        )
        return cls(
            model_texts=tuple(files[f"model.{i}.txt"].decode() for i in range(head["members"])),
            inputs=tuple(head["inputs"]),
            encoder=encoder,
            sensors=SensorChecks.from_json(json.loads(files["sensors.json"])),
            evidence=Evidence.from_json(json.loads(files["evidence.json"]) | {"encoder": encoder}),
            blend=Blend.from_json(head["blend"]),
            calibration=Calibration.from_json(head["calibration"]),
            sets=Conformal.from_json(head["sets"]),
            decision_sets=Conformal.from_json(head["decision_sets"]),
            thresholds=Thresholds.from_json(head["thresholds"]),
            modes=modes,
            few_cases=head["few_cases"],
            applicability=None if domain is None else Applicability.from_json(domain),
            features=tuple(Feature(**row) for row in json.loads(files["features.json"])),
            process_id=head["process_id"],
            process_version=head["process_version"],
            training_sha256=head["training_sha256"],
            test_sha256=head["test_sha256"],
            usual_ages=head["usual_ages"],
            from_h=tuple(head.get("from_h", (0.0,))),
            offsets=SubgroupOffsets.from_json(head.get("offsets", {})),
            choice=Choice.from_json(head["choice"]) if "choice" in head else None,
        )

    def _assess(self, snapshots: pd.DataFrame, *, contributions: bool = True) -> Assessment:
        hours = snapshots["checkpoint_h"].to_numpy(float)
        return self.assess(self.encoder.encode(snapshots), hours, contributions=contributions)

    def _signs(self, X: np.ndarray) -> np.ndarray:
        """Columns that the sensor checks look at; NaN, which is never found faulty, where the matrix has none."""
        places = self._sign_places
        return np.where(places >= 0, X[:, places], np.nan) if len(places) else np.empty((len(X), 0))

    @cached_property
    def _sign_places(self) -> np.ndarray:
        return places_of([check.feature for check in self.sensors.checks], self.encoder.columns)

    @cached_property
    def _hides(self) -> np.ndarray:
        return self.sensors.hides(self.encoder.columns)

    @cached_property
    def _ranking(self) -> np.ndarray:
        """Places in the evidence of the columns that the blend takes."""
        return places_of(self.blend.names, [feature.name for feature in self.evidence.features])

    @cached_property
    def _input_places(self) -> tuple[np.ndarray, np.ndarray]:
        """Place of every input in the matrix and in the evidence; -1 where it is not there."""
        evidence = [feature.name for feature in self.evidence.features]
        return places_of(self.inputs, self.encoder.columns), places_of(self.inputs, evidence)

    def _inputs(self, X: np.ndarray, seen: Seen) -> np.ndarray:
        plain, evidence = self._input_places
        return np.where(plain >= 0, X[:, plain], seen.columns[:, evidence])

    def _why(
        self, X: np.ndarray, seen: Seen, inputs: np.ndarray, numbers: np.ndarray, checkpoint_h: np.ndarray
    ) -> np.ndarray:
        """Contributions of every column of the matrix to the calibrated log-odds, shape (n, k)."""
        trees = self.blend.trees_slope * self.forests.contributions(inputs, checkpoint_h)
        plain, evidence = self._input_places
        of_evidence = np.zeros_like(seen.columns)
        of_evidence[:, evidence[evidence >= 0]] = trees[:, evidence >= 0]
        of_evidence[:, self._ranking] += self.blend.contributions(numbers)
        out = self.evidence.hand_on(seen, of_evidence, X, checkpoint_h)
        out[:, plain[plain >= 0]] += trees[:, plain >= 0]
        return self.calibration.slope(checkpoint_h)[:, None] * out

    def _half_width(self, raw: np.ndarray, blended: np.ndarray, checkpoint_h: np.ndarray) -> np.ndarray:
        """Half the 90 % interval of the log-odds: what the calibration leaves open, and how far the bag disagrees."""
        bag = raw.std(axis=1, ddof=1) if raw.shape[1] > 1 else np.zeros(len(raw))
        spread = 1.645 * self.calibration.slope(checkpoint_h) * self.blend.trees_slope * bag
        return np.hypot(self.calibration.half_width(blended, checkpoint_h), spread)

    def _files(self) -> dict[str, bytes]:
        head = {
            "process_id": self.process_id,
            "process_version": self.process_version,
            "training_sha256": self.training_sha256,
            "test_sha256": self.test_sha256,
            "members": len(self.model_texts),
            "inputs": list(self.inputs),
            "encoder": self.encoder.to_json(),
            "blend": self.blend.to_json(),
            "calibration": self.calibration.to_json(),
            "sets": self.sets.to_json(),
            "decision_sets": self.decision_sets.to_json(),
            "thresholds": self.thresholds.to_json(),
            "modes": [model.head() for model in self.modes],
            "few_cases": self.few_cases,
            "usual_ages": self.usual_ages,
        }
        if self.offsets.offsets:  # a predictor without any keeps the bytes of one made before there were offsets
            head["offsets"] = self.offsets.to_json()
        if len(self.from_h) > 1:
            head["from_h"] = list(self.from_h)
        if self.choice is not None:
            head["choice"] = self.choice.to_json()
        texts = {f"model.{i}.txt": text.encode() for i, text in enumerate(self.model_texts)}
        texts |= {f"mode.{i}.txt": model.model_text.encode() for i, model in enumerate(self.modes)}
        return texts | {
            "predictor.json": as_json(head),
            "evidence.json": as_json(self.evidence.to_json()),
            "sensors.json": as_json(self.sensors.to_json()),
            "applicability.json": as_json(self.applicability.to_json() if self.applicability else None),
            "features.json": as_json([asdict(feature) for feature in self.features]),
        }


@dataclass(frozen=True, eq=False)
class Assessment:
    """Scores of n rows.

    Attributes:
        log_odds: Calibrated, shape (n,).
        half_width: Half the 90 % interval of the log-odds, shape (n,).
        base_log_odds: Of a batch of which only the hour is known, shape (n,).
        contributions: Of every column of the matrix, shape (n, k); None where nobody asked.
        seen: The evidence, with the forecasts of the release attributes.
        inputs: What the trees saw, shape (n, inputs).
        faulty: Which sensors were hidden, booleans of shape (n, sensors).
    """

    log_odds: np.ndarray
    half_width: np.ndarray
    base_log_odds: np.ndarray
    contributions: np.ndarray | None
    seen: Seen
    inputs: np.ndarray
    faulty: np.ndarray

    @property
    def probability(self) -> np.ndarray:
        """Calibrated failure probability, shape (n,)."""
        return expit(self.log_odds)

    @property
    def interval(self) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper end of the 90 % interval of the probability, shape (n,) each."""
        return expit(self.log_odds - self.half_width), expit(self.log_odds + self.half_width)


def places_of(names: list[str] | tuple[str, ...], columns: list[str] | tuple[str, ...]) -> np.ndarray:
    """Place of each name among the columns, -1 where it is not there."""
    place = {name: i for i, name in enumerate(columns)}
    return np.array([place.get(name, -1) for name in names], int)


def mean_slope(base_log_odds: np.ndarray | float, log_odds: np.ndarray) -> np.ndarray:
    """(p - p0) / (logit p - logit p0): mean slope of the logistic curve between two points; p (1 - p) where they meet."""
    p0, p = expit(base_log_odds), expit(log_odds)
    change = log_odds - base_log_odds
    near = np.abs(change) < 1e-6
    middle = expit(base_log_odds + change / 2)
    return np.where(near, middle * (1 - middle), (p - p0) / np.where(near, 1.0, change))


def usual_ages(rows: pd.DataFrame, features: tuple[Feature, ...]) -> dict[str, dict[str, float]]:
    """How old the newest value of each parameter usually is at the most, per checkpoint, from the training rows.

    Asked between two checkpoints, a value may be older by the hours between them: these are added.
    """
    between_h = between_checkpoints(rows["checkpoint_h"])
    ages = {f.name: f.parameter for f in features if f.statistic == AGE and f.name in rows}
    usual = rows.groupby("checkpoint_h")[list(ages)].quantile(USUAL) if ages else pd.DataFrame()
    return {
        parameter: {f"{hours:g}": float(age) + between_h for hours, age in usual[name].dropna().items()}
        for name, parameter in ages.items()
    }

"""Models fitted on what was known at a moment, kept by the digest of all that went into them.

A replay that is interrupted finds the models it had made. A model is written beside its place and moved there whole.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from pandas.util import hash_pandas_object

from features.dictionary import Feature
from features.digests import features_digest, module_digests
from features.errors import StorageError
from models.backtest.history import Known
from models.cohort.follow_up import follow_up_weights
from models.cohort.splits import Seal, nothing_sealed, seal_test
from models.cohort.table import before_the_label
from models.learners.subgroup_offsets import subgroup_names
from models.policy import Policy
from models.predictor import Predictor
from models.scoring.assessment import assess_frame
from models.train import Trained, train

RATIO, GROUP = "ratio.", "group."  # before a check's name, and before that of a column that makes subgroups


@dataclass(frozen=True, eq=False)
class Fit:
    """A model before thresholds and calibration are set by the scores that were really given.

    Attributes:
        predictor: With the calibration and the thresholds of its own forward folds.
        out_of_fold: Scores of those folds: `batch_id`, `checkpoint_h`, `as_of`, `end_at`, `failed`, `log_odds`.
        folder: Where it is kept.
        seal: The test that it has not seen; without batches where prequential scores are the test.
    """

    predictor: Predictor
    out_of_fold: pd.DataFrame
    folder: Path
    seal: Seal

    def raw(self, rows: pd.DataFrame, features: tuple[Feature, ...]) -> pd.DataFrame:
        """Its own scores of rows, kept beside it: `batch_id`, `checkpoint_h`, `as_of`, `log_odds`, `learner`, ratios, groups."""
        return kept(self.folder, "raw", [rows], lambda: raw_scores(self.predictor, rows, features))

    def test_scores(self, known: Known) -> pd.DataFrame:
        """Its scores of the sealed test at the checkpoints: `batch_id`, `checkpoint_h`, `as_of`, `log_odds`, `failed`."""
        outcomes = known.outcomes.set_index("batch_id")
        rows = before_the_label(known.snapshots(pd.Index(self.seal.batch_ids)), known.log)
        found = self.raw(rows, known.history.features)
        return found.assign(failed=found["batch_id"].map(outcomes["failed"]).astype(bool))


class Fits:
    """Makes models, or finds those made before.

    Args:
        folder: Where models are kept.
        policy: What trains, and how.
        made: Called with the digest of a model after it was made.
    """

    def __init__(self, folder: Path, policy: Policy, *, made: Callable[[str], None] = lambda _: None) -> None:
        self._folder, self._policy, self._made = folder, policy, made

    def kept(self, name: str, inputs: Sequence[pd.DataFrame], make: Callable[[], pd.DataFrame]) -> pd.DataFrame:
        """`kept`, beside the models."""
        return kept(self._folder, name, inputs, make)

    def at(self, known: Known) -> Fit:
        """The model of what was known.

        Raises:
            TrainingError: Too few outcomes of either kind.
            StorageError: The stored model was changed after it was made.
        """
        weights = self.weights(known)
        key = self._key(known, weights)
        place = self._folder / key
        if not (place / "fit.json").exists():
            self._make(known, weights, place)
            self._made(key)
        return Fit(*_read(place), place, self._seal(known))

    def trained(self, known: Known, weights: pd.Series) -> Trained:
        """Fit, with everything that is to be reported of it."""
        process, ids = known.history.process, weights.index
        return train(
            process, known.snapshots(ids), known.history.features,
            known.batches[known.batches["batch_id"].isin(ids)], known.log,
            observations=known.observations, dispositions=known.dispositions, between=known.between(ids),
            seal=self._seal(known), plan=self._policy.plan(process),
            weights=weights, course=known.course(ids),
        )  # fmt: skip

    def weights(self, known: Known) -> pd.Series:
        """The batches that train, with their weights: those of the window whose follow-up is long enough."""
        window, outcomes = self._policy.window_outcomes, known.outcomes
        started = known.batches.set_index("batch_id")["started_at"]
        newest = outcomes if window is None else outcomes.tail(window)
        return follow_up_weights(newest, started, known.moment, self._policy.follow_up)

    def _seal(self, known: Known) -> Seal:
        process_id = known.history.process.id
        if self._policy.test == "prequential":
            return nothing_sealed(process_id, known.moment)
        failures = self._policy.test_failures if self._policy.test == "newest_failures" else None
        return seal_test(known.batches, known.log, process_id=process_id, failures=failures)

    def _make(self, known: Known, weights: pd.Series, place: Path) -> None:
        trained = self.trained(known, weights)
        place.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=".", dir=place.parent))
        try:
            trained.predictor.save(beside / "predictor")
            columns = ["batch_id", "checkpoint_h", "as_of", "end_at", "failed", "log_odds"]
            trained.out_of_fold[columns].to_parquet(beside / "out_of_fold.parquet", index=False)
            about = {
                "moment": known.moment.isoformat(),
                "batches": len(weights),
                "failed": int(trained.failed.sum()),
                "predictor": trained.predictor.sha256,
                "out_of_fold": _file_sha256(beside / "out_of_fold.parquet"),
            }
            (beside / "fit.json").write_text(json.dumps(about) + "\n", encoding="utf-8")
            if not place.exists():  # another process may have made it meanwhile: it is the same
                beside.rename(place)
        finally:
            shutil.rmtree(beside, ignore_errors=True)

    def _key(self, known: Known, weights: pd.Series) -> str:
        """Digest of the training data, the settings and the code."""
        history, ids = known.history, weights.index
        parts = [
            history.process.model_dump_json(exclude={"policy", "source", "failure_mode"}),
            json.dumps(asdict(self._policy.plan(history.process)), sort_keys=True),
            code_digest(), known.moment.isoformat(), self._seal(known).sha256,
            *(frame_sha256(frame) for frame in (
                known.snapshots(ids), known.between(ids), known.log,
                known.batches[known.batches["batch_id"].isin(ids)], weights.reset_index(),
                *(f for f in (known.observations, known.dispositions, known.course(ids)) if f is not None),
            )),
        ]  # fmt: skip
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:40]


def check_fit(place: Path) -> None:
    """Compare a stored model of a replay with the digests that were written with it.

    Raises:
        StorageError: A file is missing or was changed.
    """
    _read(place)


def _read(place: Path) -> tuple[Predictor, pd.DataFrame]:
    """Predictor and out-of-fold scores of a stored model, as they were when it was made."""
    stored = place / "out_of_fold.parquet"
    try:
        about = json.loads((place / "fit.json").read_text(encoding="utf-8"))
        if _file_sha256(stored) != about["out_of_fold"]:
            raise StorageError(f"{stored} was changed after it was written")
        return Predictor.load(place / "predictor", sha256=about["predictor"]), pd.read_parquet(stored)
    except StorageError as error:
        what = error.what
    except (OSError, ValueError, KeyError):
        what = f"model {place}: a file is missing or cannot be read"
    raise StorageError(what, remedy=f"Remove the folder {place}: the model is made again.")


def _file_sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def raw_scores(predictor: Predictor, rows: pd.DataFrame, features: tuple[Feature, ...]) -> pd.DataFrame:
    """Log-odds, the learner, ratios of the applicability checks and subgroups of rows, in their order."""
    parts = []
    start = 0
    for found in assess_frame(predictor, rows, features, contributions=False):
        own = rows.iloc[start : start + len(found.rows)][["batch_id", "checkpoint_h", "as_of"]]
        start += len(found.rows)
        ratios = pd.DataFrame([domain.ratios for domain in found.domains or ()]).add_prefix(RATIO)
        groups = {GROUP + name: names for name, names in subgroup_names(found.X, predictor.encoder).items()}
        part = own.reset_index(drop=True).assign(
            log_odds=found.assessment.log_odds, learner=predictor.learner, **groups
        )
        parts.append(pd.concat([part, ratios], axis=1))
    return pd.concat(parts, ignore_index=True)


def frame_sha256(frame: pd.DataFrame) -> str:
    """SHA-256 of a frame's columns and rows, in their order."""
    digest = hashlib.sha256("\n".join(map(str, frame.columns)).encode())
    if len(frame):
        digest.update(np.asarray(hash_pandas_object(frame, index=False)).tobytes())  # ty: ignore[not-callable]
    return digest.hexdigest()


@cache
def code_digest() -> str:
    """Digest of the code that makes features and models; what only words or draws them does not count."""
    modules = module_digests(Path(__file__).parents[1])
    own = {name: digest for name, digest in modules.items() if not name.startswith(("report/", "explain/"))}
    return hashlib.sha256(f"{features_digest()}\n{json.dumps(own, sort_keys=True)}".encode()).hexdigest()


def kept(folder: Path, name: str, inputs: Sequence[pd.DataFrame], make: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    """A frame that is made once from its inputs and read from then on.

    Args:
        folder: Where it is kept; it is written beside its place and moved there whole.
        name: What it is.
        inputs: What it is made from; other ones have another file.
        make: Makes it.

    Raises:
        StorageError: The stored frame is damaged.
    """
    digest = hashlib.sha256("".join(frame_sha256(frame) for frame in inputs).encode()).hexdigest()
    path = folder / f"{name}-{digest[:32]}.parquet"
    if not path.exists():
        beside = path.with_name(f".{path.name}.{os.getpid()}")
        make().to_parquet(beside, index=False)
        beside.replace(path)
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError):  # pyarrow's own errors are among them
        raise StorageError(f"{path} cannot be read", remedy="Remove the file: it is made again.") from None

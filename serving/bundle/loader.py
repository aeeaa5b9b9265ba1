"""Loads the serving model: the release that the records call effective, once it passes every check."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from features.errors import BatchguardError
from models.predictor import Predictor
from serving.bundle.bundle import PREDICTOR, Bundle
from serving.bundle.canary import run_canary
from serving.bundle.manifest import BundleError
from serving.bundle.store import BundleStore
from serving.ids import now_us, steady_us
from serving.interfaces import EngineError
from serving.release.history import EffectiveRelease
from serving.release.site_keys import TrustedKeys

RETRY_US = 600_000_000  # after a failed canary: the machine may have been busy


@dataclass(frozen=True)
class ServingModel:
    """A model in use.

    Attributes:
        bundle: The verified bundle.
        predictor: The predictor from the verified bytes.
        stale_since_us: Since when the effective release cannot be used, microseconds UTC; None: this is the effective one.
        stale_because: The reason; empty if this is the effective one.
    """

    bundle: Bundle
    predictor: Predictor
    stale_since_us: int | None = None
    stale_because: str = ""


class BundleLoader:
    """Follows what the records call effective. While it runs, the former release serves on where the new one fails a check.

    Args:
        store: The bundles.
        effective: The effective release, by the records.
        trusted: The public keys that are trusted now.
        clock: Microseconds UTC.
        canary: Tests a bundle; raises `BundleError` if it fails.
        steady: Microseconds since an arbitrary moment; the wait before another try is measured by it.
    """

    def __init__(
        self,
        store: BundleStore,
        effective: Callable[[], EffectiveRelease | None],
        trusted: Callable[[], tuple[TrustedKeys, ...]],
        *,
        clock: Callable[[], int] = now_us,
        canary: Callable[[Bundle], None] = run_canary,
        steady: Callable[[], int] = steady_us,
    ) -> None:
        self._store, self._effective, self._trusted = store, effective, trusted
        self._clock, self._canary, self._steady = clock, canary, steady
        self._serving_model: ServingModel | None = None
        self._refused: dict[str, tuple[str, int]] = {}
        self._lock = threading.Lock()

    def serving_model(self) -> ServingModel:
        """The model in use.

        Raises:
            EngineError: None could be loaded yet.
        """
        if self._serving_model is None:
            raise EngineError("no model can be served", remedy="Look at 'batchguard release status', and read the log.")
        return self._serving_model

    def refresh(self) -> ServingModel:
        """Use the effective release if it passes every check, else the model in use.

        Raises:
            EngineError: There is none, or it cannot be used and no model is in use.
            RecordsUnavailableError: The records cannot be read now.
        """
        with self._lock:
            release = self._effective()
            in_use = self._serving_model
            try:
                if release is None:
                    raise BundleError(
                        "no release is effective",
                        remedy="Release a version: 'batchguard release submit', approve, make-effective.",
                    )
                if in_use is not None and release.release_id == in_use.bundle.sha256:
                    self._serving_model = replace(in_use, stale_since_us=None, stale_because="")
                else:
                    self._serving_model = self._checked(release)
            except BatchguardError as error:
                if in_use is None:
                    raise EngineError(f"no model can be served: {error}") from None
                since = self._clock() if in_use.stale_since_us is None else in_use.stale_since_us
                self._serving_model = replace(in_use, stale_since_us=since, stale_because=str(error))
            return self.serving_model()

    def _checked(self, release: EffectiveRelease) -> ServingModel:
        """A model that passed every check; a bundle that was refused within `RETRY_US` is not tried again."""
        sha256 = release.release_id
        because, since_us = self._refused.get(sha256, ("", 0))
        if because and self._steady() - since_us < RETRY_US:
            raise BundleError(because)
        bundle = self._store.sealed(sha256, release.envelope, self._trusted())
        try:
            bundle.check_software()
            self._canary(bundle)
            return ServingModel(bundle, load_predictor(bundle))
        except OSError as error:  # of the disk, not of the bundle
            raise BundleError(f"bundle {sha256[:12]} cannot be tried out: {error.strerror}") from None
        except BatchguardError as error:  # complete and sealed, but unfit
            self._refused[sha256] = str(error), self._steady()
            raise


def load_predictor(bundle: Bundle) -> Predictor:
    """The predictor from the verified bytes, through a folder that only this user can write."""
    with tempfile.TemporaryDirectory() as name:
        bundle.write_predictor(Path(name))
        predictor = Predictor.load(Path(name) / PREDICTOR, sha256=bundle.manifest.model_sha256)
    if predictor.process_id != bundle.manifest.process_id:
        raise BundleError(f"bundle {bundle.sha256[:12]} holds a predictor of {predictor.process_id!r}")
    return predictor

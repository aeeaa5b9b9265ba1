"""Loads the serving model: the newest release that passes every check, or the last one that did."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypedDict

import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from features.digests import features_digest
from features.errors import BatchguardError
from models.predictor import Predictor
from serving.bundle.bundle import PREDICTOR, Bundle
from serving.bundle.canary import run_canary
from serving.bundle.files import replace_file
from serving.bundle.manifest import BundleError
from serving.bundle.store import BundleStore
from serving.ids import now_us
from serving.interfaces import EngineError

ACCEPTED = "accepted.json"
RETRY_US = 600_000_000  # after a failed canary: the machine may have been busy


class Accepted(TypedDict):
    """The release that was used last, as `accepted.json` holds it."""

    sha256: str
    released_us: int


@dataclass(frozen=True)
class ServingModel:
    """A model in use.

    Attributes:
        bundle: The verified bundle.
        predictor: The predictor from the verified bytes.
        stale_since_us: Since when a newer release cannot be used, microseconds UTC; None: this is the newest.
        stale_because: The reason; empty if this is the newest.
    """

    bundle: Bundle
    predictor: Predictor
    stale_since_us: int | None = None
    stale_because: str = ""


class BundleLoader:
    """Follows the pointer of a folder of bundles, but never back to a release older than one that it used.

    Args:
        store: The bundles.
        trusted: Public keys whose signatures are trusted.
        clock: Microseconds UTC.
        canary: Tests a bundle; raises `BundleError` if it fails.
    """

    def __init__(
        self,
        store: BundleStore,
        trusted: tuple[Ed25519PublicKey, ...],
        *,
        clock: Callable[[], int] = now_us,
        canary: Callable[[Bundle], None] = run_canary,
    ) -> None:
        self._store, self._trusted, self._clock, self._canary = store, trusted, clock, canary
        self._serving_model: ServingModel | None = None
        self._refused: dict[str, tuple[str, int]] = {}
        self._newest_us = 0
        self._lock = threading.Lock()

    def trust(self, trusted: tuple[Ed25519PublicKey, ...]) -> None:
        """Trust these keys from now on; the model in use stays."""
        self._trusted = trusted

    def serving_model(self) -> ServingModel:
        """The model in use.

        Raises:
            EngineError: None could be loaded yet.
        """
        if self._serving_model is None:
            raise EngineError("no model can be served", remedy="Run 'batchguard bundle VERSION', and read the log.")
        return self._serving_model

    def refresh(self) -> ServingModel:
        """Use the newest release if it passes every check, else the model in use or the one that was used last.

        Raises:
            EngineError: None of them can be used.
        """
        with self._lock:
            try:
                newest = self._store.pointed()
                if self._serving_model is not None and newest == self._serving_model.bundle.sha256:
                    self._serving_model = replace(self._serving_model, stale_since_us=None, stale_because="")
                    return self._serving_model
                self._use(self._checked(newest))
            except BatchguardError as error:
                self._fall_back(str(error))
            return self.serving_model()

    def _use(self, serving_model: ServingModel) -> None:
        """Note a release as used, then use it: without the note, an older release could follow it."""
        manifest = serving_model.bundle.manifest
        accepted: Accepted = {"sha256": serving_model.bundle.sha256, "released_us": manifest.released_us}
        if self._accepted() != accepted:
            try:
                replace_file(self._store.root / ACCEPTED, orjson.dumps(accepted) + b"\n")
            except OSError as error:
                raise BundleError(
                    f"bundle {serving_model.bundle.sha256[:12]} cannot be noted as used: {error.strerror}",
                    remedy="Make room in the folder of bundles.",
                ) from None
        self._newest_us = manifest.released_us
        self._serving_model = serving_model

    def _checked(self, sha256: str) -> ServingModel:
        """A model that passed every check; a bundle that was refused within `RETRY_US` is not tried again."""
        because, since_us = self._refused.get(sha256, ("", 0))
        if because and self._clock() - since_us < RETRY_US:
            raise BundleError(because)
        bundle = self._store.read(sha256, self._trusted)
        try:
            self._check_release(bundle)
            self._canary(bundle)
            return ServingModel(bundle, load_predictor(bundle))
        except OSError as error:  # of the disk, not of the bundle
            raise BundleError(f"bundle {sha256[:12]} cannot be tried out: {error.strerror}") from None
        except BatchguardError as error:  # complete and signed, but unfit
            self._refused[sha256] = str(error), self._clock()
            raise

    def _check_release(self, bundle: Bundle) -> None:
        manifest, short = bundle.manifest, bundle.sha256[:12]
        accepted = self._accepted()
        if manifest.released_us < max(self._newest_us, accepted["released_us"] if accepted else 0):
            raise BundleError(
                f"bundle {short} was released before the one that was used last",
                remedy="To go back to an earlier version, export it again.",
            )
        if manifest.features_sha256 != features_digest():
            raise BundleError(
                f"bundle {short} was made with other feature code",
                remedy="Export the version again with this software.",
            )
        if bundle.process.id != manifest.process_id:
            raise BundleError(f"bundle {short} has the process definition of {bundle.process.id!r}")

    def _fall_back(self, because: str) -> None:
        """Keep the model in use, or at a start load the one that was used last."""
        if self._serving_model is None:
            last = self._accepted()
            try:
                serving_model = self._checked(last["sha256"]) if last else None
            except BatchguardError:
                serving_model = None
            if serving_model is None:
                raise EngineError(f"no model can be served: {because}") from None
            self._use(serving_model)
        serving_model = self.serving_model()
        since = self._clock() if serving_model.stale_since_us is None else serving_model.stale_since_us
        self._serving_model = replace(serving_model, stale_since_us=since, stale_because=because)

    def _accepted(self) -> Accepted | None:
        """The release that was used last; None if that is not known."""
        try:
            found = orjson.loads((self._store.root / ACCEPTED).read_bytes())
            return {"sha256": str(found["sha256"]), "released_us": int(found["released_us"])}
        except (OSError, ValueError, KeyError, TypeError):
            return None


def load_predictor(bundle: Bundle) -> Predictor:
    """The predictor from the verified bytes, through a folder that only this user can write."""
    with tempfile.TemporaryDirectory() as name:
        bundle.write_predictor(Path(name))
        predictor = Predictor.load(Path(name) / PREDICTOR, sha256=bundle.manifest.model_sha256)
    if predictor.process_id != bundle.manifest.process_id:
        raise BundleError(f"bundle {bundle.sha256[:12]} holds a predictor of {predictor.process_id!r}")
    return predictor

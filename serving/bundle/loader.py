"""The model that speaks: the newest release that passes every check, or the last one that did."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

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
from serving.interfaces import EngineError

ACCEPTED = "accepted.json"
RETRY_US = (
    600_000_000  # a release that failed its canary is tried again after ten minutes: the machine may have been busy
)


@dataclass(frozen=True)
class ServingModel:
    """A model in use.

    Attributes:
        bundle: Its verified bundle.
        predictor: Loaded from the verified bytes.
        stale_since_us: Since when a newer release cannot be used; None: this is the newest.
        stale_because: Why not.
    """

    bundle: Bundle
    predictor: Predictor
    stale_since_us: int | None = None
    stale_because: str = ""


class BundleLoader:
    """Follows the pointer of a folder of bundles, and never back to a release older than one that it used.

    Args:
        store: The bundles.
        trusted: Keys whose signature counts.
        clock: Now, in microseconds UTC.
        canary: Tries a bundle out; raises `BundleError` where it fails.
    """

    def __init__(
        self,
        store: BundleStore,
        trusted: tuple[Ed25519PublicKey, ...],
        *,
        clock: Callable[[], int] = lambda: time.time_ns() // 1000,
        canary: Callable[[Bundle], None] = run_canary,
    ) -> None:
        self._store, self._trusted, self._clock, self._canary = store, trusted, clock, canary
        self._serving_model: ServingModel | None = None
        self._refused: dict[str, tuple[str, int]] = {}
        self._newest_us = 0
        self._lock = threading.Lock()

    def trust(self, trusted: tuple[Ed25519PublicKey, ...]) -> None:
        """Let these keys count from now on; the model in use stays."""
        self._trusted = trusted

    def serving_model(self) -> ServingModel:
        """The model in use; it costs nothing to ask.

        Raises:
            EngineError: None could be loaded yet.
        """
        serving_model = self._serving_model
        if serving_model is None:
            raise EngineError("no model can speak", remedy="Run 'batchguard bundle VERSION', and look at the log.")
        return serving_model

    def refresh(self) -> ServingModel:
        """Look whether there is a newer release, and use it if it passes every check.

        Raises:
            EngineError: It does not, and no earlier one does either.
        """
        with self._lock:
            try:
                wanted = self._store.pointed()
                if self._serving_model is not None and wanted == self._serving_model.bundle.sha256:
                    self._serving_model = replace(self._serving_model, stale_since_us=None, stale_because="")
                    return self._serving_model
                self._use(self._checked(wanted))
            except BatchguardError as error:
                self._fall_back(str(error))
            return self.serving_model()

    def _use(self, serving_model: ServingModel) -> None:
        """Note a release as used, then let it speak: what cannot be noted could be followed by an older one."""
        manifest = serving_model.bundle.manifest
        accepted = {"sha256": serving_model.bundle.sha256, "released_us": manifest.released_us}
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
        """A bundle that may speak; one that was refused just now is not tried again."""
        because, since_us = self._refused.get(sha256, ("", 0))
        if because and self._clock() - since_us < RETRY_US:
            raise BundleError(because)
        bundle = self._store.read(sha256, self._trusted)
        try:
            self._may_follow(bundle)
            self._canary(bundle)
            return ServingModel(bundle, load_predictor(bundle))
        except OSError as error:  # of the disk it is tried out on: nothing is known against the bundle
            raise BundleError(f"bundle {sha256[:12]} cannot be tried out: {error.strerror}") from None
        except BatchguardError as error:  # whole and signed, and still not fit
            self._refused[sha256] = str(error), self._clock()
            raise

    def _may_follow(self, bundle: Bundle) -> None:
        manifest, short = bundle.manifest, bundle.sha256[:12]
        newest = max(self._newest_us, self._accepted().get("released_us", 0))
        if manifest.released_us < newest:
            raise BundleError(
                f"bundle {short} was released before the one that was used last",
                remedy="To go back to an earlier version, export it again: that is a release, too.",
            )
        if manifest.features_sha256 != features_digest():
            raise BundleError(
                f"bundle {short} was made with other feature code",
                remedy="Export the version again with this software.",
            )
        if bundle.process.id != manifest.process_id:
            raise BundleError(f"bundle {short} has the process definition of {bundle.process.id!r}")

    def _fall_back(self, because: str) -> None:
        """Go on with the model in use, or at a start with the one that was used last."""
        if self._serving_model is None:
            last = self._accepted().get("sha256")
            try:
                serving_model = self._checked(last) if last else None
            except BatchguardError:
                serving_model = None
            if serving_model is None:
                raise EngineError(f"no model can speak: {because}") from None
            self._use(serving_model)
        serving_model = self.serving_model()
        since = self._clock() if serving_model.stale_since_us is None else serving_model.stale_since_us
        self._serving_model = replace(serving_model, stale_since_us=since, stale_because=because)

    def _accepted(self) -> dict[str, Any]:
        """The release that was used last, empty where that is not known."""
        try:
            found = orjson.loads((self._store.root / ACCEPTED).read_bytes())
            return {"sha256": str(found["sha256"]), "released_us": int(found["released_us"])}
        except (OSError, ValueError, KeyError, TypeError):
            return {}


def load_predictor(bundle: Bundle) -> Predictor:
    """The predictor from the verified bytes, by way of a folder that nobody else can write."""
    with tempfile.TemporaryDirectory() as name:
        bundle.write_predictor(Path(name))
        predictor = Predictor.load(Path(name) / PREDICTOR, sha256=bundle.manifest.model_sha256)
    if predictor.process_id != bundle.manifest.process_id:
        raise BundleError(f"bundle {bundle.sha256[:12]} holds a predictor of {predictor.process_id!r}")
    return predictor

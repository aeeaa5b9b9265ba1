"""The model that speaks: the newest release that passes every check, or the last one that did."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from features.errors import BatchguardError
from models.predictor import Predictor
from serving.bundle.bundle import PREDICTOR, Bundle
from serving.bundle.canary import sing
from serving.bundle.digests import features_digest
from serving.bundle.files import replace_file
from serving.bundle.manifest import BundleError
from serving.bundle.store import BundleStore
from serving.seam import EngineError

ACCEPTED = "accepted.json"


@dataclass(frozen=True)
class Speaking:
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


class Keeper:
    """Follows the pointer of a folder of bundles.

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
        canary: Callable[[Bundle], None] = sing,
    ) -> None:
        self._store, self._trusted, self._clock, self._canary = store, trusted, clock, canary
        self._speaking: Speaking | None = None
        self._refused: dict[str, str] = {}
        self._newest_us = 0
        self._process_sha256: str | None = None
        self._lock = threading.Lock()

    def speaking(self) -> Speaking:
        """The model in use; it costs nothing to ask.

        Raises:
            EngineError: None could be loaded yet.
        """
        speaking = self._speaking
        if speaking is None:
            raise EngineError("no model can speak", remedy="Run 'batchguard bundle VERSION', and look at the log.")
        return speaking

    def trust(self, trusted: tuple[Ed25519PublicKey, ...]) -> None:
        """Let other keys' signatures count from now on."""
        self._trusted = trusted

    def refresh(self) -> Speaking:
        """Look whether there is a newer release, and use it if it passes every check.

        Raises:
            EngineError: It does not, and no earlier one does either.
        """
        with self._lock:
            try:
                wanted = self._store.pointed()
                if self._speaking is not None and wanted == self._speaking.bundle.sha256:
                    self._speaking = replace(self._speaking, stale_since_us=None, stale_because="")
                    return self._speaking
                self._use(self._checked(wanted))
            except BatchguardError as error:
                self._fall_back(str(error))
            return self.speaking()

    def _use(self, speaking: Speaking) -> None:
        manifest = speaking.bundle.manifest
        self._newest_us, self._process_sha256 = manifest.released_us, manifest.process_sha256
        accepted = {"sha256": speaking.bundle.sha256, "released_us": manifest.released_us}
        self._speaking = speaking
        replace_file(self._store.root / ACCEPTED, orjson.dumps(accepted) + b"\n")

    def _checked(self, sha256: str) -> Speaking:
        """A bundle that may speak; one that was refused before stays refused, its bytes cannot have changed for good."""
        if sha256 in self._refused:
            raise BundleError(self._refused[sha256])
        bundle = self._store.read(sha256, self._trusted)
        try:
            self._may_follow(bundle)
            self._canary(bundle)
            return Speaking(bundle, load_predictor(bundle))
        except BatchguardError as error:  # whole and signed, and still not fit: to try again would change nothing
            self._refused[sha256] = str(error)
            raise

    def _may_follow(self, bundle: Bundle) -> None:
        manifest, short = bundle.manifest, bundle.sha256[:12]
        newest = max(self._newest_us, int(self._accepted().get("released_us", 0)))
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
        if self._process_sha256 not in (None, manifest.process_sha256):
            raise BundleError(
                f"bundle {short} has another process definition than the rows that are held were judged by",
                remedy="Restart the endpoint to use it; until then the former release speaks, stamped stale_model.",
            )
        if bundle.process.id != manifest.process_id:
            raise BundleError(f"bundle {short} has the process definition of {bundle.process.id!r}")

    def _fall_back(self, because: str) -> None:
        """Go on with the model in use, or at a start with the one that was used last."""
        if self._speaking is None:
            last = self._accepted().get("sha256")
            try:
                speaking = self._checked(str(last)) if last else None
            except BatchguardError:
                speaking = None
            if speaking is None:
                raise EngineError(f"no model can speak: {because}") from None
            self._use(speaking)
        speaking = self.speaking()
        since = self._clock() if speaking.stale_since_us is None else speaking.stale_since_us
        self._speaking = replace(speaking, stale_since_us=since, stale_because=because)

    def _accepted(self) -> dict:
        try:
            return orjson.loads((self._store.root / ACCEPTED).read_bytes())
        except (OSError, orjson.JSONDecodeError):
            return {}


def load_predictor(bundle: Bundle) -> Predictor:
    """The predictor from the verified bytes, by way of a folder that nobody else can write."""
    with tempfile.TemporaryDirectory() as name:
        bundle.write_predictor(Path(name))
        predictor = Predictor.load(Path(name) / PREDICTOR, sha256=bundle.manifest.model_sha256)
    if predictor.process_id != bundle.manifest.process_id:
        raise BundleError(f"bundle {bundle.sha256[:12]} holds a predictor of {predictor.process_id!r}")
    return predictor

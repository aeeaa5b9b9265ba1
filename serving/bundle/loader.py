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
from serving.bundle.files import read_plain_file, replace_file
from serving.bundle.manifest import BundleError
from serving.bundle.store import AHEAD_US, BundleStore
from serving.ids import iso, now_us, steady_us
from serving.interfaces import EngineError

ACCEPTED = "accepted.json"
RETRY_US = 600_000_000  # after a failed canary: the machine may have been busy
_FORMER = 1_000  # releases that are remembered as replaced


class Accepted(TypedDict):
    """The release that was used last, and those that were used before it, as `accepted.json` holds them."""

    sha256: str
    released_us: int
    former: list[str]


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
    """Follows the pointer of a folder of bundles, but never back to a release that it replaced, or to an older one.

    A time of release counts only up to the present: one that is signed ahead of time is not used, and one that was used
    (the clock was ahead, or is behind now) blocks no later one.

    Args:
        store: The bundles.
        trusted: Public keys whose signatures are trusted.
        clock: Microseconds UTC.
        canary: Tests a bundle; raises `BundleError` if it fails.
        steady: Microseconds since an arbitrary moment; the wait before another try is measured by it.
    """

    def __init__(
        self,
        store: BundleStore,
        trusted: tuple[Ed25519PublicKey, ...],
        *,
        clock: Callable[[], int] = now_us,
        canary: Callable[[Bundle], None] = run_canary,
        steady: Callable[[], int] = steady_us,
    ) -> None:
        self._store, self._trusted, self._clock, self._canary = store, trusted, clock, canary
        self._steady = steady
        self._serving_model: ServingModel | None = None
        self._refused: dict[str, tuple[str, int]] = {}
        self._last: Accepted | None = None  # what `accepted.json` holds, if that is lost
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
        sha256, before = serving_model.bundle.sha256, self._accepted()
        former = [] if before is None else [f for f in (*before["former"], before["sha256"]) if f != sha256]
        released_us = serving_model.bundle.manifest.released_us
        accepted: Accepted = {"sha256": sha256, "released_us": released_us, "former": former[-_FORMER:]}
        if before != accepted:
            try:
                replace_file(self._store.root / ACCEPTED, orjson.dumps(accepted) + b"\n")
            except OSError as error:
                raise BundleError(
                    f"bundle {sha256[:12]} cannot be noted as used: {error.strerror}",
                    remedy="Make room in the folder of bundles.",
                ) from None
        self._last, self._serving_model = accepted, serving_model

    def _checked(self, sha256: str) -> ServingModel:
        """A model that passed every check; a bundle that was refused within `RETRY_US` is not tried again."""
        because, since_us = self._refused.get(sha256, ("", 0))
        if because and self._steady() - since_us < RETRY_US:
            raise BundleError(because)
        bundle = self._store.read(sha256, self._trusted)
        try:
            self._check_release(bundle)
            self._canary(bundle)
            return ServingModel(bundle, load_predictor(bundle))
        except OSError as error:  # of the disk, not of the bundle
            raise BundleError(f"bundle {sha256[:12]} cannot be tried out: {error.strerror}") from None
        except BatchguardError as error:  # complete and signed, but unfit
            self._refused[sha256] = str(error), self._steady()
            raise

    def _check_release(self, bundle: Bundle) -> None:
        manifest, short = bundle.manifest, bundle.sha256[:12]
        self._check_order(bundle)
        if manifest.features_sha256 != features_digest():
            raise BundleError(
                f"bundle {short} was made with other feature code",
                remedy="Export the version again with this software.",
            )
        if bundle.process.id != manifest.process_id:
            raise BundleError(f"bundle {short} has the process definition of {bundle.process.id!r}")

    def _check_order(self, bundle: Bundle) -> None:
        """Check that a release follows the one that was used last, and is not signed ahead of time."""
        accepted, latest_us = self._accepted(), self._clock() + AHEAD_US
        if accepted is not None and accepted["sha256"] == bundle.sha256:
            return
        released_us, short = bundle.manifest.released_us, bundle.sha256[:12]
        if released_us > latest_us:
            raise BundleError(
                f"bundle {short} is signed for {iso(released_us)}, which lies ahead",
                expected=f"a time up to {iso(latest_us)}",
                remedy="Compare the clocks of the two machines, and export the version again.",
            )
        last_us = 0 if accepted is None or accepted["released_us"] > latest_us else accepted["released_us"]
        if released_us < last_us or (accepted is not None and bundle.sha256 in accepted["former"]):
            raise BundleError(
                f"bundle {short} was released before the one that was used last",
                remedy="To go back to an earlier version, export it again.",
            )

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
            found = orjson.loads(read_plain_file(self._store.root / ACCEPTED, most_bytes=1 << 20))
            former = [str(sha256) for sha256 in found.get("former", ())]  # earlier software notes none
            noted: Accepted = {
                "sha256": str(found["sha256"]),
                "released_us": int(found["released_us"]),
                "former": former,
            }
        except (OSError, BundleError, ValueError, KeyError, TypeError, AttributeError):
            return self._last
        return noted if self._last is None else _later(self._last, noted)


def _later(held: Accepted, noted: Accepted) -> Accepted:
    """Which of two came later: the folder may be restored from a backup, or another endpoint may share it."""
    if noted["sha256"] in held["former"]:
        return held
    if held["sha256"] in noted["former"]:
        return noted
    return noted if noted["released_us"] > held["released_us"] else held


def load_predictor(bundle: Bundle) -> Predictor:
    """The predictor from the verified bytes, through a folder that only this user can write."""
    with tempfile.TemporaryDirectory() as name:
        bundle.write_predictor(Path(name))
        predictor = Predictor.load(Path(name) / PREDICTOR, sha256=bundle.manifest.model_sha256)
    if predictor.process_id != bundle.manifest.process_id:
        raise BundleError(f"bundle {bundle.sha256[:12]} holds a predictor of {predictor.process_id!r}")
    return predictor

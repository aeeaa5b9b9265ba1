"""Which model speaks, and which one spoke: engines over signed bundles, and a watch for the next release.

A newer release is a new engine, made and filled beside the one that speaks, and put in its place at once: no score is
ever half of the one and half of the other.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import structlog

from features.digests import features_digest
from features.errors import BatchguardError
from serving.bundle.bundle import Bundle
from serving.bundle.canary import run_canary
from serving.bundle.digests import code_digest
from serving.bundle.loader import BundleLoader, ServingModel, load_predictor
from serving.bundle.manifest import BundleError, trusted_keys
from serving.bundle.store import BundleStore
from serving.engine import LiveEngine
from serving.ids import now_us
from serving.interfaces import Engine, EngineError
from serving.live.batches import NEVER, EvictionPolicy
from serving.service.engine_cache import EngineCache

KEYS = "keys"  # folder of the trusted public keys in a data directory
_SAME = ("sha256", "name", "version", "review", "process_sha256", "features_sha256")  # what a score says of a release
_EARLIER = 2  # models of earlier scores that are kept loaded
_log = structlog.get_logger("batchguard.models")


class ModelReleases:
    """Bundles of a folder, by keys of another.

    What speaks is held in memory. Once it does, an engine that has to be made again needs neither the folder nor the
    disk, and nothing that happens to the folder brings back a release older than one that spoke.

    Args:
        root: Folder of bundles.
        keys: Folder of the public keys whose signature counts.
        forgetting: When an engine's batches give up their readings and events.
    """

    def __init__(self, root: Path, keys: Path, eviction: EvictionPolicy = NEVER) -> None:
        self.store, self._keys, self._eviction = BundleStore(root), keys, eviction
        self._loader = BundleLoader(self.store, ())
        self._serving_model: ServingModel | None = None
        self._earlier: dict[str, ServingModel] = {}
        self._one_at_a_time = threading.Lock()  # of several that ask about earlier scores
        self._stale_us: int | None = None
        self._because = ""

    def make(self, model: Mapping[str, Any] | None) -> Engine:
        """An empty engine over the release that speaks, or over the one that a score names.

        Raises:
            EngineError: There is none that may speak.
        """
        try:
            if model is None:
                return self._engine(self._serving_model or self._first())
            return self._engine(self._named(model))
        except EngineError:
            raise
        except (BatchguardError, OSError) as error:
            raise EngineError(str(error)) from error

    def stale_since_us(self) -> int | None:
        """Since when a newer release cannot be used; None: the newest one speaks."""
        return self._stale_us

    def stale_because(self) -> str:
        """Why it cannot be used, and what to do; empty: the newest one speaks."""
        return self._because

    def look(self, engine_cache: EngineCache) -> None:
        """Look for a newer release, and let it speak if it passes every check and the rows in memory can follow it."""
        try:
            if self._serving_model is None:
                return  # the first score finds out
            if self.store.pointed() != self._serving_model.bundle.sha256:
                found = self._newest()
                if found.bundle.sha256 == self._serving_model.bundle.sha256:
                    raise BundleError(found.stale_because)
                engine_cache.renew(self._engine(found), lambda: self._took(found))
                _log.info("a newer model speaks", bundle=found.bundle.sha256)
            self._stale_us, self._because = None, ""
        except Exception as error:  # whatever it is: the release that speaks goes on, and a later look may succeed
            self._stale_us = now_us() if self._stale_us is None else self._stale_us
            self._told(str(error) if isinstance(error, BatchguardError) else type(error).__name__)

    def _took(self, found: ServingModel) -> None:
        """An engine that has to be made again from here on is one of this release."""
        self._serving_model = found

    def _first(self) -> ServingModel:
        self._serving_model = found = self._newest()
        self._stale_us = found.stale_since_us
        self._told(found.stale_because)
        return found

    def _newest(self) -> ServingModel:
        self._loader.trust(trusted_keys(self._keys))
        return self._loader.refresh()

    def _engine(self, serving_model: ServingModel) -> LiveEngine:
        return LiveEngine(serving_model, self._eviction)

    def _told(self, because: str) -> None:
        """One line in the log for each reason, not one for each look."""
        if because and because != self._because:
            _log.error("a newer release cannot be used, the former one speaks", because=because)
        self._because = because

    def _named(self, model: Mapping[str, Any]) -> ServingModel:
        """The release that a score names: the one that speaks, one that was asked for before, or one from the folder."""
        wanted = {name: model[name] for name in _SAME}
        with self._one_at_a_time:
            known_ones = (self._serving_model, *self._earlier.values())
        for known in known_ones:
            if known is not None and _said_of(known.bundle) == wanted:
                return known
        bundle = self._find(wanted)
        run_canary(bundle)  # loaded in a child process first, as any other
        found = ServingModel(bundle, load_predictor(bundle))
        with self._one_at_a_time:
            self._earlier[bundle.sha256] = found
            while len(self._earlier) > _EARLIER:
                self._earlier.pop(next(iter(self._earlier)))
        return found

    def _find(self, wanted: Mapping[str, Any]) -> Bundle:
        """The bundle of a release, to be run by the feature code that it was released with."""
        trusted = trusted_keys(self._keys)
        if wanted["features_sha256"] != features_digest():
            raise EngineError(
                f"model {wanted['sha256'][:12]} spoke with other feature code",
                remedy="Use the version of batchguard that scored with it.",
            )
        for folder in sorted(self.store.root.glob("?" * 64)):
            try:
                bundle = self.store.read(folder.name, trusted)
            except BundleError:
                continue  # a damaged one speaks for nobody
            if _said_of(bundle) == wanted:
                return bundle
        raise EngineError(f"no bundle holds model {wanted['sha256'][:12]}", remedy="Restore the folder of bundles.")


def _said_of(bundle: Bundle) -> dict[str, str]:
    manifest = bundle.manifest
    said = (manifest.model_sha256, manifest.name, manifest.version, manifest.review, manifest.process_sha256,
            manifest.features_sha256)  # fmt: skip
    return dict(zip(_SAME, said, strict=True))


class ReleaseWatcher:
    """Lets the newest release speak as soon as the process runs, looks for newer ones, and tidies up, in a thread of its own.

    Args:
        models: The bundles.
        engine_cache: Holds the engine that speaks.
        every_s: Seconds between two looks.
        tidy: Removes a few of what need not be kept; how many.
    """

    def __init__(
        self,
        models: ModelReleases,
        engine_cache: EngineCache,
        every_s: float = 5.0,
        *,
        tidy: Callable[[], int] = lambda: 0,
    ) -> None:
        self._models, self._engine_cache, self._every_s, self._tidy = models, engine_cache, every_s, tidy
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin."""
        self._thread = threading.Thread(target=self._run, name="models", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=10)

    def _run(self) -> None:
        code_digest()  # parses all modules once, about a second: the first score does not wait for it
        with contextlib.suppress(BatchguardError), self._engine_cache.reading():
            pass  # loaded before the first request has to wait for it; what is wrong, the request is told
        while not self._stop.wait(self._every_s):
            self._models.look(self._engine_cache)
            try:
                self._tidy()
            except Exception as error:  # a watch that dies would never see the next release
                _log.warning("tidying up waits", kind=type(error).__name__)

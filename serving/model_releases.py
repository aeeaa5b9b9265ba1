"""The serving model and the models of earlier scores: engines over signed bundles, and a watcher for newer releases.

A newer release gets an engine of its own, filled beside the serving one and put in its place at once: every score is made
by one model.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

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
from serving.service.engine_cache import EngineCache, Staleness

KEYS = "keys"  # folder of the trusted public keys in a data directory
_IDENTITY = ("name", "version", "review", "process_sha256", "features_sha256")  # of a release, beside its digest
_CACHED = 2  # models of earlier scores that stay loaded
_log = structlog.get_logger("batchguard.models")


class ModelReleases:
    """Bundles of one folder that are signed by a key of another.

    The serving model stays in memory. A new engine over it needs neither the folder nor the disk, and no change of the
    folder brings back a release older than the serving model.

    Args:
        root: Folder of bundles.
        keys: Folder of the trusted public keys.
        eviction: When an engine evicts the readings and events of a batch.

    Attributes:
        store: The bundles.
        staleness: Whether a newer release cannot be used.
    """

    def __init__(self, root: Path, keys: Path, eviction: EvictionPolicy = NEVER) -> None:
        self.store, self._keys, self._eviction = BundleStore(root), keys, eviction
        self.staleness = Staleness()
        self._loader = BundleLoader(self.store, ())
        self._serving_model: ServingModel | None = None
        self._earlier: dict[str, ServingModel] = {}
        self._warm: set[str] = set()  # bundles whose code has run
        self._lock = threading.Lock()  # of `_earlier`

    def make(self, model: Mapping[str, object] | None) -> Engine:
        """An empty engine over the serving model (None), or over the model that a score names.

        Raises:
            EngineError: There is no such model, or it fails a check.
        """
        try:
            return self._engine(self._serving_model or self._first() if model is None else self._named(model))
        except EngineError:
            raise
        except (BatchguardError, OSError) as error:
            raise EngineError(str(error)) from error

    def check_for_release(self, engine_cache: EngineCache) -> None:
        """Replace the serving model by a newer release that passes every check and fits the rows in memory."""
        try:
            if self._serving_model is None:
                return  # the first score loads the newest release
            if self.store.pointed() != self._serving_model.bundle.sha256:
                newest = self._newest()
                if newest.bundle.sha256 == self._serving_model.bundle.sha256:
                    raise BundleError(newest.stale_because)
                engine_cache.replace(self._engine(newest), lambda: self._serve(newest))
                _log.info("a newer model serves", bundle=newest.bundle.sha256)
            self.staleness.since_us, self.staleness.because = None, ""
        except Exception as error:  # noqa: BLE001 - whatever is wrong with a release, the former one serves on
            self.staleness.since_us = now_us() if self.staleness.since_us is None else self.staleness.since_us
            self._mark_stale(str(error) if isinstance(error, BatchguardError) else type(error).__name__)

    def _serve(self, serving_model: ServingModel) -> None:
        self._serving_model = serving_model

    def _first(self) -> ServingModel:
        self._serving_model = newest = self._newest()
        self.staleness.since_us = newest.stale_since_us
        self._mark_stale(newest.stale_because)
        return newest

    def _newest(self) -> ServingModel:
        self._loader.trust(trusted_keys(self._keys))
        return self._loader.refresh()

    def _engine(self, serving_model: ServingModel) -> LiveEngine:
        """An engine that has scored once, of each model once: no request waits for a compiler."""
        engine = LiveEngine(serving_model, self._eviction)
        if serving_model.bundle.sha256 not in self._warm:
            engine.warm_up()
            self._warm.add(serving_model.bundle.sha256)
        return engine

    def _mark_stale(self, because: str) -> None:
        """Note the reason; the log has one line for each reason, not for each check."""
        if because and because != self.staleness.because:
            _log.error("a newer release cannot be used, the former one serves", because=because)
        self.staleness.because = because

    def _named(self, model: Mapping[str, object]) -> ServingModel:
        """The model that a score names: the serving one, a cached one, or one from the folder."""
        with self._lock:
            loaded = (self._serving_model, *self._earlier.values())
        for candidate in loaded:
            if candidate is not None and _matches(candidate.bundle, model):
                return candidate
        bundle = self._find(model)
        run_canary(bundle)  # in a child process first, as for every release
        found = ServingModel(bundle, load_predictor(bundle))
        with self._lock:
            self._earlier[bundle.sha256] = found
            while len(self._earlier) > _CACHED:
                self._earlier.pop(next(iter(self._earlier)))
        return found

    def _find(self, model: Mapping[str, object]) -> Bundle:
        """The bundle of a release, which needs the feature code that it was released with."""
        trusted, short = trusted_keys(self._keys), str(model["sha256"])[:12]
        if model["features_sha256"] != features_digest():
            raise EngineError(
                f"model {short} was made with other feature code",
                remedy="Use the version of batchguard that scored with it.",
            )
        for folder in sorted(self.store.root.glob("?" * 64)):
            with contextlib.suppress(BundleError):  # a damaged bundle is not used
                bundle = self.store.read(folder.name, trusted)
                if _matches(bundle, model):
                    return bundle
        raise EngineError(f"no bundle holds model {short}", remedy="Restore the folder of bundles.")


def _matches(bundle: Bundle, model: Mapping[str, object]) -> bool:
    """Whether a score that names a model was made with a bundle."""
    manifest = bundle.manifest
    return manifest.model_sha256 == model["sha256"] and all(getattr(manifest, n) == model[n] for n in _IDENTITY)


class ReleaseWatcher:
    """A thread that loads the newest release at its start, then checks for newer ones and purges expired answers.

    Args:
        models: The bundles.
        engine_cache: Holds the serving engine.
        every_s: Seconds between two checks.
        purge: Removes some expired answers and returns how many.
    """

    def __init__(
        self, models: ModelReleases, engine_cache: EngineCache, every_s: float = 5.0, *,
        purge: Callable[[], int] = lambda: 0,
    ) -> None:  # fmt: skip
        self._models, self._engine_cache, self._every_s, self._purge = models, engine_cache, every_s, purge
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._run, name="models", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=10)

    def _run(self) -> None:
        code_digest()  # parses all modules once, about a second: the first score does not wait for it
        with contextlib.suppress(BatchguardError), self._engine_cache.reading():
            pass  # loaded before the first request; an error is answered to the requests
        while not self._stop.wait(self._every_s):
            self._models.check_for_release(self._engine_cache)
            try:
                self._purge()
            except Exception as error:  # noqa: BLE001 - the thread lives on and tries again
                _log.warning("purge postponed", kind=type(error).__name__)

"""The serving model and the models of earlier scores: engines over sealed bundles, and a watcher for another release.

The records say which release is effective. Another one gets an engine of its own, filled beside the serving one and put in
its place at once: every score is made by one model, and every change of it is an entry of the audit trail.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import orjson
import structlog
from sqlalchemy import select

from features.digests import features_digest
from features.errors import BatchguardError
from serving.audit import chain
from serving.audit.chain import Actor
from serving.bundle.bundle import Bundle
from serving.bundle.canary import run_canary
from serving.bundle.digests import code_digest
from serving.bundle.loader import BundleLoader, ServingModel, load_predictor
from serving.bundle.manifest import BundleError
from serving.bundle.store import BundleStore
from serving.engine import LiveEngine
from serving.ids import new_id, now_us
from serving.interfaces import Engine, EngineError
from serving.live.batches import NEVER, EvictionPolicy
from serving.records.store import Records
from serving.records.tables import audit
from serving.release.history import EffectiveRelease, effective, envelope_of_release
from serving.release.site_keys import trusted_keys
from serving.service.engine_cache import EngineCache, Staleness

KEYS = "keys"  # folder of the trusted public keys in a data directory
SERVED = "model_served"  # action of the entry on a change of the serving model
_CACHED = 2  # models of earlier scores that stay loaded
_log = structlog.get_logger("batchguard.models")


class ModelReleases:
    """The releases of a process: the effective one serves, the others make earlier scores again.

    The serving model stays in memory: a new engine over it needs neither the folder nor the disk. While the endpoint runs,
    it serves on where another release that became effective fails a check.

    Args:
        root: Folder of bundles.
        keys: Folder of the trusted public keys.
        records: Say which release is effective, and hold its seal.
        process_id: The process.
        eviction: When an engine evicts the readings and events of a batch.

    Attributes:
        store: The bundles.
        staleness: Whether the effective release cannot be used.
    """

    def __init__(
        self, root: Path, keys: Path, records: Records, process_id: str, eviction: EvictionPolicy = NEVER
    ) -> None:
        self.store, self._keys, self._eviction = BundleStore(root), keys, eviction
        self._records, self._process_id = records, process_id
        self.staleness = Staleness()
        self._loader = BundleLoader(self.store, self._effective, lambda: trusted_keys(self._keys))
        self._serving_model: ServingModel | None = None
        self._noted: str | None = (
            None  # the release that the trail names as the serving one, as far as this process wrote it
        )
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
        """Replace the serving model by the effective release, if that passes every check and fits the rows in memory."""
        try:
            if self._serving_model is None:
                return  # the first score loads the effective release
            self.note_serving_model()
            release = self._effective()
            if release is None or release.release_id != self._serving_model.bundle.sha256:
                newest = self._loader.refresh()
                if newest.stale_because:
                    raise BundleError(newest.stale_because)
                engine_cache.replace(self._engine(newest), lambda: self._serve(newest))
                _log.info("another release serves", release=newest.bundle.sha256)
            self.staleness.since_us, self.staleness.because = None, ""
        except Exception as error:  # noqa: BLE001 - whatever is wrong with a release, the former one serves on
            self.staleness.since_us = now_us() if self.staleness.since_us is None else self.staleness.since_us
            self._mark_stale(str(error) if isinstance(error, BatchguardError) else type(error).__name__)

    def note_serving_model(self) -> None:
        """Add an entry on the serving model to the audit trail, unless the trail names it already.

        Raises:
            RecordsUnavailableError: The entry could not be stored.
        """
        if self._serving_model is not None and self._noted != self._serving_model.bundle.sha256:
            self._note(self._serving_model)

    def _effective(self) -> EffectiveRelease | None:
        with self._records.read() as connection:
            return effective(connection, self._process_id)

    def _serve(self, serving_model: ServingModel) -> None:
        """Use a model from the next score on; its entry in the trail is written first."""
        self._note(serving_model)
        self._serving_model = serving_model

    def _note(self, serving_model: ServingModel) -> None:
        bundle, target = serving_model.bundle, f"model:{self._process_id}"
        new = {"release_id": bundle.sha256, "version": bundle.manifest.version, "released_by": bundle.released_by}
        at_us = now_us()
        with self._records.write() as (connection, now):
            own = (audit.c.object == target) & (audit.c.action == SERVED)
            newest = select(audit.c.new).where(own).order_by(audit.c.seq.desc()).limit(1)
            former = orjson.loads(connection.execute(newest).scalar_one_or_none() or "null")
            if former != new:  # a restart with the same release is no change
                actor = Actor("system:endpoint", "service", f"swap-{new_id(at_us)}")
                chain.append(connection, now, actor, SERVED, target, at_us=at_us, old=former, new=new)
        self._noted = bundle.sha256

    def _first(self) -> ServingModel:
        self._serving_model = newest = self._loader.refresh()
        self.staleness.since_us = newest.stale_since_us
        self._mark_stale(newest.stale_because)
        return newest

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
            _log.error("the effective release cannot be used, the former one serves", because=because)
        self.staleness.because = because

    def _named(self, model: Mapping[str, object]) -> ServingModel:
        """The model that a score names: the serving one, a cached one, or one from the folder."""
        with self._lock:
            loaded = (self._serving_model, *self._earlier.values())
        for candidate in loaded:
            if candidate is not None and candidate.bundle.sha256 == model.get("release_id"):
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
        """The bundle of a release that a score names; it needs the feature code that it was released with."""
        short, release_id = str(model["sha256"])[:12], model.get("release_id")
        if model["features_sha256"] != features_digest() or not isinstance(release_id, str):
            raise EngineError(
                f"model {short} was made with other feature code, or by a version without releases",
                remedy="Use the version of batchguard that scored with it.",
            )
        with self._records.read() as connection:
            envelope = envelope_of_release(connection, release_id)
        try:
            return self.store.sealed(release_id, envelope, trusted_keys(self._keys))
        except BundleError as error:
            raise EngineError(
                f"no bundle holds model {short}: {error.what}", remedy="Restore the folder of bundles."
            ) from None


class ReleaseWatcher:
    """A thread that loads the effective release at its start, then checks for another one and purges expired answers.

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
        with contextlib.suppress(BatchguardError):
            with self._engine_cache.reading():
                pass  # loaded before the first request; an error is answered to the requests
            self._models.note_serving_model()
        while not self._stop.wait(self._every_s):
            self._models.check_for_release(self._engine_cache)
            try:
                self._purge()
            except Exception as error:  # noqa: BLE001 - the thread lives on and tries again
                _log.warning("purge postponed", kind=type(error).__name__)

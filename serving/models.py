"""Which model speaks, and which one spoke: engines over signed bundles, and a watch for the next release.

A newer release is a new engine, made and filled beside the one that speaks, and put in its place at once: no score is
ever half of the one and half of the other.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import structlog

from features.errors import BatchguardError
from serving.batches import NEVER, Forgetting
from serving.bundle.canary import sing
from serving.bundle.digests import features_digest
from serving.bundle.keeper import Keeper, Speaking, load_predictor
from serving.bundle.manifest import BundleError, trusted_keys
from serving.bundle.store import Bundle, BundleStore
from serving.desk.memory import Memory
from serving.engine import LiveEngine
from serving.ids import now_us
from serving.seam import Engine, EngineError

KEYS = "keys"  # folder of the trusted public keys in a data directory
_SAME = ("sha256", "name", "version", "review", "process_sha256", "features_sha256")  # what a score says of a release
_log = structlog.get_logger("batchguard.models")


class Models:
    """Bundles of a folder, by keys of another.

    Args:
        root: Folder of bundles.
        keys: Folder of the public keys whose signature counts.
        forgetting: When an engine's batches give up their readings and events.
    """

    def __init__(self, root: Path, keys: Path, forgetting: Forgetting = NEVER) -> None:
        self.store, self._keys, self._forgetting = BundleStore(root), keys, forgetting
        self._speaking_sha256 = ""
        self._stale_us: int | None = None

    def make(self, model: Mapping[str, Any] | None) -> Engine:
        """An empty engine over the newest release, or over the one that a score names.

        Raises:
            EngineError: There is none that may speak.
        """
        try:
            if model is None:
                return self._speak(self._keeper())
            return LiveEngine(_Pinned(self.store, self._find(model)), self._forgetting)
        except EngineError:
            raise
        except BatchguardError as error:
            raise EngineError(str(error)) from error

    def stale_since_us(self) -> int | None:
        """Since when a newer release cannot be used; None: the newest one speaks."""
        return self._stale_us

    def look(self, memory: Memory) -> None:
        """Look for a newer release, and let it speak if it passes every check."""
        try:
            if self.store.pointed() == self._speaking_sha256:
                self._stale_us = None
                return
            keeper = self._keeper()
            found = keeper.refresh()
            if found.bundle.sha256 == self._speaking_sha256:
                raise BundleError(found.stale_because)
            memory.renew(self._speak(keeper))
            _log.info("a newer model speaks", bundle=self._speaking_sha256)
        except BatchguardError as error:
            if self._stale_us is None:
                self._stale_us = now_us()
                _log.error("a newer release cannot be used", because=str(error))

    def _speak(self, keeper: Keeper) -> LiveEngine:
        engine = LiveEngine(keeper, self._forgetting)
        found = keeper.speaking()
        self._speaking_sha256, self._stale_us = found.bundle.sha256, found.stale_since_us
        if found.stale_because:
            _log.error("the newest release cannot be used", because=found.stale_because)
        return engine

    def _keeper(self) -> Keeper:
        return Keeper(self.store, trusted_keys(self._keys))

    def _find(self, model: Mapping[str, Any]) -> Bundle:
        """The bundle of a release, to be run by the feature code that it was released with."""
        trusted, wanted = trusted_keys(self._keys), {name: model[name] for name in _SAME}
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
            if _named(bundle) == wanted:
                return bundle
        raise EngineError(f"no bundle holds model {wanted['sha256'][:12]}", remedy="Restore the folder of bundles.")


def _named(bundle: Bundle) -> dict[str, str]:
    manifest = bundle.manifest
    said = (manifest.model_sha256, manifest.name, manifest.version, manifest.review, manifest.process_sha256,
            manifest.features_sha256)  # fmt: skip
    return dict(zip(_SAME, said, strict=True))


class _Pinned(Keeper):
    """Gives one verified bundle, whatever was released since."""

    def __init__(self, store: BundleStore, bundle: Bundle) -> None:
        super().__init__(store, ())
        sing(bundle)  # loaded in a child process first, as any other
        self._one = Speaking(bundle, load_predictor(bundle))

    def speaking(self) -> Speaking:
        """The one."""
        return self._one

    def refresh(self) -> Speaking:
        """The one."""
        return self._one


class Watch:
    """Looks for a newer release every few seconds, in a thread of its own.

    Args:
        models: The bundles.
        memory: Holds the engine that speaks.
        every_s: Seconds between two looks.
    """

    def __init__(self, models: Models, memory: Memory, every_s: float = 5.0) -> None:
        self._models, self._memory, self._every_s = models, memory, every_s
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
        while not self._stop.wait(self._every_s):
            self._models.look(self._memory)

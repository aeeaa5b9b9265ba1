"""Builds the application in the process of a server, from the environment that `serving.server.serve` sets."""

from __future__ import annotations

import gc
import os
from pathlib import Path

from fastapi import FastAPI

from serving.access.key_ring import KeyRing
from serving.access.tokens import Tokens
from serving.access.verification_queue import Verifier
from serving.api.app import make_app
from serving.api.middleware import log_json
from serving.audit.anchor import Anchor, AnchorTimer
from serving.audit.chain import Actor
from serving.audit.start import begin
from serving.events.webhooks import WebhookDispatcher, post
from serving.ids import continue_after, new_id, now_us
from serving.instance import end_with_parent
from serving.model_releases import KEYS, ModelReleases, ReleaseWatcher
from serving.records.scores import newest_id
from serving.records.store import Records, sqlite_file
from serving.records.writable import WritableCheck
from serving.server import CONFIG, DATA_DIR, MODELS, PARENT, PROCESS
from serving.service.engine_cache import EngineCache, eviction
from serving.service.scoring_service import ScoringService
from serving.settings import EndpointSettings, load_settings, secret_of


def make() -> FastAPI:
    """The application of this process.

    Raises:
        BatchguardError: A setting is wrong, or the records cannot be reached.
    """
    log_json()
    if PARENT in os.environ:
        end_with_parent(int(os.environ[PARENT]))
    config = os.environ.get(CONFIG)
    settings = load_settings(Path(os.environ[DATA_DIR]), Path(config) if config else None)
    return assemble(settings, Path(os.environ[MODELS]), Path(os.environ[DATA_DIR]) / KEYS, os.environ[PROCESS])


def freeze_garbage_collector() -> None:
    """Collect garbage, then exempt all present objects from later collections: a whole plant takes most of a second."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()


def _folders(settings: EndpointSettings) -> list[Path]:
    """Folders that have to take something with every score: of the SQLite file, of the anchor."""
    database = sqlite_file(settings.records_url)
    found = (
        [settings.anchor.absolute().parent]
        if database is None
        else [settings.anchor.absolute().parent, database.parent]
    )
    return [folder for folder in found if folder.is_dir()]


def assemble(settings: EndpointSettings, bundles: Path, keys: Path, process_id: str) -> FastAPI:
    """The application over a folder of bundles of a process and a folder of trusted public keys.

    Raises:
        BatchguardError: A setting is wrong, the records cannot be reached, or the anchor contradicts them.
    """
    receivers = [(hook, secret_of(hook)) for hook in settings.webhook]
    records = Records(settings.records_url)
    records.prepare()
    with records.read() as connection:
        continue_after(newest_id(connection))
    anchor = Anchor(settings.anchor)
    begin(records, anchor, Actor("system:endpoint", "service", f"start-{new_id(now_us())}"), now_us())
    dispatcher = WebhookDispatcher(records, receivers, post)
    models = ModelReleases(bundles, keys, records, process_id, eviction(records, settings.forget_after_days))
    service = ScoringService(
        records,
        models.make,
        EngineCache(records, models.make, freeze_garbage_collector),
        anchor,
        hooks=settings.webhook,
        max_future_us=round(settings.max_future_s * 1e6),
        answer_ttl_us=round(settings.keep_answers_days * 86_400e6),
        on_events=dispatcher.wake,
        staleness=models.staleness,
        writable=WritableCheck(records, _folders(settings)),
    )
    verifiers: dict[str, Verifier] = {"key": KeyRing(records)}
    if settings.identity is not None:
        verifiers["token"] = Tokens(settings.identity)
    watcher = ReleaseWatcher(models, service.engine_cache, settings.look_every_s, purge=service.purge_expired)
    timer = AnchorTimer(anchor, records.head, now_us)
    return make_app(service, verifiers, settings, [dispatcher, watcher, timer])

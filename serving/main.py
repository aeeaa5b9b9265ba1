"""Makes the application in a server's process, from the environment that `serving.commands.serve` sets."""

from __future__ import annotations

import gc
import os
from pathlib import Path

from fastapi import FastAPI

from serving.access.keys import KeyRing
from serving.access.tokens import Provider, Tokens
from serving.api.app import make_app
from serving.api.guard import Verifier
from serving.api.telemetry import log_json
from serving.audit.anchor import Anchor
from serving.events import outbox
from serving.events.webhooks import post
from serving.model_releases import KEYS, ModelReleases, ReleaseWatcher
from serving.records.store import Records
from serving.service.engine_cache import EngineCache, eviction
from serving.service.scoring_service import ScoringService
from serving.settings import EndpointSettings, load_settings, secret_of

MODELS, DATA_DIR, CONFIG = "BATCHGUARD_MODELS", "BATCHGUARD_DATA_DIR", "BATCHGUARD_ENDPOINT_CONFIG"


def make() -> FastAPI:
    """The application of this process.

    Raises:
        BatchguardError: A setting is wrong, or the records cannot be reached.
    """
    log_json()
    config = os.environ.get(CONFIG)
    settings = load_settings(Path(os.environ[DATA_DIR]), Path(config) if config else None)
    return assemble(settings, Path(os.environ[MODELS]), Path(os.environ[DATA_DIR]) / KEYS)


def keep_out_of_collections() -> None:
    """Python's collector no longer goes through what is held from now on: a whole plant takes it most of a second.

    What the engine before this one left behind is collected first.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()


def assemble(settings: EndpointSettings, bundles: Path, keys: Path) -> FastAPI:
    """Everything put together over a folder of bundles and one of the keys whose signature counts.

    Raises:
        BatchguardError: A setting is wrong, or the records cannot be reached.
    """
    receivers = [outbox.Receiver(hook, secret_of(hook)) for hook in settings.webhook]
    records = Records(settings.records_url)
    records.prepare()
    dispatcher = outbox.WebhookDispatcher(records, receivers, post)
    models = ModelReleases(bundles, keys, eviction(records, settings.forget_after_days))
    service = ScoringService(
        records, models.make, EngineCache(records, models.make, keep_out_of_collections), Anchor(settings.anchor), hooks=settings.webhook,
        max_future_us=round(settings.max_future_s * 1e6),
        answers_last_us=round(settings.keep_answers_days * 86_400e6), told=dispatcher.wake, stale_since_us=models.stale_since_us,
        stale_because=models.stale_because,
    )  # fmt: skip
    verifiers: dict[str, Verifier] = {"key": KeyRing(records)}
    if settings.identity is not None:
        verifiers["token"] = Tokens(Provider(**settings.identity.model_dump()))
    return make_app(
        service,
        verifiers,
        settings,
        [dispatcher, ReleaseWatcher(models, service.engine_cache, settings.look_every_s, tidy=service.tidy)],
    )

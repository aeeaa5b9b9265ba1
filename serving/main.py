"""Makes the application in a server's process, from the environment that `serving.commands.serve` sets."""

from __future__ import annotations

import os
from pathlib import Path

from fastapi import FastAPI

from serving import outbox
from serving.access.keys import KeyRing
from serving.access.tokens import Provider, Tokens
from serving.anchor import Anchor
from serving.api.app import make_app
from serving.api.guard import Verifier
from serving.api.telemetry import log_json
from serving.desk.desk import Desk
from serving.desk.memory import Memory
from serving.models import KEYS, Models, Watch
from serving.records.store import Records
from serving.settings import EndpointSettings, load_settings, secret_of
from serving.webhooks import post

MODELS, DATA_DIR, CONFIG = "BATCHGUARD_MODELS", "BATCHGUARD_DATA_DIR", "BATCHGUARD_ENDPOINT_CONFIG"


def make() -> FastAPI:
    """The application of this process.

    Raises:
        BatchguardError: A setting is wrong, or the records cannot be reached.
    """
    log_json()
    config = os.environ.get(CONFIG)
    settings = load_settings(Path(os.environ[DATA_DIR]), Path(config) if config else None)
    return assemble(settings, Models(Path(os.environ[MODELS]), Path(os.environ[DATA_DIR]) / KEYS))


def assemble(settings: EndpointSettings, models: Models) -> FastAPI:
    """Everything put together over the models.

    Raises:
        BatchguardError: A setting is wrong, or the records cannot be reached.
    """
    receivers = [outbox.Receiver(hook, secret_of(hook)) for hook in settings.webhook]
    records = Records(settings.records_url)
    records.prepare()
    courier = outbox.Courier(records, receivers, post)
    desk = Desk(
        records, models.make, Memory(records, models.make), Anchor(settings.anchor), hooks=settings.webhook,
        max_future_us=round(settings.max_future_s * 1e6),
        answers_last_us=round(settings.keep_answers_days * 86_400e6), told=courier.wake, stale_since_us=models.stale_since_us,
        stale_because=models.stale_because,
    )  # fmt: skip
    verifiers: dict[str, Verifier] = {"key": KeyRing(records)}
    if settings.identity is not None:
        verifiers["token"] = Tokens(Provider(**settings.identity.model_dump()))
    return make_app(
        desk, verifiers, settings, [courier, Watch(models, desk.memory, settings.look_every_s, tidy=desk.tidy)]
    )

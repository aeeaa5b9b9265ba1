"""Settings of the endpoint: `endpoint.toml`, and the environment for the database."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy.engine import make_url

from features.errors import BatchguardError
from serving.records.store import default_url

LOOPBACK = ("127.0.0.1", "::1", "localhost")


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


EventKind = Literal["score.created", "call.changed", "decision.changed"]


class Webhook(_Part):
    """A receiver of events.

    Attributes:
        name: Shown in logs; an event is delivered once per name.
        url: `https://`, or `http://` inside the plant.
        secret_file: File with the secret that signs deliveries (Standard Webhooks), 24 bytes or more.
        format: `json`, or `b2mml` for a WorkAlert.
        events: Kinds of events to send; `decision.changed` is deprecated, `call.changed` also tells of calls without support.
        sites: Sites whose batches count; `*` for all.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,79}$")
    url: str = Field(pattern=r"^https?://[^\s]+$", max_length=2000)
    secret_file: Path
    format: Literal["json", "b2mml"] = "json"
    events: tuple[EventKind, ...] = ("score.created", "call.changed", "decision.changed")
    sites: tuple[str, ...] = ("*",)


class Identity(_Part):
    """The identity provider of the plant (OpenID Connect).

    Attributes:
        issuer: `iss` of its tokens.
        audience: `aud` of tokens for this endpoint.
        jwks_url: Address of its public keys.
        role_claim: Claim that holds the role, or a list of one role.
        sites_claim: Claim that holds the list of sites.
    """

    issuer: str
    audience: str
    jwks_url: str = Field(pattern=r"^https?://[^\s]+$")
    role_claim: str = "batchguard_role"
    sites_claim: str = "batchguard_sites"


class EndpointSettings(_Part):
    """Settings of one endpoint.

    Attributes:
        records_url: Database of the records.
        anchor: File that notes the end of the audit chain; best on another machine's disk.
        max_body_bytes: Larger requests are refused.
        body_timeout_s: A body that takes longer to arrive is refused.
        keep_answers_days: How long an idempotency key stands for its answer.
        max_future_s: How far ahead of the endpoint's clock a reading may have become available.
        look_every_s: Seconds between two checks for a newer release.
        forget_after_days: Days between the newest row of a batch and the newest one of the plant after which the batch's rows
            are evicted from memory; a score reads them from the records again.
        identity: Provider of people's tokens; None: API keys only.
        webhook: Receivers of events.
    """

    records_url: str
    anchor: Path
    max_body_bytes: int = Field(default=2_000_000, ge=1_000)
    body_timeout_s: float = Field(default=5.0, gt=0)
    keep_answers_days: float = Field(default=90.0, ge=1, le=36_500)
    max_future_s: float = Field(default=300.0, ge=0)
    look_every_s: float = Field(default=5.0, gt=0)
    forget_after_days: float = Field(default=14.0, gt=0)
    identity: Identity | None = None
    webhook: tuple[Webhook, ...] = ()


def load_settings(
    data_dir: Path, config: Path | None = None, environment: Mapping[str, str] = os.environ
) -> EndpointSettings:
    """Settings of a data directory.

    Args:
        data_dir: Default folder of `records.db` and `audit.anchor`.
        config: An `endpoint.toml`; None: `data_dir/endpoint.toml`, if it exists.
        environment: `BATCHGUARD_RECORDS_URL` overrides the file.

    Raises:
        BatchguardError: The file cannot be read, or a key is unknown or wrong.
    """
    path = config or data_dir / "endpoint.toml"
    given = {}
    if config is not None or path.exists():
        try:
            given = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise BatchguardError(f"{path}: cannot be read as TOML ({error})") from None
    url = environment.get("BATCHGUARD_RECORDS_URL")
    defaults = {"records_url": default_url(data_dir), "anchor": data_dir / "audit.anchor"}
    try:
        settings = EndpointSettings.model_validate(defaults | given | ({"records_url": url} if url else {}))
    except ValidationError as error:
        first = error.errors()[0]
        raise BatchguardError(f"{path}: {'.'.join(str(p) for p in first['loc'])}: {first['msg']}") from None
    names = [hook.name for hook in settings.webhook]
    if len(names) != len(set(names)):
        raise BatchguardError(f"{path}: two webhooks have one name", expected="a name of its own for each")
    return settings


def secrets_of(settings: EndpointSettings, path: Path) -> list[Path]:
    """Files that hold secrets: those of webhooks, and the settings themselves where they hold a database's password.

    Args:
        settings: As loaded.
        path: The file that they were loaded from.
    """
    own = [path] if make_url(settings.records_url).password else []
    return own + [hook.secret_file for hook in settings.webhook]


def secret_of(hook: Webhook) -> bytes:
    """The secret that signs the deliveries of a webhook.

    Raises:
        BatchguardError: The file cannot be read, or the secret is too short.
    """
    try:
        secret = hook.secret_file.read_bytes().strip()
    except OSError as error:
        raise BatchguardError(f"webhook {hook.name}: {hook.secret_file}: {error.strerror}") from None
    if len(secret) < 24:
        raise BatchguardError(f"webhook {hook.name}: its secret is too short", expected="24 bytes or more")
    return secret

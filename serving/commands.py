"""Commands of the endpoint: serve, keys, audit, replay. They return lines for the command line to print."""

from __future__ import annotations

import getpass
import os
import ssl
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import orjson

from features.errors import BatchguardError
from serving.access.keys import KeyRecord, add_key, list_keys, revoke_key
from serving.audit import chain, start, verification
from serving.audit.anchor import Anchor
from serving.audit.chain import Actor
from serving.ids import iso, new_id, now_us
from serving.main import CONFIG, DATA_DIR, MODELS
from serving.model_releases import KEYS, ModelReleases
from serving.records.store import Records, read_only_url
from serving.settings import LOOPBACK, EndpointSettings, load_settings


@dataclass(frozen=True)
class Listen:
    """Address and TLS files of the endpoint.

    Attributes:
        host: Address; loopback unless `anywhere`.
        port: TCP port.
        anywhere: Whether another address than loopback is allowed.
        tls_cert: PEM file; None: no TLS.
        tls_key: PEM file.
        tls_client_ca: PEM file of the authority of clients' certificates; None: any client.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    anywhere: bool = False
    tls_cert: Path | None = None
    tls_key: Path | None = None
    tls_client_ca: Path | None = None

    def check(self) -> None:
        """Check the combination of options.

        Raises:
            BatchguardError: The address is not loopback, or a TLS file is missing or not valid.
        """
        if self.host not in LOOPBACK and not self.anywhere:
            raise BatchguardError(
                f"--host {self.host} is not loopback",
                expected=" or ".join(LOOPBACK),
                remedy="Add --listen-anywhere if other machines shall reach the endpoint, and TLS files.",
            )
        if (self.tls_cert is None) != (self.tls_key is None):
            raise BatchguardError("--tls-cert and --tls-key go together")
        if self.tls_client_ca is not None and self.tls_cert is None:
            raise BatchguardError(
                "--tls-client-ca needs --tls-cert and --tls-key: certificates of clients are a part of TLS"
            )
        for path in (self.tls_cert, self.tls_key, self.tls_client_ca):
            if path is not None and not path.is_file():
                raise BatchguardError(f"{path}: no such file")
        self._check_tls()

    def _check_tls(self) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            if self.tls_cert is not None:
                context.load_cert_chain(self.tls_cert, self.tls_key, password="")
            if self.tls_client_ca is not None:
                context.load_verify_locations(self.tls_client_ca)
        except ssl.SSLError as error:
            raise BatchguardError(
                f"the files of TLS cannot be used ({error.reason or error})",
                expected="a certificate in PEM, its own key without a password, and certificates of an authority",
            ) from None


def serve(models: Path, data_dir: Path, config: Path | None, listen: Listen) -> None:
    """Serve until the process is stopped.

    Raises:
        BatchguardError: A setting is wrong, the records cannot be reached, or the address is not loopback.
    """
    listen.check()
    settings = load_settings(data_dir, config)
    records = Records(settings.records_url)
    records.prepare()  # before the server starts, so that an error is one line
    start.check(records, settings.anchor)
    records.close()
    os.environ |= {MODELS: str(models.absolute()), DATA_DIR: str(data_dir.absolute())}
    if config is not None:
        os.environ[CONFIG] = str(config.absolute())
    _run_server(listen)


def _run_server(listen: Listen) -> None:
    from granian.constants import HTTPModes, Interfaces
    from granian.http import HTTP1Settings
    from granian.server import Server

    Server(
        "serving.main:make", factory=True, interface=Interfaces.ASGI, address=listen.host, port=listen.port, workers=1,
        http=HTTPModes.http1, http1_settings=HTTP1Settings(header_read_timeout=5_000, max_buffer_size=64 * 1024),
        websockets=False, backlog=1024, workers_kill_timeout=10, respawn_failed_workers=True, log_access=False,
        ssl_cert=listen.tls_cert, ssl_key=listen.tls_key, ssl_ca=listen.tls_client_ca,
        ssl_client_verify=listen.tls_client_ca is not None,
    ).serve()  # fmt: skip


class RecordsAdmin:
    """Administration of the records by a person at the machine.

    Args:
        data_dir: As for `serve`.
        config: As for `serve`.
        only_reads: Records that cannot be written, as those of a backup, are read as they are; nothing is written beside them.
    """

    def __init__(self, data_dir: Path, config: Path | None = None, *, only_reads: bool = False) -> None:
        self._data_dir = data_dir
        self.settings: EndpointSettings = load_settings(data_dir, config)
        url = self.settings.records_url
        opened = read_only_url(url) if only_reads else url
        self.records = Records(opened)
        if opened == url:
            self.records.prepare()
        else:
            self.records.check_shape()

    def __enter__(self) -> RecordsAdmin:
        return self

    def __exit__(self, *_: object) -> None:
        self.records.close()

    def add_key(self, name: str, *, role: str, sites: Sequence[str], person: bool, days: int | None) -> Iterator[str]:
        """Make a key; the lines show it for the only time."""
        expires = None if days is None else now_us() + round(timedelta(days=days).total_seconds() * 1e6)
        key_id, key = add_key(self.records, name=name, kind="person" if person else "service", role=role, sites=sites,
                              expires_us=expires, actor=_operator())  # fmt: skip
        contradiction = self._note()
        yield f"{key_id}: role {role}, sites {', '.join(sites)}; the key is shown this once:"
        yield key
        yield from filter(None, [contradiction])

    def list_keys(self) -> Iterator[str]:
        """One line a key."""
        for key in list_keys(self.records):
            sites = ", ".join(orjson.loads(key.sites))
            yield f"{key.key_id}  {key.kind:7}  {key.role:8}  {sites}  {key.name}  {_state(key)}"

    def revoke_key(self, key_id: str, why: str) -> Iterator[str]:
        """Make a key useless."""
        revoke_key(self.records, key_id, why=why, actor=_operator())
        yield f"{key_id} is revoked"
        yield from filter(None, [self._note()])

    def verify(self) -> verification.Verification:
        """Compare the records with the audit trail, and the trail with its anchor."""
        return verification.verify(self.records, self.settings.anchor, patience_s=3.0)

    def accept(self, why: str) -> Iterator[str]:
        """Begin the anchor anew after an older copy of the records was restored, or the anchor was lost."""
        yield start.accept(self.records, self.settings.anchor, _operator(), why, now_us())

    def export(self) -> Iterator[str]:
        """The audit trail, one JSON object a line."""
        with self.records.read() as connection:
            for entry in chain.entries(connection):
                yield orjson.dumps(entry.to_json()).decode()

    def _note(self) -> str | None:
        """Note the end of the trail, unless the anchor contradicts it: then a line that says so, as the endpoint's start does."""
        try:
            start.check(self.records, self.settings.anchor)
        except start.TrailContradictedError as error:
            return f"the audit trail is not noted: {error}"
        Anchor(self.settings.anchor).note(self.records.head(), now_us(), at_once=True)
        return None

    def replay(self, score_id: str, models: Path) -> tuple[bool, str]:
        """Make a score again.

        Returns:
            Whether the two are equal to the bit, and a line with the result.
        """
        from serving.service.engine_cache import EngineCache, eviction
        from serving.service.score_requests import replay
        from serving.service.scoring_service import ScoringService

        policy = eviction(self.records, self.settings.forget_after_days)
        make = ModelReleases(models, self._data_dir / KEYS, policy).make
        service = ScoringService(self.records, make, EngineCache(self.records, make), Anchor(self.settings.anchor))
        found = replay(service, score_id)
        if found.is_equal:
            return True, f"{score_id}: the same to the bit, probability {found.again['failure_probability']!r}"
        return False, f"{score_id}: differs in {', '.join(found.differing)}"


def _state(key: KeyRecord) -> str:
    if key.revoked_us is not None:
        return f"revoked {iso(key.revoked_us)}"
    if key.expires_us is None:
        return "valid"
    return ("expired " if key.expires_us <= now_us() else "valid until ") + iso(key.expires_us)


def _operator() -> Actor:
    """The user of the operating system."""
    return Actor(f"local:{getpass.getuser()}", "operator", f"cli-{new_id(now_us())}")

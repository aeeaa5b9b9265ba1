"""Starts the server of the endpoint: one socket that this process claimed, and a worker that accepts on it.

Little is imported before the claims hold, so that a taken port is reported at once.
"""

from __future__ import annotations

import multiprocessing
import os
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

from features.errors import BatchguardError
from serving.instance import BACKLOG, claimed
from serving.private_files import keep_private
from serving.records.store import Records
from serving.settings import LOOPBACK, load_settings, secrets_of

MODELS, DATA_DIR, CONFIG = "BATCHGUARD_MODELS", "BATCHGUARD_DATA_DIR", "BATCHGUARD_ENDPOINT_CONFIG"
PROCESS = "BATCHGUARD_PROCESS_ID"
PARENT = "BATCHGUARD_SERVER_PID"  # a worker ends with this process


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


def serve(models: Path, process_id: str, data_dir: Path, config: Path | None, listen: Listen) -> None:
    """Serve until the process is stopped.

    Args:
        models: Folder of the bundles of the process.
        process_id: The process whose effective release serves.
        data_dir: Keys, records, settings.
        config: An `endpoint.toml`; None: that of the data directory.
        listen: Address and TLS files.

    Raises:
        BatchguardError: A setting is wrong, the records cannot be reached, the address is not loopback, or another
            endpoint has the port, the data directory or the SQLite file.
    """
    listen.check()
    settings = load_settings(data_dir, config)
    with claimed(data_dir, settings.records_url, listen.host, listen.port) as listener:
        import serving.main  # noqa: F401 - once the claims hold, and here, so that no respawned worker imports it again
        from serving.audit import start

        records = Records(settings.records_url)
        records.prepare()  # before the server starts, so that an error is one line
        start.check(records, settings.anchor)
        records.close()
        keep_private(secrets_of(settings, config or data_dir / "endpoint.toml"))
        os.environ |= {MODELS: str(models.absolute()), DATA_DIR: str(data_dir.absolute()), PARENT: str(os.getpid())}
        os.environ[PROCESS] = process_id
        if config is not None:
            os.environ[CONFIG] = str(config.absolute())
        _run_server(listen, listener)


def _run_server(listen: Listen, listener: socket.socket) -> None:
    from granian.constants import HTTPModes, Interfaces
    from granian.http import HTTP1Settings
    from granian.net import SocketHolder
    from granian.server.mp import MPServer

    class OneListener(MPServer):
        """Workers accept on the socket that this process claimed, not on sockets of their own beside it."""

        def _init_shared_socket(self) -> None:
            shared = SocketHolder(listener.fileno(), False, BACKLOG)  # ty: ignore[too-many-positional-arguments]
            self._shd, self._sso = shared, None

    os.umask(0o077)  # what an endpoint writes is for its own user
    multiprocessing.set_start_method("fork", force=True)  # workers inherit the socket and the locks
    OneListener(
        "serving.main:make", factory=True, interface=Interfaces.ASGI, address=listen.host, port=listen.port, workers=1,
        http=HTTPModes.http1, http1_settings=HTTP1Settings(header_read_timeout=5_000, max_buffer_size=64 * 1024),
        websockets=False, backlog=BACKLOG, workers_kill_timeout=10, respawn_failed_workers=True, log_access=False,
        ssl_cert=listen.tls_cert, ssl_key=listen.tls_key, ssl_ca=listen.tls_client_ca,
        ssl_client_verify=listen.tls_client_ca is not None,
    ).serve()  # fmt: skip

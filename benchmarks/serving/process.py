"""One endpoint in a process of its own, on loopback: started, killed, started again."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
_SERVE = """
from pathlib import Path; import sys
from features.errors import BatchguardError
from serving.server import Listen, serve
tls = dict(given.split("=", 1) for given in sys.argv[5:])
listen = Listen(port=int(sys.argv[3]), **{name: Path(path) for name, path in tls.items()})
try:
    serve(Path(sys.argv[1]), sys.argv[4], Path(sys.argv[2]), None, listen)
except BatchguardError as error:  # as the command line does
    sys.exit(str(error))
"""


@dataclass
class Served:
    """One endpoint: started, killed, started again.

    Attributes:
        data_dir: Its data directory; what it writes to standard error is in the file `log`.
        models: Its bundles.
        port: On loopback.
        key: Of an MES.
        environment: More variables of its process.
        tls: Files of `serving.server.Listen` by name; none: plain HTTP.
        trust: How a client connects with TLS.
        prelude: Python that its process runs first.
        process_id: The process whose releases it serves.
        process: While it runs.
    """

    data_dir: Path
    models: Path
    port: int
    key: str
    environment: dict[str, str] = field(default_factory=dict)
    tls: Mapping[str, Path] = field(default_factory=dict)
    trust: ssl.SSLContext | None = None
    prelude: str = ""
    process_id: str = "bench"
    process: subprocess.Popen | None = None

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    def command(self, data_dir: Path | None = None, port: int | None = None) -> list[str]:
        """The command of its process, or of a second one with another data directory or port."""
        files = [f"{name}={path}" for name, path in self.tls.items()]
        code = [sys.executable, "-c", self.prelude + _SERVE]
        return [
            *code,
            str(self.models),
            str(data_dir or self.data_dir),
            str(port or self.port),
            self.process_id,
            *files,
        ]

    def start(self) -> None:
        log = (self.data_dir / "log").open("ab")
        with log:
            self.process = subprocess.Popen(
                self.command(), cwd=ROOT, stderr=log, stdout=log, start_new_session=True,
                env=os.environ | self.environment,
            )  # fmt: skip
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), self.open("/health/live"):
                return
            assert self.process.poll() is None, self.log
            time.sleep(0.1)
        raise AssertionError(self.log)

    def wait_until_ready(self, seconds: float = 120.0) -> None:
        """Wait until its model can score, as those do who send requests to it."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), self.open("/health/ready"):
                return
            time.sleep(0.1)
        raise AssertionError(self.log)

    def open(self, path: str) -> http.client.HTTPResponse:
        """GET a path, as a client that is trusted.

        Raises:
            OSError: No connection, or a status of 400 and above.
        """
        return urllib.request.urlopen(f"{self.url}{path}", timeout=1, context=self.trust)  # noqa: S310

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End it, and with SIGKILL everything of it at once."""
        if self.process is None:
            return
        if number == signal.SIGKILL:
            os.killpg(self.process.pid, number)
        else:
            self.process.send_signal(number)
        self.process.wait(20)
        self.process = None

    @property
    def log(self) -> str:
        return (self.data_dir / "log").read_text()


def free_port() -> int:
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        return asked.getsockname()[1]

"""One endpoint in a process of its own, on loopback: started, killed, started again."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
_SERVE = """
from pathlib import Path; import sys
from serving.commands import Listen, serve
serve(Path(sys.argv[1]), Path(sys.argv[2]), None, Listen(port=int(sys.argv[3])))
"""


@dataclass
class Served:
    """One endpoint: started, killed, started again."""

    data_dir: Path
    models: Path
    port: int
    key: str
    environment: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        arguments = [sys.executable, "-c", _SERVE, str(self.models), str(self.data_dir), str(self.port)]
        log = (self.data_dir / "log").open("ab")
        with log:
            self.process = subprocess.Popen(
                arguments, cwd=ROOT, stderr=log, stdout=log, start_new_session=True, env=os.environ | self.environment
            )
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.url}/health/live", timeout=1):  # noqa: S310
                return
            assert self.process.poll() is None, self.log
            time.sleep(0.1)
        raise AssertionError(self.log)

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

"""A real endpoint in a process of its own, on loopback."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from serving.access.keys import add_key
from serving.audit import Actor
from serving.commands import Cabinet
from tests.serving.small_plant import SmallPlant

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


@contextlib.contextmanager
def served(
    folder: Path, plant: SmallPlant, *, role: str = "mes", config: str = "", records_url: str = ""
) -> Iterator[Served]:
    models, data_dir = folder / "models", folder / "data"
    models.mkdir(exist_ok=True)
    data_dir.mkdir(exist_ok=True)
    (data_dir / "endpoint.toml").write_text(config)
    plant.bundle(models, data_dir / "keys")
    environment = {"BATCHGUARD_RECORDS_URL": records_url} if records_url else {}
    with Cabinet(data_dir) as cabinet:
        _, key = add_key(cabinet.records, name="MES", kind="service", role=role, sites=["north"], expires_us=None,
                         actor=Actor("test", "operator", "test"))  # fmt: skip
    found = Served(data_dir, models, free_port(), key, environment)
    found.start()
    try:
        yield found
    finally:
        found.stop()


def free_port() -> int:
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        return asked.getsockname()[1]

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pipelines.dev import STOP_WITHIN_S, _answers
from tests.pipelines.small_plant import Place

START_WITHIN_S = 120


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def answers(port: int, deadline: float) -> int | None:
    """Status of a page, once its server answers."""
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as page:
                return page.status
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.5)
    return None


def loaded_assets(port: int) -> dict[str, int]:
    """Assets of each code location that Dagster has loaded."""
    query = "{repositoriesOrError {... on RepositoryConnection {nodes {location {name} assetNodes {id}}}}}"
    body, kind = json.dumps({"query": query}).encode(), {"content-type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{port}/graphql", body, kind)) as reply:
        nodes = json.load(reply)["data"]["repositoriesOrError"]["nodes"]
    return {node["location"]["name"]: len(node["assetNodes"]) for node in nodes}


def processes_about(text: str) -> list[int]:
    """Ids of the processes whose command line or environment names a folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            named = (path / "cmdline").read_bytes() + (path / "environ").read_bytes()
            state = (path / "stat").read_text().rsplit(")", 1)[1].split()[0]
        except OSError:
            continue
        if text.encode() in named and state != "Z" and int(path.name) != os.getpid():
            found.append(int(path.name))
    return found


def addresses_in(log: Path, deadline: float) -> set[str]:
    """Addresses that were printed, once there are two."""
    found: set[str] = set()
    while len(found) < 2 and time.monotonic() < deadline:
        found = {
            line.split()[1] for line in log.read_text().splitlines() if line.startswith(("Dagster  ", "MLflow   "))
        }
        time.sleep(0.1)
    return found


def test_an_address_is_printed_only_when_a_page_comes_from_it() -> None:
    class Page(BaseHTTPRequestHandler):
        status = 503

        def do_GET(self) -> None:
            self.send_response(self.status)
            self.end_headers()

        def log_message(self, format: str, *args) -> None:  # noqa: A002 - as in the base class
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        port = server.server_address[1]
        threading.Thread(target=server.serve_forever).start()
        assert not _answers(port)
        Page.status = 200
        assert _answers(port)
        server.shutdown()
    assert not _answers(port)


@pytest.fixture
def started(clone) -> Iterator[tuple[subprocess.Popen, tuple[int, int], Place]]:
    ports = free_port(), free_port()
    options = ["--as-of", "history", "--dagster-port", str(ports[0]), "--mlflow-port", str(ports[1])]
    with (clone.root / "dev.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "pipelines.cli", "dev", *clone.options(), *options],
            stdout=log, stderr=log, cwd=Path(__file__).parents[2], start_new_session=True,
        )  # fmt: skip
        yield process, ports, clone
        if process.poll() is None:
            process.terminate()
            process.wait(STOP_WITHIN_S + 10)


@pytest.mark.slow
def test_both_pages_start_and_stop_together_and_leave_no_process(started) -> None:
    process, ports, place = started
    deadline = time.monotonic() + START_WITHIN_S
    assert [answers(port, deadline) for port in ports] == [200, 200], (place.root / "dev.log").read_text()[-2000:]
    assert addresses_in((place.root / "dev.log"), deadline) == {f"http://127.0.0.1:{port}" for port in ports}
    assert loaded_assets(ports[0]) == {"pipelines.definitions": 12}
    assert len(processes_about(str(place.root))) >= 3
    begin = time.monotonic()
    process.send_signal(signal.SIGINT)
    process.wait(STOP_WITHIN_S + 10)
    assert time.monotonic() - begin < STOP_WITHIN_S
    assert processes_about(str(place.root)) == []

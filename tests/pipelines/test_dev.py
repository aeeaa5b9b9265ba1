import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.dev import STOP_WITHIN_S
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
    assert loaded_assets(ports[0]) == {"pipelines.definitions": 11}
    assert len(processes_about(str(place.root))) >= 3
    begin = time.monotonic()
    process.send_signal(signal.SIGINT)
    process.wait(STOP_WITHIN_S + 10)
    assert time.monotonic() - begin < STOP_WITHIN_S
    assert processes_about(str(place.root)) == []

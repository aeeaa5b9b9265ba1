"""The web UIs of Dagster and MLflow, started and stopped together."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

from features.errors import BatchguardError
from models.mlflow_store import MlflowStore
from pipelines.settings import Settings

STOP_WITHIN_S = 20
ANSWER_S = 2.0  # a page that takes longer is asked for again
STRAGGLERS_S = 5  # of these, for child processes that outlive the two programs


def serve(settings: Settings, *, dagster_port: int, mlflow_port: int, say: Callable[[str], None]) -> None:
    """Run `dagster dev` (UI and daemon) and the MLflow UI on loopback until Ctrl-C or until one of them ends.

    Where the plant has an MLflow server of its own, none is started.

    Raises:
        BatchguardError: One of them ended by itself.
    """
    environment = os.environ | settings.to_environment() | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    settings.mlflow_artifacts.mkdir(parents=True, exist_ok=True)
    python = (sys.executable, "-m")
    commands = {
        "Dagster": [*python, *f"dagster dev -m pipelines.definitions -h 127.0.0.1 -p {dagster_port}".split()],
        "MLflow": [
            *python, *f"mlflow server --host 127.0.0.1 --port {mlflow_port} --workers 1".split(),
            "--backend-store-uri", settings.mlflow_uri, "--default-artifact-root", settings.mlflow_artifacts.as_uri(),
        ],
    }  # fmt: skip
    own = MlflowStore.of(settings.data_dir)
    if not own.embedded:
        del commands["MLflow"]
        say(f"MLflow   {own.pages if own.is_server else own.shown}, which is the plant's own")
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell that starts this with & ignores SIGINT, also in children
        signal.signal(number, _interrupt)
    # each in its own process group: Ctrl-C reaches this process only, which then stops both in order
    running = {
        name: subprocess.Popen(command, env=environment, start_new_session=True) for name, command in commands.items()
    }
    say(f"starting {' and '.join(commands)}; addresses follow as soon as they answer; Ctrl-C stops everything")
    silent = {name: port for name, port in (("Dagster", dagster_port), ("MLflow", mlflow_port)) if name in commands}
    try:
        while all(process.poll() is None for process in running.values()):
            for name in [name for name, port in silent.items() if _answers(port)]:
                say(f"{name:7}  http://127.0.0.1:{silent.pop(name)}")
            time.sleep(0.5)
        ended = next(name for name, process in running.items() if process.poll() is not None)
        raise BatchguardError(
            f"{ended} ended by itself with code {running[ended].returncode}",
            remedy="Its last lines above say why; a port may be in use.",
        )
    except KeyboardInterrupt:
        say("stopping")
    finally:
        _stop(list(running.values()))


def _answers(port: int) -> bool:
    """Whether a page comes from a port on loopback."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_S)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status < http.client.BAD_REQUEST
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _stop(processes: list[subprocess.Popen]) -> None:
    for process in processes:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
    deadline = time.monotonic() + STOP_WITHIN_S - STRAGGLERS_S
    for process in processes:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(max(0.1, deadline - time.monotonic()))
    # Dagster's code servers outlive their parent for a while: end the whole group
    groups = [process.pid for process in processes]
    deadline = time.monotonic() + STRAGGLERS_S
    left = _signalled(groups, signal.SIGTERM)
    while left and time.monotonic() < deadline:
        time.sleep(0.1)
        left = _signalled(left, 0)
    _signalled(left, signal.SIGKILL)
    for process in processes:
        process.wait()


def _signalled(groups: list[int], number: int) -> list[int]:
    """Send a signal to process groups and return those that exist; signal 0 only checks."""
    existing = []
    for group in groups:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, number)
            existing.append(group)
    return existing

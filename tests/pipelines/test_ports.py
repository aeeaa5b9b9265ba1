"""A taken port is named before anything is started or made."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from features.errors import BatchguardError
from pipelines.ports import check_free
from tests.pipelines.test_dev import free_port

ROOT = Path(__file__).parents[2]


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_free_port_passes_and_stays_free() -> None:
    port = free_port()
    for _ in range(2):
        check_free({"--port": port})


def test_a_taken_port_is_named_with_the_option_that_changes_it(taken) -> None:
    with pytest.raises(BatchguardError, match=rf"port {taken} is taken.*--mlflow-port") as found:
        check_free({"--dagster-port": free_port(), "--mlflow-port": taken})
    assert len(str(found.value).splitlines()) == 1


def test_a_port_shared_by_kernel_option_is_taken_all_the_same() -> None:
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)  # as servers with several workers do
        server.bind(("127.0.0.1", 0))
        server.listen()
        with pytest.raises(BatchguardError, match="is taken"):
            check_free({"--port": server.getsockname()[1]})


def test_a_port_on_every_address_is_taken_on_loopback_too() -> None:
    with socket.create_server(("0.0.0.0", 0)) as server, pytest.raises(BatchguardError, match="is taken"):  # noqa: S104
        check_free({"--port": server.getsockname()[1]})


def test_a_port_whose_last_connection_has_just_ended_is_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
        client = socket.create_connection(address)
        accepted, _ = server.accept()
        accepted.close()  # the server's side closes first and waits
        client.close()
    check_free({"--port": address[1]})


def test_one_port_for_both_is_refused() -> None:
    with pytest.raises(BatchguardError, match="are both"):
        check_free({"--dagster-port": 3000, "--mlflow-port": 3000})


def test_an_address_of_another_machine_is_refused_with_the_reason() -> None:
    with pytest.raises(BatchguardError, match=r"nothing can listen on 192\.0\.2\.1"):  # an address for documentation
        check_free({"--port": free_port()}, "192.0.2.1")


@pytest.mark.parametrize("command", ["dev", "serve"])
def test_a_command_stops_at_a_taken_port_before_it_makes_anything(command, taken, fresh, run) -> None:
    options = fresh.options()
    if command == "dev":
        result = run("dev", *options, "--dagster-port", str(taken))
    else:
        result = run("serve", *options[:2], *options[4:], "--port", str(taken))
    assert result.exit_code == 1
    assert result.stderr.startswith(f"batchguard: port {taken} is taken")
    assert len(result.stderr.splitlines()) == 1
    assert not fresh.data_dir.exists()


def make(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["make", *words], cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("target", "variable"), [("dev", "DAGSTER_PORT"), ("dev", "MLFLOW_PORT"), ("serve", "PORT")])
def test_make_stops_at_a_taken_port_before_it_simulates_a_plant(target, variable, taken, tmp_path) -> None:
    places = (f"DATA_DIR={tmp_path / 'demo'}", f"BIN={Path(sys.executable).parent}")
    other = [f"{name}={free_port()}" for name in ("DAGSTER_PORT", "MLFLOW_PORT", "PORT") if name != variable]
    ran = make(target, *places, *other, f"{variable}={taken}", "-o", ".venv/.ready")
    assert ran.returncode != 0
    assert f"port {taken} is taken" in ran.stderr
    assert variable in ran.stderr
    assert not (tmp_path / "demo").exists()

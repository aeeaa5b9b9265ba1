"""One endpoint per port, data directory and SQLite file; a worker that ends with its parent."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.serving.process import ROOT, free_port
from features.errors import BatchguardError
from serving.instance import claimed
from serving.records.store import sqlite_file

PARENT = """
import os, sys, time
from serving.instance import end_with_parent
parent = os.getpid()
child = os.fork()
if child == 0:
    end_with_parent(parent)
    print(os.getpid(), flush=True)
time.sleep(60)
"""
HOLDER = """
import os, sys, time
from pathlib import Path
from serving.instance import claimed
with claimed(Path(sys.argv[1]), sys.argv[2], "127.0.0.1", int(sys.argv[3])):
    if os.fork() == 0:
        time.sleep(float(sys.argv[4]))
        os._exit(0)
    print("held", flush=True)
    time.sleep(60)
"""
POSTGRESQL = "postgresql://plant/records"


def sqlite(path: Path) -> str:
    return f"sqlite:///{path}"


def run(code: str, *arguments: object) -> subprocess.Popen:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, start_new_session=True)


def line_of(process: subprocess.Popen) -> str:
    assert process.stdout is not None
    with process.stdout as output:
        return output.readline().strip()


def refused(data_dir: Path, url: str, port: int) -> str:
    with pytest.raises(BatchguardError) as caught, claimed(data_dir, url, "127.0.0.1", port):
        pass
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_port_that_another_endpoint_has_is_refused_and_free_again_afterwards(tmp_path) -> None:
    port = free_port()
    with claimed(tmp_path / "a", POSTGRESQL, "127.0.0.1", port):
        assert f"127.0.0.1:{port} is taken by another process" in refused(tmp_path / "b", POSTGRESQL, port)
    with claimed(tmp_path / "b", POSTGRESQL, "127.0.0.1", port) as listener:
        assert listener.getsockname() == ("127.0.0.1", port)


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])  # noqa: S104 - a listener on all addresses has the port, too
def test_a_port_is_taken_also_by_a_listener_that_would_share_it(tmp_path, host) -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind((host, 0))
        other.listen()
        assert "is taken by another process" in refused(tmp_path, POSTGRESQL, other.getsockname()[1])


def test_a_listener_that_would_share_the_port_of_an_endpoint_does_not_get_it(tmp_path) -> None:
    port = free_port()
    with claimed(tmp_path, POSTGRESQL, "127.0.0.1", port), socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        with pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", port))


def test_an_address_of_another_machine_is_refused_in_one_line(tmp_path) -> None:
    with pytest.raises(BatchguardError, match="cannot be listened on"), claimed(tmp_path, "", "192.0.2.1", free_port()):
        pass


def test_a_data_directory_has_one_endpoint_by_whatever_path(tmp_path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "data")
    with claimed(tmp_path / "data", POSTGRESQL, "127.0.0.1", free_port()):
        for path in (tmp_path / "data", tmp_path / "link", tmp_path / "x" / ".." / "data"):
            message = refused(path, POSTGRESQL, free_port())
            assert f"data directory {path} is in use by another endpoint (process {os.getpid()})" in message


def test_a_sqlite_file_has_one_endpoint_by_whatever_path(tmp_path) -> None:
    (tmp_path / "link.db").symlink_to(tmp_path / "records.db")
    urls = [sqlite(tmp_path / "records.db"), sqlite(tmp_path / "link.db"), sqlite(tmp_path / "x" / ".." / "records.db"),
            f"sqlite+pysqlite:///{tmp_path / 'records.db'}", f"sqlite:///file:{tmp_path / 'records.db'}?uri=true"]  # fmt: skip
    with claimed(tmp_path / "a", urls[0], "127.0.0.1", free_port()):
        for url in urls:
            assert f"records {tmp_path / 'records.db'} is in use" in refused(tmp_path / "b", url, free_port())
    assert sqlite_file(POSTGRESQL) is None


def test_endpoints_with_data_directories_of_their_own_share_a_postgresql_database(tmp_path) -> None:
    with (
        claimed(tmp_path / "a", POSTGRESQL, "127.0.0.1", free_port()),
        claimed(tmp_path / "b", POSTGRESQL, "127.0.0.1", free_port()),
    ):
        assert [(tmp_path / name / "endpoint.lock").is_file() for name in ("a", "b")] == [True, True]
        assert "is in use" in refused(
            tmp_path / "a", POSTGRESQL, free_port()
        )  # a data directory is still one endpoint's


def test_a_lock_file_that_is_a_link_or_a_pipe_is_refused(tmp_path) -> None:
    (tmp_path / "endpoint.lock").symlink_to(tmp_path / "elsewhere")
    assert "the lock cannot be made" in refused(tmp_path, POSTGRESQL, free_port())
    assert not (tmp_path / "elsewhere").exists()


def test_after_a_kill_the_next_endpoint_waits_until_the_worker_of_the_former_one_has_ended(tmp_path) -> None:
    url, port = sqlite(tmp_path / "records.db"), free_port()
    holder = run(HOLDER, tmp_path, url, port, 1.0)
    assert line_of(holder) == "held"
    assert f"in use by another endpoint (process {holder.pid})" in refused(tmp_path, url, port)
    holder.kill()  # its child holds socket and locks for the rest of a second
    holder.wait()
    with claimed(tmp_path, url, "127.0.0.1", port):
        assert (tmp_path / "endpoint.lock").read_text() == f"{os.getpid()}\n"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_worker_ends_with_its_parent_however_that_ends(number) -> None:
    parent = run(PARENT)
    worker = int(line_of(parent))
    os.kill(worker, 0)  # it runs
    parent.send_signal(number)
    parent.wait()
    for _ in range(6_000):
        if not lives(worker):
            return
        time.sleep(0.01)
    raise AssertionError("the worker lives on")


def test_a_worker_whose_parent_has_ended_before_it_asked_ends_at_once() -> None:
    code = (
        "import os; from serving.instance import end_with_parent; end_with_parent(os.getppid() + 1); print('lives on')"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=False).returncode == 1


def lives(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False

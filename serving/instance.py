"""One endpoint per port, data directory and SQLite file: claimed before anything is loaded, held for the process's life.

The claims are locks of the kernel (`flock`) and a listening socket without `SO_REUSEPORT`. They end with the last process
that inherited them, so nothing has to be cleaned up after a crash, and no second server starts beside a worker that is
still ending.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Generator, Iterable
from pathlib import Path

from features.errors import BatchguardError
from serving.records.store import sqlite_file

LOCK = "endpoint.lock"  # in a data directory
BACKLOG = 1024
ENDING_S = 10.0  # how long a killed server may take to end before its successor gives up
_PORT_S = 0.5  # its socket closes just after its lock
_RETRY_S = 0.02
_PR_SET_PDEATHSIG = 1


@contextlib.contextmanager
def claimed(data_dir: Path, records_url: str, host: str, port: int) -> Generator[socket.socket]:
    """Claim a data directory, its records and a port until the block ends; yields the listening socket.

    Raises:
        BatchguardError: Another process has one of them, or the address cannot be listened on.
    """
    with contextlib.ExitStack() as held:
        for path, what in _locks(data_dir, records_url):
            held.callback(os.close, _locked(path, what))
        yield held.enter_context(_listening(host, port))


def end_with_parent(parent: int) -> None:
    """End this process when its parent ends, also by SIGKILL: an orphan would serve old code, keys and settings.

    Args:
        parent: Process id of the parent.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    else:
        threading.Thread(target=_watch_parent, args=(parent,), name="parent", daemon=True).start()
    if os.getppid() != parent:  # it ended before
        os._exit(1)


def _watch_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.2)
    os._exit(1)


def _locks(data_dir: Path, records_url: str) -> Iterable[tuple[Path, str]]:
    """The lock files, and what each stands for; the same records by another path have the same lock file."""
    yield data_dir.resolve() / LOCK, f"data directory {data_dir}"
    database = sqlite_file(records_url)
    if database is not None:
        yield database.with_name(f"{database.name}.{LOCK}"), f"records {database}"


def _locked(path: Path, what: str) -> int:
    """The handle of a lock file that this process locked; its holder's process id stands in the file."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    except OSError as error:
        raise BatchguardError(
            f"{path}: the lock cannot be made ({error.strerror})", remedy="Make the folder writable for this user."
        ) from None
    deadline = time.monotonic() + ENDING_S
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(handle, 20, 0).decode("ascii", "replace").strip()
            if _lives(holder) or time.monotonic() > deadline:
                os.close(handle)
                raise BatchguardError(
                    f"{what} is in use by another endpoint (process {holder or 'unknown'})",
                    expected="one endpoint per data directory and per SQLite file",
                    remedy="Stop that process, or serve with another --data-dir and other records.",
                ) from None
            time.sleep(_RETRY_S)
            continue
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        return handle


def _lives(process: str) -> bool:
    """Whether a process runs; a zombie does not, and neither does one whose worker is still ending."""
    if not process.isdigit():
        return False
    try:
        os.kill(int(process), 0)
        state = Path(f"/proc/{process}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    except ProcessLookupError:
        return False
    except OSError:
        return True  # another user's, or a system without /proc
    return state[:1] not in (["Z"], ["X"])


@contextlib.contextmanager
def _listening(host: str, port: int) -> Generator[socket.socket]:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise BatchguardError(f"--host {host}: {error.strerror}", expected="an address of this machine") from None
    with listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections that are closing; no second server
        _bind(listener, address, host, port)
        listener.setblocking(False)
        yield listener


def _bind(listener: socket.socket, address: tuple, host: str, port: int) -> None:
    deadline = time.monotonic() + _PORT_S
    while True:
        try:
            listener.bind(address)
            listener.listen(BACKLOG)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise BatchguardError(
                    f"{host}:{port} cannot be listened on ({error.strerror})",
                    expected="an address of this machine and a port above 1023",
                ) from None
            if time.monotonic() > deadline:
                raise BatchguardError(
                    f"{host}:{port} is taken by another process",
                    expected="a free port",
                    remedy="Stop that process ('ss -ltnp' shows it), or choose another --port.",
                ) from None
            time.sleep(_RETRY_S)
            continue
        return

"""Steps in a forked child that is killed with SIGKILL at one of its events: files opened to write, renames, statements, commits."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Engine, event

_FILES = (
    "os.rename",
    "os.remove",
    "os.mkdir",
    "os.rmdir",
    "os.link",
    "shutil.rmtree",
    "shutil.copyfile",
    "shutil.move",
)
STUCK_S = 300.0
Step = Callable[[], object]


def n_events(step: Step, log: Path) -> int:
    """How many events a step has, which is done in a child of its own."""
    counted = log.with_suffix(".events")

    def counting() -> None:
        seen = _Events(None)
        seen.listen()
        step()
        counted.write_text(str(seen.n))

    code = in_child(counting, log)
    assert code == 0, log.read_text()
    return int(counted.read_text())


def killed_at(step: Step, at: int, log: Path) -> bool:
    """Do a step in a child that kills itself at an event; whether it came so far."""

    def killing() -> None:
        _Events(at).listen()
        step()

    return in_child(killing, log) == -signal.SIGKILL


def in_child(step: Step, log: Path) -> int:
    """Do a step in a forked child; its exit code, or the negative number of the signal that ended it."""
    child = os.fork()
    if child == 0:
        code = 1
        with contextlib.suppress(BaseException), log.open("w") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
            try:
                step()
                code = 0
            except BaseException:  # noqa: BLE001 - the child ends here, whatever it is
                traceback.print_exc()
                sys.stderr.flush()
        os._exit(code)
    return _ended(child)


def _ended(child: int) -> int:
    deadline = time.monotonic() + STUCK_S
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return 99  # it hung


class _Events:
    """Counts what changes files and databases; at the given one, the process kills itself."""

    def __init__(self, at: int | None) -> None:
        self.n, self._at = 0, at

    def listen(self) -> None:
        """Listen until the process ends: an audit hook stays."""
        sys.addaudithook(self._audit)
        for name in ("before_cursor_execute", "after_cursor_execute", "commit"):
            event.listen(Engine, name, lambda *_, **__: self._next())

    def _audit(self, name: str, arguments: tuple) -> None:
        writes = name == "open" and isinstance(arguments[1], str) and any(c in arguments[1] for c in "wax+")
        if writes or name in _FILES:
            self._next()

    def _next(self) -> None:
        self.n += 1
        if self.n == self._at:
            os.kill(os.getpid(), signal.SIGKILL)

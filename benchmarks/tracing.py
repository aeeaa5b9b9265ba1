"""Which of our own files a piece of work enters, in whatever thread, and how often its calls change package."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections import Counter
from collections.abc import Generator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import FrameType

OURS = ("features", "models", "serving", "pipelines")
COUNTED = (
    "A change is a call from a frame of ours in one directory into a frame of ours in another, over frames of "
    "libraries between the two. Returns, generators and coroutines that go on, and entries from a server or from a "
    "thread's start do not count."
)


@dataclass
class Trace:
    """What one request entered.

    Attributes:
        files: Calls by file, relative to the checkout.
        changes: Calls by directory of the caller and directory of what it called, where the two differ.
        in_fastapi: Whether FastAPI's own way to a handler was taken.
        share: Of the requests that it stands for, those that entered the same.
    """

    files: Counter[str] = field(default_factory=Counter)
    changes: Counter[tuple[str, str]] = field(default_factory=Counter)
    in_fastapi: bool = False
    share: float = 1.0

    @property
    def alike(self) -> tuple[frozenset[str], frozenset[tuple[str, str]], bool]:
        """What two requests have in common that went the same way."""
        return frozenset(self.files), frozenset(self.changes), self.in_fastapi

    @property
    def top_level(self) -> int:
        """Changes between features, models, serving and pipelines."""
        return sum(n for (a, b), n in self.changes.items() if a.split("/")[0] != b.split("/")[0])

    def counts(self) -> dict[str, int]:
        """The figures."""
        return {"files": len(self.files), "directories": len({_folder(name) for name in self.files}),
                "calls": self.files.total(), "changes of directory": self.changes.total(),
                "pairs of directories": len(self.changes), "changes of top-level package": self.top_level}  # fmt: skip


class Tracer:
    """Counts the calls of all threads that were started after it; only while it records.

    Args:
        root: The checkout whose files are ours.
    """

    def __init__(self, root: Path) -> None:
        self._root, self._trace, self._lock = f"{root}{os.sep}", None, threading.Lock()
        self.ours = cache(self._ours)

    def _ours(self, filename: str) -> str | None:
        """A file's path in the checkout, None where it is not ours."""
        name = filename.removeprefix(self._root)
        return name if name != filename and name.split("/")[0] in OURS else None

    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        """The trace function; None: it wants no events within the frame."""
        if self._trace is None or event != "call" or _is_resumed(frame):
            return
        called = self.ours(frame.f_code.co_filename)
        with self._lock:
            if self._trace is not None and called is not None:
                self._note(self._trace, called, frame)
            elif self._trace is not None and frame.f_code.co_filename.endswith("fastapi/routing.py"):
                self._trace.in_fastapi = True

    def _note(self, trace: Trace, called: str, frame: FrameType) -> None:
        trace.files[called] += 1
        caller, name = frame.f_back, None
        while caller is not None and name is None:
            name, caller = self.ours(caller.f_code.co_filename), caller.f_back
        if name is not None and _folder(name) != _folder(called):
            trace.changes[_folder(name), _folder(called)] += 1

    @contextlib.contextmanager
    def installed(self) -> Generator[None]:
        """This thread, and all that are started meanwhile, can be recorded."""
        before = threading.gettrace(), sys.gettrace()
        threading.settrace(self)
        sys.settrace(self)
        try:
            yield
        finally:
            threading.settrace(before[0])
            sys.settrace(before[1])

    @contextlib.contextmanager
    def recording(self) -> Generator[Trace]:
        """What is called meanwhile."""
        self._trace = found = Trace()
        try:
            yield found
        finally:
            self._trace = None


def _folder(name: str) -> str:
    return name.rpartition("/")[0]


def _is_resumed(frame: FrameType) -> bool:
    """Whether it is a generator or coroutine that goes on: the argument of RESUME is 0 only at the start."""
    return frame.f_code.co_code[frame.f_lasti + 1] != 0

"""The disk is full: records, log, anchor, bundles and temporary files lie on one that is filled and freed."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import psutil

from benchmarks.record import figure
from benchmarks.serving.http import ask
from benchmarks.serving.outages.consistency import Judge
from benchmarks.serving.outages.mes import Client, under
from benchmarks.serving.place import Place, bundle
from benchmarks.serving.released import models_of, release_into
from benchmarks.serving.server import Endpoint, endpoint
from features.errors import StorageError
from serving.bundle.loader import load_predictor
from serving.commands import RecordsAdmin

TIMES, FULL_S, SIZE_MB = 10, 1.0, 96
PATIENCE_S = 30.0
CONFIG = "look_every_s = 0.1\n"


class Disk(Protocol):
    """One that can be filled and freed."""

    @property
    def folder(self) -> Path:
        """Where its files are."""
        ...

    @property
    def kind(self) -> str:
        """What it is, for the note."""
        ...

    def fill(self, found: Endpoint, left: int) -> None:
        """Leave so many bytes and no more."""
        ...

    def free(self, found: Endpoint) -> None:
        """Make room again."""
        ...


@dataclass(frozen=True)
class Mounted:
    """A file system of its own, really full."""

    folder: Path
    kind: str = f"a tmpfs of {SIZE_MB} MB"

    def fill(self, found: Endpoint, left: int) -> None:  # noqa: ARG002 - of the protocol
        """Write until it takes no more, then give back what is to be left."""
        with (self.folder / "filler").open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(1 << 20))
        with (self.folder / "filler").open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))
        os.truncate(self.folder / "filler", max(0, (self.folder / "filler").stat().st_size - left))

    def free(self, found: Endpoint) -> None:  # noqa: ARG002 - of the protocol
        """Remove what filled it."""
        (self.folder / "filler").unlink()


@dataclass(frozen=True)
class Limited:
    """Where nothing may be mounted: the endpoint's files may grow to no size beyond a limit (RLIMIT_FSIZE, EFBIG)."""

    folder: Path
    kind: str = "no file system may be mounted here: a limit on the size of the endpoint's files instead"

    def fill(self, found: Endpoint, left: int) -> None:
        """Let no file grow beyond what is left."""
        self._limit(found, left)

    def free(self, found: Endpoint) -> None:
        """Let files grow."""
        self._limit(found, resource.RLIM_INFINITY)

    def _limit(self, found: Endpoint, size: int) -> None:
        assert found.served.process is not None
        for process in psutil.Process(found.served.process.pid).children(recursive=True):
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


@contextlib.contextmanager
def small_disk(root: Path) -> Generator[Disk]:
    """A full file system where the machine allows to mount one, else a limit of the kernel."""
    folder = root / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE_MB}m", "tmpfs", str(folder)]
    mounted = (
        shutil.which("mount") is not None and subprocess.run(command, capture_output=True, check=False).returncode == 0
    )
    try:
        yield Mounted(folder) if mounted else Limited(folder)
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=True)


def figures_of(place: Place) -> Generator[dict[str, Any]]:
    """Everything on the small disk at once."""
    with small_disk(place.root) as disk:
        there = replace(place, root=disk.folder)
        shutil.copytree(place.bundles, there.bundles)
        shutil.copy(place.root / "first", there.root / "first")
        there.data_dir.mkdir()
        url = f"sqlite:///{disk.folder / 'records.db'}"
        judge = Judge(url, there.data_dir / "audit.anchor", models_of(there.bundles, there.data_dir, url))
        with endpoint(there, url, CONFIG, TMPDIR=str(disk.folder)) as found:
            yield _filled(found, disk, judge)
            if isinstance(disk, Mounted):
                yield _refused(there, found, disk)
                yield _released(there, found, disk)


def _filled(found: Endpoint, disk: Disk, judge: Judge) -> dict[str, Any]:
    chance, refusals = random.Random(7), []  # noqa: S311 - amounts, no secrets

    def full(clients: list[Client]) -> None:
        before = sum(client.statuses[503] for client in clients)
        disk.fill(found, chance.choice((0, 0, chance.randrange(200_000))))
        time.sleep(FULL_S)
        disk.free(found)
        refusals.append(sum(client.statuses[503] for client in clients) - before)

    start = judge.before()
    told = under(found, full, TIMES)
    more = f"{disk.kind}; {sum(n > 0 for n in refusals)} of {TIMES} times it answered 503"
    return judge.figure("disk full: records, log, anchor, bundles and temporary files on it", TIMES, told, start, more)


def _refused(place: Place, found: Endpoint, disk: Disk) -> dict[str, Any]:
    """A bundle written onto a full disk is refused in one line, and leaves the folder as it was."""
    held, whole = sorted(place.bundles.rglob("*")), 0
    predictor, words = load_predictor(place.first), place.first.vocabulary
    for i in range(TIMES):
        disk.fill(found, i * 100_000)
        with contextlib.suppress(StorageError):
            bundle(place.bundles, predictor, words, "too much")
            whole += 1
        disk.free(found)
    left = len(set(place.bundles.rglob("*")) - set(held))
    return figure("bundles written onto a full disk: whole, or parts left of them", whole + left, "files", bound=0, side="max",
                  n=TIMES, note="each refused in one line")  # fmt: skip


def _released(place: Place, found: Endpoint, disk: Disk) -> dict[str, Any]:
    """A release that became effective is not used while there is no room to try it out, and is used once there is."""
    first, beside = place.first, place.root / "next"
    with tempfile.TemporaryDirectory() as name, RecordsAdmin(place.data_dir) as admin:
        aside = Path(name)
        made = bundle(aside, load_predictor(first), first.vocabulary, "next")
        release_into(admin.records, aside, place.data_dir, "next", lambda _: made)
        shutil.copytree(aside / made.sha256, beside)
    former = _model(found)["version"]
    disk.fill(found, 0)
    beside.rename(place.bundles / made.sha256)
    waited = _until(found, lambda model: model["stale_since_us"] is not None)
    time.sleep(1.0)
    version = _model(found)["version"]
    disk.free(found)
    taken = _until(found, lambda model: model["version"] == "next")
    holds = max(waited, taken) < PATIENCE_S and version == former
    note = f"said that it was stale after {waited:.1f} s on the full disk; took the release {taken:.1f} s after there was room"
    return figure("a release that becomes effective while the disk is full is not used, and is once there is room", float(holds), "",
                  bound=1, n=1, note=note)  # fmt: skip


def _model(found: Endpoint) -> dict[str, Any]:
    return ask(found.port, found.send("GET", "/v1/model"))[1]


def _until(found: Endpoint, reached: Callable[[dict[str, Any]], bool]) -> float:
    begin = time.monotonic()
    while time.monotonic() - begin < PATIENCE_S and not reached(_model(found)):
        time.sleep(0.05)
    return time.monotonic() - begin

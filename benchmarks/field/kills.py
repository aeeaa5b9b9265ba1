"""Kills of a replay: nothing is made twice, nothing half-written is read, and the scores are those of one that went through.

A process opens a stored history and replays it into a folder of models; it is killed (SIGKILL) at moments drawn by chance and
started again. Before the next start, whatever a kill left beside its place is overwritten: were it read, the replay would
end in an error or in other scores.
"""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.field.killed_replay import store
from benchmarks.field.made_plant import made_plant
from benchmarks.record import figure

N_BATCHES, N_KILLS, SEED = 80, 50, 23
_ROOT = Path(__file__).resolve().parents[2]
# a kill follows a line of the log by a delay drawn up to so many seconds, each as often: at any moment of the work, within a
# training (about a second), as a model is being written (about a hundredth of a second), or after one was made
_MOMENTS = (("opened", 3.0), ("training", 1.5), ("trained", 0.03), ("made", 1.5))
_MOST_ENDED = 5  # replays that may end before they could be killed: then there was too little work
_WAIT_S = 60.0
_OVERWRITTEN = b"left over"


def figures() -> list[dict[str, object]]:
    """Replay once through and once killed; compare."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        store(made_plant(N_BATCHES, per_hour=1).history, root / "history")
        through, killed = Place(root, "through"), Place(root, "killed")
        assert through.start().wait() == 0, "the replay that is not killed ends in an error"
        phases, damaged = killed_often(killed, through, np.random.default_rng(SEED))
        status = killed.start().wait()
        damaged += len(damaged_files(killed.fits, through.fits))
        made = Counter(line for line in killed.lines() if line.startswith("made "))
        assert status == 0, "the replay that was killed ends in an error"
        other = scores_that_differ(through.scores, killed.scores)
        n_scores = len(pd.read_parquet(through.scores))
        n_models = len({line for line in through.lines() if line.startswith("made ")})
    n = sum(phases.values())
    landed = ", ".join(f"{name} {count}" for name, count in phases.most_common())
    return [
        figure("kills of a replay", n, "kills", bound=N_KILLS, n=n, note=f"what was killed: {landed}; {n_models} models"),
        figure("models made twice", sum(count - 1 for count in made.values()), "models", bound=0, side="max", n=n_models,
               note=f"{len(made)} told of by the killed replay: one killed between the move and the telling would be in its place untold"),
        figure("damaged files at the place where they are read", damaged, "files", bound=0, side="max", n=n,
               note="after each kill every file at its place was compared with that of the replay that went through; "
                    f"{killed.overwritten} files left beside their place were overwritten, and none of them was read"),
        figure("scores that differ from a replay that went through", other, "scores", bound=0, side="max",
               n=n_scores),
    ]  # fmt: skip


@dataclass
class Place:
    """The folder of one replay, and its process."""

    root: Path
    name: str
    overwritten: int = field(default=0)

    @property
    def fits(self) -> Path:
        """Models and scores."""
        return self.root / self.name / "fits"

    @property
    def scores(self) -> Path:
        """Where the scores are when the replay has ended."""
        return self.root / self.name / "scores.parquet"

    def start(self) -> subprocess.Popen[bytes]:
        """Start its process."""
        self.fits.mkdir(parents=True, exist_ok=True)
        command = [
            sys.executable,
            "-m",
            "benchmarks.field.killed_replay",
            str(self.root / "history"),
            str(self.root / self.name),
        ]
        return subprocess.Popen(command, cwd=_ROOT, env=os.environ | {"PYTHONPATH": str(_ROOT)})

    def lines(self) -> list[str]:
        """Lines of its log."""
        path = self.root / self.name / "log"
        return path.read_text().splitlines() if path.exists() else []


def killed_often(place: Place, through: Place, rng: np.random.Generator) -> tuple[Counter[str], int]:
    """Start and kill until there were `N_KILLS`, or the replay has nothing left to do; what each kill hit."""
    phases: Counter[str] = Counter()
    damaged = ended = 0
    while sum(phases.values()) < N_KILLS and ended < _MOST_ENDED:
        after, most_s = _MOMENTS[rng.integers(len(_MOMENTS))]
        delay, known = rng.uniform(0, most_s), len(place.lines())
        process = place.start()
        _wait_for(place, process, known, after)
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        if process.wait() != -signal.SIGKILL:
            ended += 1
            continue
        phases[phase_of(place.lines()[known:])] += 1
        damaged += len(damaged_files(place.fits, through.fits))
        place.overwritten += overwrite_leftovers(place.fits)
    return phases, damaged


def phase_of(lines: list[str]) -> str:
    """What a replay was doing after the lines that it had written since its start."""
    last = lines[-1].split(" ")[0] if lines else ""
    return {"": "start", "training": "a training", "trained": "the writing of a model"}.get(last, "reading and scoring")


def damaged_files(fits: Path, whole: Path) -> list[Path]:
    """Files at their place that are not, byte by byte, those of a replay that went through."""
    return [
        path.relative_to(fits) for path in _at_place(fits) if _sha256(path) != _sha256(whole / path.relative_to(fits))
    ]


def overwrite_leftovers(fits: Path) -> int:
    """Fill the files that lie beside their place, where no replay may look, with what cannot be read; how many new ones."""
    beside = [path for path in fits.rglob("*") if path.is_file() and _is_beside(path, fits)]
    paths = [path for path in beside if path.read_bytes() != _OVERWRITTEN]
    for path in paths:
        path.write_bytes(_OVERWRITTEN)
    return len(paths)


def scores_that_differ(one: Path, other: Path) -> int:
    """Rows of two files of scores that are not the same to the bit, or that only one has."""
    a, b = pd.read_parquet(one), pd.read_parquet(other)
    if len(a) != len(b) or list(a) != list(b):
        return max(len(a), len(b))
    same = (a == b) | (a.isna() & b.isna())
    return int((~same.all(axis=1)).sum())


def _wait_for(place: Place, process: subprocess.Popen[bytes], known: int, line: str) -> None:
    """Wait until a process has written a line, or has ended."""
    deadline = time.monotonic() + _WAIT_S
    while time.monotonic() < deadline and process.poll() is None and not _told(place.lines()[known:], line):
        time.sleep(0.002)


def _told(lines: list[str], word: str) -> bool:
    return any(line.split(" ")[0] == word for line in lines)


def _at_place(fits: Path) -> list[Path]:
    return [path for path in sorted(fits.rglob("*")) if path.is_file() and not _is_beside(path, fits)]


def _is_beside(path: Path, fits: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(fits).parts)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else ""

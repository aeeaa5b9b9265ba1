"""`make bench-house`: the size and structure of the code beside those of version 0.1.0: `benchmarks/results/house.json`.

Lines of the four packages, the word `Any` in them, and what one score over HTTP goes through (`benchmarks.trace_score`),
each counted on this checkout and, in a temporary worktree, on the commit of 0.1.0, with this environment.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.record import figure, write

ROOT = Path(__file__).parents[1]
FORMER = "6c4ab94"  # the last commit of 0.1.0
PACKAGES = ("features", "models", "serving", "pipelines")
MOST_LINES, MOST_ANY = 32_800, 120


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        former = Path(folder) / FORMER
        _git("worktree", "add", "--detach", str(former), FORMER)
        try:
            figures = [*_size(former), *_one_score(former, Path(folder))]
        finally:
            _git("worktree", "remove", "--force", str(former))
    for each in figures:
        print(
            f"{each['name']}: {each['value']} {each['unit']}, bound {each['bound']}, holds {each['holds']} ({each['note']})"
        )
    print(write("house", figures))


def _size(former: Path) -> list[dict[str, object]]:
    (lines, words), (lines_then, words_then) = _count(ROOT), _count(former)
    return [
        figure(
            "lines of the four packages", lines, "lines", bound=MOST_LINES, side="max", note=f"{lines_then} in 0.1.0"
        ),
        figure("the word Any in them", words, "words", bound=MOST_ANY, side="max", note=f"{words_then} in 0.1.0"),
    ]


def _count(root: Path) -> tuple[int, int]:
    """Lines of the tracked Python files of the packages, and how often the word `Any` stands in them."""
    listed = subprocess.run(
        ["git", "ls-files", *PACKAGES], cwd=root, check=True, capture_output=True, text=True
    ).stdout.split()
    texts = [(root / name).read_text(encoding="utf-8") for name in listed if name.endswith(".py")]
    return sum(text.count("\n") for text in texts), sum(len(re.findall(r"\bAny\b", text)) for text in texts)


def _one_score(former: Path, folder: Path) -> list[dict[str, object]]:
    now, then = _traced(ROOT, folder / "now.json"), _traced(former, folder / "then.json")
    return [
        figure(f"{name} during one score over HTTP with reasons", now[name], "", bound=then[name] / 2, side="max",
               against="half of what the same script counts on 0.1.0", note=f"{then[name]} in 0.1.0")
        for name in then if name in ("files", "changes of directory", "changes of top-level package")
    ]  # fmt: skip


def _traced(root: Path, out: Path) -> dict[str, int]:
    """Counts of the plain request, from a process of its own."""
    command = [sys.executable, "-m", "benchmarks.trace_score", "--root", str(root), "--json", str(out)]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return next(iter(json.loads(out.read_text(encoding="utf-8"))["requests"].values()))["counts"]


def _git(*words: str) -> None:
    subprocess.run(["git", *words], cwd=ROOT, check=True, capture_output=True)


if __name__ == "__main__":
    main()

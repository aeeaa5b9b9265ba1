"""Fenced blocks of the documentation, and the script that runs those of a page.

A block of `sh` or `python` is run as it is written, in the order of the page, in one shell per page. `sh background` stays in
the foreground for a reader and is run in the background. The line before a block that cannot be run says why:
`<!-- not run: REASON -->`. Text that is no program is fenced as `text`, `csv`, `toml` or `json`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
ACTIVATE = "source .venv/bin/activate"
PORT = 8080  # of the pages; the only text of a block that is replaced: other programs may use it on this machine
PROGRAMS = ("sh", "sh background", "python")
OTHERS = ("text", "csv", "toml", "json")
_BLOCK = re.compile(
    r"(?:^<!-- not run: (?P<why>[^\n]+?) -->\n)?^```(?P<kind>[^\n]*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL
)
_WORDS = r"(?:batchguard|make|curl|python|pip|uv|git|source \S+activate|dagster|\.venv/bin/\w+)"
COMMAND = re.compile(rf"^\s*(?:\$ )?(?:[A-Z_]+=\S+ )*{_WORDS} [^|]*$", re.MULTILINE)  # a line with | is a table's


@dataclass(frozen=True)
class FencedBlock:
    """A block of a page.

    Attributes:
        line: Of its first line of code, counted from 1.
        kind: What stands behind the fence.
        code: With a line end.
        why_not: Why it is not run; empty where it is.
    """

    line: int
    kind: str
    code: str
    why_not: str

    @property
    def is_run(self) -> bool:
        """Whether the test of the commands runs it."""
        return self.kind in PROGRAMS and not self.why_not


def blocks_of(text: str) -> list[FencedBlock]:
    """All fenced blocks of a page, in order."""
    return [
        FencedBlock(text[: found.start("code")].count("\n") + 1, found["kind"], found["code"], found["why"] or "")
        for found in _BLOCK.finditer(text)
    ]


def faults_of(text: str) -> list[str]:
    """Blocks of an unknown kind, reasons that say nothing, and commands that stand where nothing runs them."""
    faults = []
    for block in blocks_of(text):
        if block.kind not in (*PROGRAMS, *OTHERS):
            faults.append(f"line {block.line}: a block of {block.kind or 'no kind'}")
        if block.why_not and len(block.why_not.split()) < 4:
            faults.append(f"line {block.line}: no reason")
        if block.kind in OTHERS and (found := COMMAND.search(block.code)):
            faults.append(f"line {block.line}: a command in a block of {block.kind}: {found[0].strip()}")
    outside = _BLOCK.sub("", text)
    faults += [f"a command in an indented block: {found.strip()}" for found in re.findall(r"\n\n {4}(\S.*)", outside)
               if COMMAND.match(found)]  # fmt: skip
    if ACTIVATE not in text and any(b.is_run and re.search(r"\b(batchguard|python) ", b.code) for b in blocks_of(text)):
        faults.append(f"the page does not say {ACTIVATE!r}")
    return faults


def script_of(text: str, *, port: int) -> str:
    """A bash script of a page's blocks; it stops at the first command that fails and prints the line of its block.

    Args:
        text: The page. Its shell has the environment activated from the beginning, unless a block of the page does it.
        port: Free port that takes the place of `PORT`.
    """
    run = [block for block in blocks_of(text) if block.is_run]
    lines = ["set -euo pipefail", "trap 'echo \"line $AT: failed: $BASH_COMMAND\" >&2' ERR", "AT=0"]
    lines += [] if any(ACTIVATE in block.code for block in run) else [ACTIVATE]
    python = "".join(block.code for block in run if block.kind == "python")
    for block in run:
        code = re.sub(rf"\b{PORT}\b", str(port), block.code)
        lines.append(f"AT={block.line}")
        if block.kind == "python":
            continue
        lines.append(f"{{\n{code}}} > background.log 2>&1 &" if block.kind == "sh background" else code)
    lines += [f"python - <<'END_OF_PYTHON'\n{python}END_OF_PYTHON"] if python else []
    return "\n".join(lines) + "\n"

"""Draw what a run prints, as the README shows it: `python -m benchmarks.picture PROCESS DATA_DIR OUT.svg`."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from rich.console import Console

from pipelines.console import show_scores
from pipelines.plant import Plant
from pipelines.settings import Settings


def picture(process: Path, data_dir: Path) -> str:
    console = Console(record=True, width=80, file=sys.stderr, highlight=False)
    show_scores(Plant(Settings(process, Path(), data_dir)), console, most=6)
    svg = console.export_svg(title="batchguard run")
    return re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL)  # it would fetch fonts from a network


if __name__ == "__main__":
    Path(sys.argv[3]).write_text(picture(Path(sys.argv[1]), Path(sys.argv[2])), encoding="utf-8")

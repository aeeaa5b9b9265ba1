"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines.settings import process_file

ProcessOption = Annotated[
    Path,
    typer.Option(
        "--process", parser=process_file, metavar="FILE|ID",
        help="Process definition: a TOML file, or the id of one in the package: ai4i, cart, indpensim, secom, tablet.",
    ),
]  # fmt: skip
HistoryOption = Annotated[Path, typer.Option("--history", help="History folder: one file per table.")]
DataOption = Annotated[Path, typer.Option("--data-dir", help="Folder of all tables, models and reports.")]

"""The command `batchguard backtest`: its options checked, the job run, the figures printed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from features.errors import BatchguardError
from models.policy import load_policy
from pipelines.main_job import prepare, run_job, with_months_of_source
from pipelines.plant import Plant
from pipelines.settings import Settings

if TYPE_CHECKING:
    from rich.console import Console

_CALLS = (("high", "called high"), ("watched", "called high or elevated"))


@dataclass(frozen=True)
class Found:
    """A replay as it was written.

    Attributes:
        folder: With `backtest.html`, `backtest.json` and `scores.parquet`.
    """

    folder: Path

    def show(self, out: Console) -> None:
        """Print the figures, block by block."""
        found = json.loads((self.folder / "backtest.json").read_text(encoding="utf-8"))
        _show_table(out, "Field replay", found["blocks"])
        if "against" in found:
            _show_table(out, "The policy beside it", found["against"]["blocks"])
            for row in found["side_by_side"]:
                span = "no interval" if row["low"] is None else f"{row['low']:+.3f} to {row['high']:+.3f}"
                out.print(
                    f"{row['figure']:38s} {row['ours']:8.3f} {row['theirs']:8.3f}  difference {row['difference']:+.3f} ({span})"
                )
        out.print(f"report  {self.folder / 'backtest.html'}", markup=False)

    def copy_to(self, path: Path) -> None:
        """Copy the figures to a file."""
        shutil.copyfile(self.folder / "backtest.json", path)


def run_backtest(
    settings: Settings,
    say: Callable[[str], None],
    *,
    from_: str = "",
    until: str = "",
    policy: Path | None = None,
    against: Path | None = None,
) -> Found:
    """Ingest, and replay the history on the calendar.

    Raises:
        BatchguardError: A time has no offset, a policy cannot be read, or the history is too short.
    """
    config = {
        "policy": _readable_policy(policy),
        "against": _readable_policy(against),
        "from_": _time("--from", from_),
        "until": _time("--until", until),
        "asked": True,
    }
    settings = prepare(with_months_of_source(settings))
    steps = {name: {"config": config} for name in ("training_moments", "replayed_scores")}
    run_job(settings, "backtest", say, {"field_replay": {"ops": steps}})
    return Found(Plant(settings).backtest_dir)


def _readable_policy(path: Path | None) -> str:
    if path is None:
        return ""
    load_policy(path)
    return str(path.absolute())


def _time(option: str, text: str) -> str:
    if not text:
        return ""
    try:
        moment = pd.Timestamp(text)
    except ValueError:
        moment = pd.NaT
    if moment is pd.NaT or moment.tzinfo is None:
        raise BatchguardError(
            f"{option} {text!r} cannot be used", expected="a time with offset such as 2026-01-31T08:00+01:00"
        )
    return moment.tz_convert("UTC").isoformat()


def _show_table(out: Console, title: str, blocks: list[dict[str, Any]]) -> None:
    from rich import box
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for name in ("block", "batches", "failed"):
        table.add_column(name, justify="right")
    for name, words in _CALLS:
        table.add_column(f"good {words}, asked {100 * blocks[0][f'{name}_asked']:g} %", justify="right")
        table.add_column(f"failed {words}", justify="right")
    for name in ("stated", "AUROC", "limited or no support"):
        table.add_column(name, justify="right")
    for row in blocks:
        cells = [row["block"], str(row["n_batches"]), str(row["n_failed"])]
        for name, _ in _CALLS:
            mark = "" if row[f"{name}_as_asked"] else " *"
            cells += [f"{row[f'{name}_alarmed']} of {row['n_good']}{mark}", str(row[f"{name}_n_found"])]
        auroc = "–" if row["auroc"] is None else f"{row['auroc']:.3f}"
        table.add_row(*cells, f"{row['stated']:.1f}", auroc, f"{100 * (row['limited'] + row['no_support']):.0f} %")
    out.print(table)
    out.print("* outside the exact binomial 95 % range of what was asked")

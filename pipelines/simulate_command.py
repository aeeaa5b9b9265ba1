"""`batchguard simulate`: the simulated plant on the command line."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from features.errors import SourceError

if TYPE_CHECKING:
    from rich.progress import TaskID

    from pipelines.simulator.settings import ProcessChange, SimulationSettings


def simulate_command(
    out: Annotated[Path, typer.Option(help="Folder to write: history/ and, apart from it, truth.parquet.")],
    batches: Annotated[int, typer.Option(help="Batches with a disposition.")] = 600,
    in_progress: Annotated[int, typer.Option(help="Batches still running at the end.")] = 12,
    seed: Annotated[int, typer.Option(help="Everything random follows from it.")] = 35,
    sites: Annotated[int, typer.Option(help="Sites, 1 to 20.")] = 3,
    until: Annotated[str, typer.Option(help="Now in the plant, ISO 8601 with offset.")] = "2026-06-30T06:00:00Z",
    since: Annotated[str | None, typer.Option(help="First start; absent: three years earlier.")] = None,
    sensor_interval_min: Annotated[float, typer.Option(help="Grain of the stored sensors, 1 to 60 min.")] = 15.0,
    process_change: Annotated[str, typer.Option(help="none, comparable or not_comparable.")] = "comparable",
    change_at: Annotated[float, typer.Option(help="When the process changes, as a share of the history.")] = 0.6,
    base_rate: Annotated[float | None, typer.Option(help="Share of failed batches to aim at.")] = None,
    mode_rate: Annotated[
        list[str] | None, typer.Option(help="Factor on one mode's prior, M4=0; may be repeated.")
    ] = None,
    scale: Annotated[
        list[float] | None, typer.Option(help="Working volume in L: 0.25, 1, 5, 50; may be repeated.")
    ] = None,
    workers: Annotated[int, typer.Option(help="Processes; the bytes do not depend on it.", min=1)] = 1,
    reveal: Annotated[
        bool, typer.Option("--reveal", help="Only print the truth about the batches in progress of --out.")
    ] = False,
    live: Annotated[bool, typer.Option("--live", help="Only play the batches in progress of --out forward.")] = False,
    speed: Annotated[float, typer.Option(help="--live: plant time over wall time.")] = 3600.0,
    tick: Annotated[float, typer.Option(help="--live: seconds between two steps.")] = 5.0,
    hours: Annotated[
        float | None, typer.Option(help="--live: plant hours to play; absent: to the last disposition.")
    ] = None,
    endpoint: Annotated[
        str | None, typer.Option(help="--live: also send to a scoring endpoint, by the key in BATCHGUARD_KEY.")
    ] = None,
) -> None:
    """Simulate a cell-therapy plant whose truth is known, reveal its truth, or play it on."""
    if reveal and live:
        raise SourceError("--reveal and --live together", expected="one of them")
    if reveal:
        _reveal(out)
    elif live:
        _live(out, speed, tick, hours, endpoint)
    else:
        from pipelines.simulator.settings import SimulationSettings

        settings = SimulationSettings(
            n_batches=batches, n_in_progress=in_progress, seed=seed, n_sites=sites, until=_when("until", until),
            since=None if since is None else _when("since", since), sensor_interval_min=sensor_interval_min,
            process_change=cast("ProcessChange", process_change), change_at=change_at, base_rate=base_rate,
            mode_rates=_rates(mode_rate or []), scales_l=tuple(scale) if scale else (0.25,),
        )  # fmt: skip
        _simulate(settings, out, workers)


def _simulate(settings: SimulationSettings, out: Path, workers: int) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from pipelines.simulator import simulate
    from pipelines.simulator.reveal import NOTICE

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as bars:
        tasks: dict[str, TaskID] = {}

        def show(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(
                    {"plan": "Planning batches", "records": "Writing records"}[stage], total=total
                )
            bars.update(tasks[stage], completed=done)

        report = simulate(settings, out, workers=workers, progress=show)
    decided = sum(report.outcomes.values())
    typer.echo(f"{report.history}: {decided} batches with a disposition ({report.n_failed} failed), "
               f"{report.n_in_progress} in progress, {report.rows['observations']:,} observations, {report.seconds:.1f} s")  # fmt: skip
    typer.echo(NOTICE)


def _reveal(out: Path) -> None:
    from pipelines.simulator.reveal import reveal

    for line in reveal(out):
        typer.echo(line)


def _live(out: Path, speed: float, tick: float, hours: float | None, endpoint: str | None) -> None:
    from pipelines.simulator.feed import Feed, sender
    from pipelines.simulator.live import play

    feed = Feed(out / "history", sender(endpoint, os.environ.get("BATCHGUARD_KEY", ""))) if endpoint else None
    for step in play(out, speed=speed, tick_s=tick, hours=hours):
        now = datetime.fromtimestamp(step.now * 3600.0, UTC)
        rows = ", ".join(f"{n:,} {name}" for name, n in step.new_rows.items() if n) or "nothing new"
        typer.echo(f"{now:%Y-%m-%d %H:%M} UTC: {rows}; {step.n_in_progress} in progress")
        for score in feed.advance(step.now) if feed else ():
            first = score.reasons[0].sentence if score.reasons else "no single reason"
            typer.echo(f"  {score.batch_id}: {score.failure_probability:.1%}  {first}")


def _when(name: str, text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise SourceError(f"--{name} {text!r} is not a time", expected="for example 2026-06-30T06:00Z") from None


def _rates(pairs: list[str]) -> dict[str, float]:
    rates = {}
    for pair in pairs:
        mode, _, factor = pair.partition("=")
        try:
            rates[mode] = float(factor)
        except ValueError:
            raise SourceError(f"--mode-rate {pair!r}", expected="MODE=FACTOR, for example M4=0") from None
    return rates

"""The command line. It parses, calls one function of another room, and prints; `--help` imports nothing heavy."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, ParamSpec

import typer
from rich.console import Console

from features.errors import BatchguardError
from pipelines.endpoint_command import audit, keys, replay, serve_command
from pipelines.settings import Settings
from pipelines.simulator.command import simulate_command

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
_WIDTH = None if sys.stdout.isatty() else 140  # a file or a pipe has no width of its own
out = Console(width=_WIDTH, soft_wrap=True, highlight=False)
err = Console(stderr=True, width=_WIDTH, soft_wrap=True, highlight=False)

_P = ParamSpec("_P")

ProcessOption = Annotated[Path, typer.Option("--process", help="Process definition, a TOML file.")]
HistoryOption = Annotated[Path, typer.Option("--history", help="History folder: one file per table.")]
DataOption = Annotated[Path, typer.Option("--data-dir", help="Where everything batchguard makes is kept.")]
QuarantineOption = Annotated[
    int, typer.Option("--max-quarantined", min=0, help="Broken rows that you have looked at and accept.")
]
AsOfOption = Annotated[
    str, typer.Option("--as-of", help="'history' (its newest moment), 'now', or an ISO time with offset.")
]
TrialsOption = Annotated[int, typer.Option("--trials", min=1, help="Trials of the tuning.")]


def one_line_errors(command: Callable[_P, None]) -> Callable[_P, None]:
    """Errors a person can act on become one line and exit code 1."""

    @wraps(command)
    def guarded(*args: _P.args, **kwargs: _P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except BatchguardError as error:
            err.print(f"batchguard: {error}", markup=False)
            raise typer.Exit(1) from None

    return guarded


@app.command()
@one_line_errors
def run(
    process: ProcessOption,
    history: HistoryOption,
    data_dir: DataOption = Path("var"),
    json_path: Annotated[Path | None, typer.Option("--json", help="Write the result here, too.")] = None,
    max_quarantined: QuarantineOption = 0,
    as_of: AsOfOption = "history",
    trials: TrialsOption = 12,
) -> None:
    """Ingest, make features, train, evaluate and score, in one go, through the Dagster assets."""
    from pipelines.main_job import prepare, run_job, with_months_of_source
    from pipelines.plant import Plant
    from pipelines.result import can_be_written, result_of, show, write_json

    settings = Settings(process, history, data_dir, max_quarantined=max_quarantined, as_of=as_of, trials=trials)
    if json_path is not None:
        can_be_written(json_path)
    settings = prepare(with_months_of_source(settings))
    with Steps() as say:
        run_job(settings, "whole", say)
    result = result_of(Plant(settings))
    if json_path is not None:
        write_json(json_path, result)
    show(result, Plant(settings), out)


@app.command()
@one_line_errors
def train(
    process: ProcessOption, history: HistoryOption, data_dir: DataOption = Path("var"), trials: TrialsOption = 12
) -> None:
    """Make and validate a challenger from the history that is stored."""
    _job("retrain", Settings(process, history, data_dir, as_of="history", trials=trials))


@app.command()
@one_line_errors
def score(
    process: ProcessOption,
    history: Annotated[Path | None, typer.Option("--history", help="History folder: one file per table.")] = None,
    data_dir: DataOption = Path("var"),
    max_quarantined: QuarantineOption = 0,
    as_of: AsOfOption = "now",
    score_id: Annotated[
        str | None, typer.Option("--replay", help="Only make this score of the endpoint again, to the bit.")
    ] = None,
) -> None:
    """Ingest what is new and score the batches in progress, or make a score of the endpoint again."""
    if score_id is not None:
        replay(score_id, process, data_dir)
        return
    if history is None:
        raise typer.BadParameter("a history folder is needed", param_hint="--history")
    from pipelines.plant import Plant
    from pipelines.result import show_scores

    settings = Settings(process, history, data_dir, max_quarantined=max_quarantined, as_of=as_of)
    _job("score", settings)
    show_scores(Plant(settings), out)


def _job(name: str, settings: Settings) -> None:
    from pipelines.main_job import prepare, run_job, with_months_of_source

    with Steps() as say:
        run_job(prepare(with_months_of_source(settings)), name, say)


@app.command()
@one_line_errors
def bundle(
    version: Annotated[str, typer.Argument(help="Version of the model in the registry, or 'champion'.")],
    process: ProcessOption,
    data_dir: DataOption = Path("var"),
    key: Annotated[
        Path | None,
        typer.Option("--key", help="Ed25519 private key, PEM. Default: a local one, made at the first use."),
    ] = None,
) -> None:
    """Export a version as a signed bundle that the endpoint loads."""
    from pipelines.bundle_export import export

    made = export(Settings(process, Path(), data_dir), version, key)
    manifest = made.manifest
    out.print(f"{manifest.name} version {manifest.version}, {manifest.review}: bundle {made.sha256}")


@app.command()
@one_line_errors
def init(
    history: HistoryOption,
    out_path: Annotated[Path | None, typer.Option("--out", help="Write here instead of printing.")] = None,
) -> None:
    """Write a first process definition from a history folder, for a person to finish."""
    from pipelines.sources.draft import draft

    text = draft(history)
    if out_path is None:
        sys.stdout.write(text)
    elif out_path.exists():
        raise BatchguardError(f"{out_path} exists", remedy="Name another file: nothing was overwritten.")
    else:
        out_path.write_text(text, encoding="utf-8")
        out.print(f"{out_path}: finish it where it says 'check', then 'batchguard run'")


@app.command()
@one_line_errors
def convert(
    name: Annotated[str, typer.Argument(help="tablet1005, secom or indpensim.")],
    source: Annotated[Path, typer.Option("--from", help="Folder with the public files.")],
    target: Annotated[Path, typer.Option("--out", help="History folder to write.")],
    in_progress: Annotated[
        int, typer.Option("--in-progress", min=0, help="Cut the newest N batches off on their way (tablet1005).")
    ] = 0,
) -> None:
    """Turn a public data set into a history folder: worked examples of bringing your own data."""
    from pipelines.sources.convert import CONVERTERS

    if name not in CONVERTERS:
        raise BatchguardError(f"no converter {name!r}", expected=" or ".join(CONVERTERS))
    more = {"in_progress": in_progress} if in_progress else {}
    converted = CONVERTERS[name](source, target, **more)
    for note in converted.notes:
        out.print(f"- {note}", markup=False)
    for table, rows in converted.rows.items():
        out.print(f"{target / table}: {rows:,} rows")


@app.command()
@one_line_errors
def verify(process: ProcessOption, data_dir: DataOption = Path("var")) -> None:
    """Compare every stored file with the SHA-256 recorded when it was written."""
    from pipelines.plant import Plant
    from pipelines.risk_scores import damaged_predictors

    plant = Plant(Settings(process, Path(), data_dir))
    plant.table("batches")  # a wrong folder holds nothing that could be damaged
    problems = [p for store in (plant.history, plant.features, plant.scores) for p in store.verify()]
    damaged = [p.line for p in problems if not p.harmless] + damaged_predictors(plant)
    for line in [*damaged, *(p.line for p in problems if p.harmless)]:
        err.print(f"batchguard: {line}", markup=False)
    if damaged:
        raise typer.Exit(1)
    files = sum(len(store.files(t)) for store in (plant.history, plant.features, plant.scores) for t in store.tables())
    out.print(f"{files} files are as they were written")


@app.command()
@one_line_errors
def dev(
    process: ProcessOption,
    history: HistoryOption,
    data_dir: DataOption = Path("var"),
    max_quarantined: QuarantineOption = 0,
    as_of: AsOfOption = "now",
    dagster_port: Annotated[int, typer.Option(help="Port of the Dagster UI.")] = 3000,
    mlflow_port: Annotated[int, typer.Option(help="Port of the MLflow UI.")] = 5000,
) -> None:
    """Start the Dagster UI with its daemon and the MLflow UI on loopback; Ctrl-C stops both."""
    from pipelines.dev import serve
    from pipelines.main_job import prepare, with_months_of_source

    settings = Settings(process, history, data_dir, max_quarantined=max_quarantined, as_of=as_of)
    serve(prepare(with_months_of_source(settings)), dagster_port=dagster_port, mlflow_port=mlflow_port, say=out.print)


app.command("simulate")(one_line_errors(simulate_command))
app.command("serve")(one_line_errors(serve_command))
for group, name in ((keys, "keys"), (audit, "audit")):
    for command in group.registered_commands:
        if command.callback is not None:
            command.callback = one_line_errors(command.callback)
    app.add_typer(group, name=name)


class Steps:
    """Progress: the newest line with a spinner, or plain lines where there is no terminal."""

    def __enter__(self) -> Callable[[str], None]:
        import time

        begin = time.perf_counter()
        self._status = out.status("starting") if out.is_terminal else None
        if self._status:
            self._status.start()

        def say(line: str) -> None:
            out.print(f"{time.perf_counter() - begin:6.1f} s  {line}", markup=False)
            if self._status:
                self._status.update("working")

        return say

    def __exit__(self, *_: object) -> None:
        if self._status:
            self._status.stop()


if __name__ == "__main__":
    app()

"""The command line: options in, one call of another package, lines out; `--help` imports nothing heavy."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, ParamSpec

import typer
from rich.console import Console

from features.errors import BatchguardError
from pipelines.endpoint_command import ConfigOption, audit, keys, records, replay, serve_command
from pipelines.options import DataOption, HistoryOption, ProcessOption
from pipelines.ports import check_free
from pipelines.release_command import release
from pipelines.settings import Settings
from pipelines.simulate_command import simulate_command
from pipelines.text_lines import wrapped

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
_WIDTH = None if sys.stdout.isatty() else 140  # a file or a pipe has no width of its own
out = Console(width=_WIDTH, soft_wrap=True, highlight=False)
err = Console(stderr=True, width=_WIDTH, soft_wrap=True, highlight=False)

_P = ParamSpec("_P")

QuarantineOption = Annotated[
    int | None,
    typer.Option(
        "--max-quarantined",
        min=0,
        help="Broken rows above which nothing is taken in; absent: as [source] says, else any number.",
    ),
]
TrialsOption = Annotated[
    int | None,
    typer.Option("--trials", hidden=True, help="Without effect: no settings are searched any more."),
]
RemovedOption = Annotated[
    bool, typer.Option("--accept-removed", help="Take the source as it is, however many rows left it.")
]
AsOfOption = Annotated[
    str,
    typer.Option(
        "--as-of",
        help="Moment of scoring: 'history' (newest moment in the run history), 'now', or an ISO time with offset.",
    ),
]


def one_line_errors(command: Callable[_P, None]) -> Callable[_P, None]:
    """Print an error that a person can act on as one line and exit with code 1."""

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
    json_path: Annotated[Path | None, typer.Option("--json", help="File for the result as JSON.")] = None,
    max_quarantined: QuarantineOption = None,
    accept_removed: RemovedOption = False,
    as_of: AsOfOption = "now",
    trials: TrialsOption = None,  # noqa: ARG001 - commands written for earlier versions go on working
    as_demo: Annotated[
        bool,
        typer.Option(
            "--release-as-demo",
            help="Two made-up persons release the model with demo keys; refused if a batch is real.",
        ),
    ] = False,
) -> None:
    """Ingest, make features, train, evaluate and score: all Dagster assets in one run."""
    from pipelines.console import show
    from pipelines.main_job import prepare, run_job, with_months_of_source
    from pipelines.plant import Plant
    from pipelines.result import can_be_written, result_of, write_json

    settings = Settings(
        process,
        history,
        data_dir,
        max_quarantined=max_quarantined,
        accept_removed=accept_removed,
        as_of=as_of,
        release_as_demo=as_demo,
    )
    if json_path is not None:
        can_be_written(json_path)
    settings = prepare(with_months_of_source(settings))
    with Steps() as say:
        if as_demo:
            from pipelines.demo_release import refuse_real_source, sign_demo_documents

            refuse_real_source(history)
            sign_demo_documents(Plant(settings))
        run_job(settings, "whole", say)
    result = result_of(Plant(settings))
    if json_path is not None:
        write_json(json_path, result)
    show(result, Plant(settings), out)


@app.command()
@one_line_errors
def train(
    process: ProcessOption,
    history: HistoryOption,
    data_dir: DataOption = Path("var"),
    trials: TrialsOption = None,  # noqa: ARG001 - as for `run`
) -> None:
    """Train and validate a challenger from the stored run history."""
    _job("retrain", Settings(process, history, data_dir, as_of="history"))


@app.command()
@one_line_errors
def backtest(
    process: ProcessOption,
    history: HistoryOption,
    data_dir: DataOption = Path("var"),
    from_: Annotated[
        str, typer.Option("--from", help="Batches that started before this ISO time count in no figure.")
    ] = "",
    until: Annotated[str, typer.Option("--until", help="End of the replay, an ISO time; absent: the history's.")] = "",
    policy: Annotated[
        Path | None, typer.Option("--policy", help="TOML with other rules than [policy] of the process definition.")
    ] = None,
    against: Annotated[
        Path | None, typer.Option("--against", help="TOML with a second policy, replayed beside the first.")
    ] = None,
    json_path: Annotated[Path | None, typer.Option("--json", help="File for the figures as JSON.")] = None,
    trials: TrialsOption = None,  # noqa: ARG001 - as for `run`
) -> None:
    """Replay the history on the calendar: models made, tested, approved and used as they would have been."""
    from pipelines.backtest_command import run_backtest
    from pipelines.result import can_be_written

    if json_path is not None:
        can_be_written(json_path)
    settings = Settings(process, history, data_dir, as_of="history")
    with Steps() as say:
        found = run_backtest(settings, say, from_=from_, until=until, policy=policy, against=against)
    found.show(out)
    if json_path is not None:
        found.copy_to(json_path)


@app.command()
@one_line_errors
def score(
    process: ProcessOption,
    history: Annotated[Path | None, typer.Option("--history", help="History folder: one file per table.")] = None,
    data_dir: DataOption = Path("var"),
    max_quarantined: QuarantineOption = None,
    accept_removed: RemovedOption = False,
    as_of: AsOfOption = "now",
    score_id: Annotated[
        str | None,
        typer.Option(
            "--replay", help="Id of a score of the endpoint: only recompute this score and compare its bytes."
        ),
    ] = None,
) -> None:
    """Ingest new rows and score the batches in progress, or replay one score of the endpoint."""
    if score_id is not None:
        replay(score_id, process, data_dir)
        return
    if history is None:
        raise typer.BadParameter("a history folder is required", param_hint="--history")
    from pipelines.console import show_scores
    from pipelines.plant import Plant

    settings = Settings(
        process, history, data_dir, max_quarantined=max_quarantined, accept_removed=accept_removed, as_of=as_of
    )
    _job("score", settings)
    show_scores(Plant(settings), out)


def _job(name: str, settings: Settings) -> None:
    from pipelines.main_job import prepare, run_job, with_months_of_source

    with Steps() as say:
        run_job(prepare(with_months_of_source(settings)), name, say)


@app.command()
@one_line_errors
def init(
    history: HistoryOption,
    out_path: Annotated[Path | None, typer.Option("--out", help="New file to write; absent: print.")] = None,
) -> None:
    """Draft a process definition from a history folder, and its intended use and acceptance criteria, to be finished."""
    from pipelines.plant import wall_clock
    from pipelines.sources.draft import draft
    from pipelines.sources.draft_release import drafts_beside

    text = draft(history, now=wall_clock())
    if out_path is None:
        sys.stdout.write(text)
        return
    files = {out_path: text} | drafts_beside(out_path, text)
    taken = next((path for path in files if path.exists()), None)
    if taken is not None:
        raise BatchguardError(f"{taken} exists", remedy="Name another file: nothing was overwritten.")
    for path, content in files.items():
        path.write_text(content, encoding="utf-8")
    out.print(f"{out_path}: finish the lines that begin with 'check:', then start 'batchguard run'")
    for path in list(files)[1:]:
        out.print(f"{path}: finish and sign it before a release")


@app.command()
@one_line_errors
def convert(
    name: Annotated[str, typer.Argument(help="tablet1005, secom, indpensim or ai4i.")],
    source: Annotated[Path, typer.Option("--from", help="Folder with the public files.")],
    target: Annotated[Path, typer.Option("--out", help="History folder to write.")],
    in_progress: Annotated[
        int,
        typer.Option(
            "--in-progress", min=0, help="Truncate the newest N batches so that they are in progress (tablet1005 only)."
        ),
    ] = 0,
) -> None:
    """Convert a public data set to a history folder: worked examples for your own data."""
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
def reproduce(
    version: Annotated[str, typer.Argument(help="Version of the model in the registry.")],
    process: ProcessOption,
    data_dir: DataOption = Path("var"),
) -> None:
    """Train a registered version again from its recorded data, and compare every byte; exit code 1 where one differs."""
    from pipelines.reproduce import reproduce as compared

    with Steps() as say:
        parts = compared(Settings(process, Path(), data_dir, as_of="history"), version, say)
    for part in parts:
        out.print(part.line, markup=False)
    if not all(part.same for part in parts):
        raise typer.Exit(1)


@app.command()
@one_line_errors
def verify(process: ProcessOption, data_dir: DataOption = Path("var"), config: ConfigOption = None) -> None:
    """Compare everything that is kept with what was written: tables, models, reports, ledger, audit trail."""
    from pipelines.plant import Plant
    from pipelines.verification import verify_all

    found = verify_all(Plant(Settings(process, Path(), data_dir)), config)
    for line in [*found.faults, *found.harmless]:
        err.print(f"batchguard: {line}", markup=False)
    if found.faults:
        raise typer.Exit(1)
    for line in found.counts:
        out.print(line, markup=False)


@app.command()
@one_line_errors
def dev(
    process: ProcessOption,
    history: HistoryOption,
    data_dir: DataOption = Path("var"),
    max_quarantined: QuarantineOption = None,
    accept_removed: RemovedOption = False,
    as_of: AsOfOption = "now",
    dagster_port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the Dagster UI.")] = 3000,
    mlflow_port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the MLflow UI.")] = 5000,
) -> None:
    """Run the Dagster UI with its daemon and the MLflow UI on loopback until Ctrl-C."""
    check_free({"--dagster-port": dagster_port, "--mlflow-port": mlflow_port})
    from pipelines.dev import serve
    from pipelines.main_job import prepare, with_months_of_source

    settings = Settings(
        process, history, data_dir, max_quarantined=max_quarantined, accept_removed=accept_removed, as_of=as_of
    )
    serve(prepare(with_months_of_source(settings)), dagster_port=dagster_port, mlflow_port=mlflow_port, say=out.print)


app.command("simulate")(one_line_errors(simulate_command))
app.command("serve")(one_line_errors(serve_command))
for group, name in ((keys, "keys"), (audit, "audit"), (release, "release"), (records, "records")):
    for command in group.registered_commands:
        if command.callback is not None:
            command.callback = one_line_errors(command.callback)
    app.add_typer(group, name=name)


class Steps:
    """Progress lines with elapsed seconds; with a spinner in a terminal."""

    def __enter__(self) -> Callable[[str], None]:
        import time

        begin = time.perf_counter()
        self._status = out.status("starting") if out.is_terminal else None
        if self._status:
            self._status.start()

        def say(line: str) -> None:
            for part in wrapped(line, out.width, first=f"{time.perf_counter() - begin:6.1f} s  ", following=" " * 12):
                out.print(part, markup=False)
            if self._status:
                self._status.update(line.strip())

        return say

    def __exit__(self, *_: object) -> None:
        if self._status:
            self._status.stop()


if __name__ == "__main__":
    app()

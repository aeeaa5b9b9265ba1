"""Run the assets in this process, with their progress shown and their errors in one line."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from features.contracts import BATCHES
from features.errors import BatchguardError, StorageError
from features.parsing import to_arrow, type_column
from pipelines.identity import check_identity
from pipelines.plant import Plant
from pipelines.settings import PACKAGED, PHONE_HOME_OFF, Settings

if TYPE_CHECKING:
    import dagster as dg
    from dagster_shared.error import SerializableErrorInfo


def prepare(settings: Settings) -> Settings:
    """Make the data directory and DAGSTER_HOME in it, with telemetry off.

    Raises:
        BatchguardError: The process definition or the as-of time cannot be used (nothing was made then), or the data
            directory cannot be made.
    """
    plant = Plant(settings)
    plant.process  # noqa: B018 - a broken definition raises before anything is made
    if settings.as_of != "history":
        plant.as_of()
    home = settings.dagster_home
    try:
        check_identity(settings.data_dir, plant.process)
        _bring_artifacts_home(settings.data_dir)
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BatchguardError(
            f"data directory {settings.data_dir}: {error.strerror}", remedy="Name a folder that can be written."
        ) from None
    link = home / "dagster.yaml"
    if not link.exists():
        link.unlink(missing_ok=True)
        link.symlink_to((PACKAGED / "dagster.yaml").resolve())
    os.environ.update(PHONE_HOME_OFF | {"DAGSTER_HOME": str(home.absolute())} | settings.to_environment())
    return settings


def _bring_artifacts_home(data_dir: Path) -> None:
    """Keep MLflow's artifacts inside a data directory that was copied."""
    if (data_dir / "mlflow.db").is_file():
        from models.registry import Registry

        Registry(data_dir).bring_artifacts_home()


def with_months_of_source(settings: Settings) -> Settings:
    """The settings with their first month set to that of the oldest batch in the source.

    Raises:
        SourceError: The source is missing or its batches cannot be read.
    """
    from pipelines.sources.folder import HistoryFolder

    oldest: list[pd.Timestamp] = []
    source = HistoryFolder(settings.history)
    if "batches" not in source.tables():
        return settings  # the ingest reports it
    for chunk, _ in source.read("batches"):
        if "started_at" in chunk:
            started = type_column(to_arrow(chunk["started_at"]), BATCHES["started_at"]).column.dropna()
            oldest += [started.min()] if len(started) else []
    return replace(settings, first_month=f"{min(oldest):%Y-%m}") if oldest else settings


def run_job(settings: Settings, job: str, say: Callable[[str], None], ops: Mapping[str, object] | None = None) -> None:
    """Run one of the jobs of `pipelines.defs.automation` to its end.

    Args:
        settings: Already prepared.
        job: Name of the job.
        say: Receives every line of progress.
        ops: Configuration of steps, as Dagster's run configuration has it.

    Raises:
        BatchguardError: An asset refused its input, or a blocking check did not pass.
        RuntimeError: An asset failed for another reason; with its stack.
    """
    say("loading Dagster and the libraries")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import dagster as dg

        from pipelines.defs.automation import every_month
        from pipelines.defs.location import definitions
        from pipelines.defs.resources import months_since
        from pipelines.progress import progress_to

        resolved = definitions(settings).resolve_job_def(job)
        with (
            _readable(settings.dagster_home),
            dg.DagsterInstance.get() as instance,
            progress_to(say, len(resolved.nodes)),
        ):
            result = resolved.execute_in_process(
                instance=instance,
                tags=every_month(months_since(settings.first_month)) if job != "monitor" else {},
                run_config={"loggers": {"progress": {}}, "ops": dict(ops or {})},
                raise_on_error=False,
            )
    failures = [event for event in result.all_events if event.is_step_failure]
    causes = [_cause(event.step_failure_data.error, str(event.step_key)) for event in failures]
    refused = [_refusal(check) for check in result.get_asset_check_evaluations() if check.blocking and not check.passed]
    for kind in (AssetError, CheckError, Exception):  # most specific first
        for error in [*causes, *refused]:
            if isinstance(error, kind):
                raise error


@contextmanager
def _readable(home: Path) -> Generator[None]:
    """A damaged database of Dagster's own run history as one line with its remedy."""
    from sqlalchemy.exc import DatabaseError

    try:
        yield
    except DatabaseError as error:
        if not any(word in str(error.orig) for word in ("not a database", "malformed", "disk image")):
            raise
        raise StorageError(
            f"{home}: Dagster's run history cannot be read: {error.orig}",
            remedy=f"Move {home} away: it holds the log of former runs only, and a new one is made.",
        ) from error


class AssetError(BatchguardError):
    """An asset refused its input; the message is the asset's."""


class CheckError(BatchguardError):
    """A blocking check did not pass."""


def _refusal(check: dg.AssetCheckEvaluation) -> CheckError:
    found = "; ".join(f"{name} {value.value}" for name, value in check.metadata.items())
    asset = check.asset_key.to_user_string()
    return CheckError(
        f"check {check.check_name!r} of {asset!r} did not pass: {found}",
        remedy=f"Nothing downstream of {asset!r} was made; the last good version stands.",
    )


def _cause(error: SerializableErrorInfo | None, step: str) -> Exception:
    """The error behind a failed step: a `BatchguardError` as one line, any other with its stack."""
    ours = {c.__name__ for c in _subclasses(BatchguardError)}
    chain = list(_chain(error))
    for link in chain:  # the first of ours: its cause may be foreign
        if link.cls_name in ours:
            return AssetError(link.message.strip().split(": ", 1)[-1])
    if not chain:
        return RuntimeError(f"{step} failed")
    return RuntimeError(f"{step}: {chain[-1].message.strip()}\n{''.join(chain[-1].stack)}")


def _chain(error: SerializableErrorInfo | None) -> Iterator[SerializableErrorInfo]:
    while error is not None:
        yield error
        error = error.cause


def _subclasses(base: type) -> Iterator[type]:
    yield base
    for child in base.__subclasses__():
        yield from _subclasses(child)

"""Run the assets in this process, with their progress shown and their errors in one line."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pandas as pd

from features.errors import BatchguardError
from pipelines.settings import PHONE_HOME_OFF, Settings

DAGSTER_YAML = Path(__file__).resolve().parents[1] / "dagster.yaml"


def prepare(settings: Settings) -> Settings:
    """Make the data directory and the home of Dagster in it, with telemetry off.

    Raises:
        BatchguardError: The data directory cannot be made.
    """
    home = settings.dagster_home
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BatchguardError(
            f"data directory {settings.data_dir}: {error.strerror}", remedy="Name a folder that can be written."
        ) from None
    link = home / "dagster.yaml"
    if not link.exists():
        link.unlink(missing_ok=True)
        link.symlink_to(DAGSTER_YAML)
    os.environ.update(PHONE_HOME_OFF | {"DAGSTER_HOME": str(home.absolute())} | settings.to_environment())
    return settings


def with_months_of_source(settings: Settings) -> Settings:
    """The settings with their first month set to that of the oldest batch in the source."""
    from pipelines.sources.folder import HistoryFolder

    oldest: list[pd.Timestamp] = []
    source = HistoryFolder(settings.history)
    if "batches" not in source.tables():
        return settings  # the ingest says so, in its own words
    for chunk, _ in source.read("batches"):
        if "started_at" in chunk:
            started = pd.to_datetime(chunk["started_at"].astype("str"), utc=True, errors="coerce", format="ISO8601")
            oldest += [started.min()] if started.notna().any() else []
    return replace(settings, first_month=f"{min(oldest):%Y-%m}") if oldest else settings


def run_job(settings: Settings, job: str, say: Callable[[str], None]) -> None:
    """Run one of the jobs of `pipelines.defs.automation` to its end.

    Args:
        settings: Already prepared.
        job: Name of the job.
        say: Takes every line of progress.

    Raises:
        BatchguardError: An asset refused its input.
        RuntimeError: A blocking check did not pass.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import dagster as dg

        from pipelines.defs.automation import every_month
        from pipelines.defs.location import definitions
        from pipelines.defs.plant import months_since

        defs = definitions(settings)
        with dg.DagsterInstance.get() as instance, _listening(say):
            result = defs.resolve_job_def(job).execute_in_process(
                instance=instance,
                tags=every_month(months_since(settings.first_month)) if job != "monitor" else {},
                run_config={"loggers": {"progress": {}}},
                raise_on_error=False,
            )
    failed = [event for event in result.all_events if event.is_step_failure]
    for event in failed:
        raise _cause(event.step_failure_data.error, str(event.step_key))
    for check in result.get_asset_check_evaluations():
        if not check.passed and check.blocking:
            raise RuntimeError(
                f"check {check.check_name!r} of {check.asset_key.to_user_string()!r} did not pass: {dict(check.metadata)}"
            )


class AssetError(BatchguardError):
    """An asset refused its input; the message is the asset's own."""


def _cause(error: object, step: str) -> Exception:
    """The error behind a failed step: our own ones as their line, others with where they happened."""
    inner = error
    while getattr(inner, "cause", None) is not None:
        inner = inner.cause  # type: ignore[attr-defined]
    name, message = getattr(inner, "cls_name", ""), str(getattr(inner, "message", inner)).strip()
    ours = {c.__name__ for c in _subclasses(BatchguardError)}
    if name in ours:
        return AssetError(message.split(": ", 1)[1] if ": " in message else message)
    return RuntimeError(f"{step}: {message}\n{''.join(getattr(inner, 'stack', []))}")


def _subclasses(base: type) -> Iterator[type]:
    yield base
    for child in base.__subclasses__():
        yield from _subclasses(child)


@contextmanager
def _listening(say: Callable[[str], None]) -> Iterator[None]:
    class Teller(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            meta = getattr(record, "dagster_meta", {}) or {}
            if meta.get("dagster_event") is None:
                say(str(meta.get("orig_message") or record.getMessage()))

    logger, teller = logging.getLogger("batchguard.progress"), Teller()
    logger.addHandler(teller)
    try:
        yield
    finally:
        logger.removeHandler(teller)

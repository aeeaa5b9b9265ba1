"""All assets, jobs and schedules of one process of one plant."""

import logging
import warnings

import dagster as dg

# 2026-11: one run over many months is marked beta in dagster 1.13; the lock file pins the version
warnings.filterwarnings("ignore", category=dg.BetaWarning, message=".*backfill_policy.*")

from pipelines.defs import automation, features, ingest, scoring, training  # noqa: E402
from pipelines.defs.plant import PlantResource, months_since  # noqa: E402
from pipelines.settings import Settings  # noqa: E402

PROGRESS = "batchguard.progress"


@dg.logger(config_schema={}, description="What the assets say, and nothing else, for the command line.")
def progress_logger(_: dg.InitLoggerContext) -> logging.Logger:
    """The logger that the command line listens to."""
    logger = logging.getLogger(PROGRESS)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    return logger


def definitions(settings: Settings) -> dg.Definitions:
    """Everything Dagster runs, for one process of one plant."""
    months = months_since(settings.first_month)
    return dg.Definitions(
        assets=[
            ingest.run_history(months),
            features.batch_summaries(months),
            features.snapshot_features(months),
            features.in_progress_features,
            training.test_set,
            training.training_set,
            training.challenger,
            scoring.risk_scores,
            scoring.score_monitoring,
        ],
        jobs=list(automation.JOBS),
        schedules=automation.schedules(months, settings.timezone),
        resources={"plant": PlantResource.of(settings)},
        executor=dg.in_process_executor,
        loggers={"progress": progress_logger},
    )

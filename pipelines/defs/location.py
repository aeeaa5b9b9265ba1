"""All assets, jobs and schedules of one process of one plant."""

import logging
import warnings

import dagster as dg

# 2026-11: one run over many months is marked beta in dagster 1.13; the lock file pins the version
warnings.filterwarnings("ignore", category=dg.BetaWarning, message=".*backfill_policy.*")

from pipelines.defs import (  # noqa: E402
    automation,
    feature_assets,
    history_assets,
    replay_assets,
    score_assets,
    training_assets,
)
from pipelines.defs.resources import PlantResource, months_since  # noqa: E402
from pipelines.progress import PROGRESS  # noqa: E402
from pipelines.settings import Settings  # noqa: E402


@dg.logger(config_schema={}, description="Progress lines of the assets, for the command line.")
def progress_logger(_: dg.InitLoggerContext) -> logging.Logger:
    """The logger whose lines the command line prints."""
    logger = logging.getLogger(PROGRESS)
    logger.setLevel(logging.DEBUG)  # Dagster reports the start of a step at this level
    logger.propagate = False
    return logger


def definitions(settings: Settings) -> dg.Definitions:
    """Everything Dagster runs, for one process of one plant."""
    months = months_since(settings.first_month)
    assets = [
        history_assets.run_history(months),
        feature_assets.batch_summaries(months),
        feature_assets.snapshot_features(months),
        feature_assets.in_progress_features,
        replay_assets.field_replay,
        training_assets.test_set,
        training_assets.training_set,
        training_assets.challenger,
        score_assets.serving_model,
        score_assets.risk_scores,
        score_assets.score_monitoring,
    ]
    return dg.Definitions(
        assets=dg.map_asset_specs(lambda spec: spec.replace_attributes(owners=[settings.owner]), assets),
        jobs=list(automation.JOBS),
        schedules=automation.schedules(months, settings.timezone),
        resources={"plant": PlantResource.of(settings), replay_assets.IO: replay_assets.json_io},
        executor=dg.in_process_executor,
        loggers={"progress": progress_logger},
    )

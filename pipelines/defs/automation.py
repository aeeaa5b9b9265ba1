"""Jobs and schedules. Retraining only ever makes a challenger; a person releases it."""

import dagster as dg

START, END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"

_REPLAY = ("batch_summaries", "snapshot_features", "field_replay")
_MODEL = (*_REPLAY, "test_set", "training_set", "challenger", "validation_report")
_SCORES = ("run_history", "in_progress_features", "serving_model", "risk_scores")  # nothing that a score does not read

ingest = dg.define_asset_job(
    "ingest", selection=["run_history", "batch_summaries"], description="Read the source, check it, summarise it."
)
retrain = dg.define_asset_job("retrain", selection=list(_MODEL), description="Make and validate a challenger.")
score = dg.define_asset_job(
    "score", selection=list(_SCORES), description="Ingest what is new and score the batches in progress."
)
backtest = dg.define_asset_job(
    "backtest", selection=["run_history", *_REPLAY], description="Ingest, and replay the history on the calendar."
)
monitor = dg.define_asset_job(
    "monitor", selection=["score_monitoring"], description="Compare the batches in progress with the training data."
)
whole = dg.define_asset_job(
    "whole", selection=dg.AssetSelection.all(), description="Everything, from the source to the scores."
)

JOBS = (ingest, retrain, score, backtest, monitor, whole)


def every_month(months: dg.MonthlyPartitionsDefinition) -> dict[str, str]:
    """Run tags for all months in one run; the assets skip months whose inputs are unchanged."""
    first, last = months.get_first_partition_key(), months.get_last_partition_key()
    return {START: str(first), END: str(last)}


def schedules(months: dg.MonthlyPartitionsDefinition, timezone: str) -> list[dg.ScheduleDefinition]:
    """Ingest and score every 15 minutes, monitor every day, retrain every week."""
    running = dg.DefaultScheduleStatus.RUNNING

    def of(job: str, name: str, cron: str, tags: bool = True) -> dg.ScheduleDefinition:
        @dg.schedule(job_name=job, name=name, cron_schedule=cron, execution_timezone=timezone, default_status=running)
        def tick() -> dg.RunRequest:
            return dg.RunRequest(tags=every_month(months) if tags else {})

        return tick

    return [
        of("score", "ingest_and_score_every_15_minutes", "*/15 * * * *"),
        of("retrain", "retrain_weekly", "0 3 * * 0"),
        of("monitor", "monitor_daily", "30 4 * * *", tags=False),
    ]

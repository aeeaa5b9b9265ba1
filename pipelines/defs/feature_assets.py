"""The run history becomes summaries, and summaries become snapshots."""

from collections.abc import Iterator

import dagster as dg

from features.contracts import BATCH_SUMMARY, SNAPSHOT
from pipelines.defs.resources import PlantResource, in_one_run
from pipelines.defs.schemas import column_schema
from pipelines.feature_tables import PlantContext, read_dictionary, write_in_progress, write_snapshots, write_summaries
from pipelines.leakage import check_leakage
from pipelines.plant import Plant
from pipelines.progress import in_tenths

STALE_H = 24 * 30.0  # a newest row older than this, and than the process takes, is named
_CHECKS = {
    "keys": "Batch and checkpoint are unique.",
    "leakage": "Sampled snapshots are the same when they are computed from the rows available at their time only.",
}


def batch_summaries(months: dg.MonthlyPartitionsDefinition) -> dg.AssetsDefinition:
    """The asset `batch_summaries`."""

    @dg.asset(
        name="batch_summaries",
        partitions_def=months,
        backfill_policy=in_one_run(),
        deps=["run_history"],
        group_name="features",
        kinds={"parquet", "deltalake"},
        metadata=column_schema(BATCH_SUMMARY),
    )
    def asset(context: dg.AssetExecutionContext, plant: PlantResource) -> dg.MaterializeResult:
        """One mergeable summary per batch, parameter and bin of time; months whose inputs are unchanged are skipped."""
        place = plant.open()
        commit = write_summaries(place, _months(context, place), in_tenths(context.log.info))
        rows = place.features.rows("batch_summaries")
        context.log.info(
            f"{rows:,} summaries of {place.history.rows('observations'):,} observations; {len(commit.files)} months changed"
        )
        return dg.MaterializeResult(
            metadata={
                "rows": rows,
                "months_changed": len(commit.files),
                "digest": place.features.digest("batch_summaries"),
            }
        )

    return asset


def snapshot_features(months: dg.MonthlyPartitionsDefinition) -> dg.AssetsDefinition:
    """The asset `snapshot_features` with its blocking checks `keys` and `leakage`."""

    @dg.asset(
        name="snapshot_features",
        partitions_def=months,
        backfill_policy=in_one_run(),
        deps=["batch_summaries", "run_history"],
        group_name="features",
        kinds={"parquet", "deltalake"},
        metadata=column_schema(SNAPSHOT),
        check_specs=[
            dg.AssetCheckSpec(name, asset="snapshot_features", blocking=True, description=description)
            for name, description in _CHECKS.items()
        ],
    )
    def asset(
        context: dg.AssetExecutionContext, plant: PlantResource
    ) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult]:
        """All that was known of each batch at each checkpoint, with the feature dictionary; unchanged months are skipped."""
        place = plant.open()
        around = PlantContext.of(place)
        commit = write_snapshots(place, _months(context, place), around, in_tenths(context.log.info))
        context.log.info("computing sampled features again from the rows available at their time only")
        stored = place.features.read("snapshot_features").to_pandas()
        twice = stored[stored.duplicated(["batch_id", "checkpoint_h"])]
        yield dg.AssetCheckResult(
            check_name="keys", passed=twice.empty, metadata={"rows": len(stored), "twice": len(twice)}
        )
        leakage = check_leakage(place, around, stored)
        yield dg.AssetCheckResult(
            check_name="leakage",
            passed=leakage.passed,
            metadata={
                "rows_made_again": leakage.n_rows,
                "leaks": dg.MetadataValue.md("\n".join(leakage.leaks[:20]) or "none"),
            },
        )
        n_features = len(read_dictionary(place))
        context.log.info(f"{len(stored):,} snapshots with {n_features:,} features; {len(commit.files)} months changed")
        yield dg.MaterializeResult(
            metadata={
                "rows": len(stored),
                "features": n_features,
                "months_changed": len(commit.files),
                "digest": place.features.digest("snapshot_features"),
            }
        )

    return asset


@dg.asset(
    deps=["run_history"],
    group_name="scoring",
    kinds={"parquet", "deltalake"},
    metadata=column_schema(SNAPSHOT),
)
def in_progress_features(context: dg.AssetExecutionContext, plant: PlantResource) -> dg.MaterializeResult:
    """All that is known of each batch in progress at the moment of scoring, with the feature dictionary.

    Summarised from the observations of these batches: the stored summaries hold rows that became available later.
    """
    place = plant.open()
    as_of = place.as_of()
    frame = write_in_progress(place, PlantContext.of(place), as_of)
    behind_h = (as_of - place.newest_moment).total_seconds() / 3600
    if len(frame) and behind_h > max(STALE_H, place.process.process.planned_duration_h):
        context.log.warning(
            f"the newest row of a batch is {behind_h / 24:,.0f} days older than the moment of scoring; "
            "--as-of history scores old data as they stood"
        )
    context.log.info(f"{len(frame)} batches in progress as of {as_of:%Y-%m-%d %H:%M} UTC")
    return dg.MaterializeResult(metadata={"rows": len(frame), "as_of": as_of.isoformat()})


def _months(context: dg.AssetExecutionContext, plant: Plant) -> list[str]:
    """The months of this run in which batches started."""
    present = set(plant.history.months("batches"))
    return [month for month in context.partition_keys if month in present]

"""The source becomes the checked run history."""

from collections.abc import Iterator

import dagster as dg

from features.contracts import RUN_HISTORY
from features.errors import ContractError, SourceError
from pipelines.defs.resources import PlantResource, in_one_run
from pipelines.defs.schemas import table_schema
from pipelines.history import ingest
from pipelines.sources.folder import HistoryFolder


def run_history(months: dg.MonthlyPartitionsDefinition) -> dg.AssetsDefinition:
    """The asset `run_history` with its blocking check `contract`."""

    @dg.asset(
        name="run_history",
        partitions_def=months,
        backfill_policy=in_one_run(),
        group_name="history",
        kinds={"parquet", "deltalake"},
        metadata={f"columns of {name}": table_schema(table) for name, table in RUN_HISTORY.items()},
        check_specs=[
            dg.AssetCheckSpec(
                "contract",
                asset="run_history",
                blocking=True,
                description="No more rows break the contract of their table than a person has accepted.",
            )
        ],
    )
    def asset(
        context: dg.AssetExecutionContext, plant: PlantResource
    ) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult]:
        """Seven tables of what the plant recorded, checked row by row; broken rows are in the quarantine table.

        A source whose files did not change is not read again.
        """
        place = plant.open()
        whole = len(context.partition_keys) == len(months.get_partition_keys())
        try:
            report = ingest(
                HistoryFolder(place.settings.history),
                place.history,
                place.process,
                max_quarantined=place.settings.max_quarantined,
                months=None if whole else tuple(context.partition_keys),
                progress=lambda table, rows: context.log.info(f"{table}: {rows:,} rows read"),
            )
        except ContractError as error:
            yield dg.AssetCheckResult(
                check_name="contract", passed=False, metadata={"broken": dg.MetadataValue.md(str(error))}
            )
            raise
        outside = sorted(set(place.history.months("batches")) - set(months.get_partition_keys()))
        if outside:
            first, last = months.get_first_partition_key(), months.get_last_partition_key()
            raise SourceError(
                f"batches start in {outside[0]}, outside the partitions from {first} to {last}",
                remedy="Set BATCHGUARD_FIRST_MONTH to the month of the first batch; starts in the future are errors of the source.",
            )
        yield dg.AssetCheckResult(
            check_name="contract", passed=True, metadata={"rows_quarantined": report.rows_quarantined}
        )
        context.log.info(report.in_a_line())
        yield dg.MaterializeResult(
            metadata={
                "rows_in": report.rows_in,
                "rows_kept": report.rows_kept,
                "rows_quarantined": report.rows_quarantined,
                "data_version": place.data_version(),
                "months": len(context.partition_keys),
            }
        )

    return asset

"""The source becomes the checked run history."""

from collections.abc import Iterator

import dagster as dg

from features.errors import ContractError
from pipelines.defs.plant import PlantResource, in_one_run
from pipelines.history import ingest
from pipelines.sources.folder import FolderSource


def run_history(months: dg.MonthlyPartitionsDefinition) -> dg.AssetsDefinition:
    """The asset `run_history` with its blocking check `contract`."""

    @dg.asset(
        name="run_history",
        partitions_def=months,
        backfill_policy=in_one_run(),
        group_name="history",
        check_specs=[dg.AssetCheckSpec("contract", asset="run_history", blocking=True)],
    )
    def asset(context: dg.AssetExecutionContext, plant: PlantResource) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult]:
        """Seven tables of what the plant recorded, checked row by row; broken rows are in quarantine."""
        place = plant.open()
        try:
            report = ingest(
                FolderSource(place.settings.history),
                place.history,
                place.process,
                max_quarantined=place.settings.max_quarantined,
                months=tuple(context.partition_keys),
                progress=context.log.info,
            )
        except ContractError as error:
            yield dg.AssetCheckResult(check_name="contract", passed=False, metadata={"broken": dg.MetadataValue.md(str(error))})
            raise
        yield dg.AssetCheckResult(check_name="contract", passed=True, metadata={"rows_quarantined": report.rows_quarantined})
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

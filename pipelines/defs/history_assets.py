"""The source becomes the checked run history."""

from collections.abc import Iterator

import dagster as dg

from features.contracts import RUN_HISTORY
from features.errors import ContractError
from pipelines.defs.resources import PlantResource, in_one_run
from pipelines.defs.schemas import table_schema
from pipelines.history import ingest


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
                description="No more rows break the contract of their table, or left the source, than a person has accepted.",
            ),
            dg.AssetCheckSpec(
                "findings",
                asset="run_history",
                description="No row breaks the contract, none left the source, no reading is flagged bad.",
            ),
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
                place.source,
                place.history,
                place.process,
                limits=place.limits,
                now=place.now(),
                months=None if whole else tuple(context.partition_keys),
                first_month=place.settings.first_month,
                progress=lambda table, rows: context.log.info(f"{table}: {rows:,} rows read"),
            )
        except ContractError as error:
            yield dg.AssetCheckResult(
                check_name="contract", passed=False, metadata={"broken": dg.MetadataValue.md(str(error))}
            )
            raise
        findings = report.findings()
        yield dg.AssetCheckResult(
            check_name="contract", passed=True, metadata={"rows_quarantined": report.rows_quarantined}
        )
        yield dg.AssetCheckResult(
            check_name="findings",
            passed=not findings,
            severity=dg.AssetCheckSeverity.WARN,
            metadata={"rows_refused": report.rows_refused, "findings": dg.MetadataValue.md("\n".join(findings))},
        )
        context.log.info(report.in_a_line())
        for line in report.conversions():
            context.log.info(f"converted: {line}")
        for line in findings:
            context.log.warning(line)
        yield dg.MaterializeResult(
            metadata={
                "rows_in": report.rows_in,
                "rows_kept": report.rows_kept,
                "rows_quarantined": report.rows_quarantined,
                "conversions": dg.MetadataValue.md("\n".join(report.conversions())),
                "data_version": place.data_version(),
                "months": len(context.partition_keys),
            }
        )

    return asset

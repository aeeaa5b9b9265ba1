"""Snapshots become a challenger with its validation report."""

from collections.abc import Iterator

import dagster as dg

from features.contracts import SNAPSHOT
from models.evaluation.evaluate import Evaluation
from models.registry import RegisteredModel, Registry
from pipelines.defs.resources import PlantResource
from pipelines.defs.schemas import column_schema
from pipelines.feature_tables import read_dictionary
from pipelines.release_mirror import mirror_releases
from pipelines.training import make_challenger
from pipelines.training_sets import (
    check_seal,
    target_leakage,
    verified,
    write_test_set,
    write_training_set,
)

_CHECKS = {
    "sealed_test": "No batch or subject of a sealed test trains, and every label of the training set was known at the cut.",
    "target_leakage": "No feature is a release result in disguise.",
}


@dg.asset(
    deps=["run_history", "snapshot_features"],
    group_name="model",
    kinds={"parquet", "deltalake"},
    metadata=column_schema(SNAPSHOT),
)
def test_set(context: dg.AssetExecutionContext, plant: PlantResource) -> dg.MaterializeResult:
    """Snapshots of the batches that test: sealed newest ones, or those that earlier versions scored as they came."""
    place = plant.open()
    verified(place)
    seal = write_test_set(place)
    how = "scored by the versions before" if seal.learnt else "sealed"
    context.log.info(f"test of {len(seal.batch_ids)} batches, {how}: {seal.sha256[:12]}")
    return dg.MaterializeResult(
        metadata={"batches": len(seal.batch_ids), "cut": seal.cut.isoformat(), "sha256": seal.sha256}
    )


@dg.asset(
    deps=["run_history", "snapshot_features", "test_set"],
    group_name="model",
    kinds={"parquet", "deltalake"},
    metadata=column_schema(SNAPSHOT),
    check_specs=[
        dg.AssetCheckSpec(name, asset="training_set", blocking=True, description=description)
        for name, description in _CHECKS.items()
    ],
)
def training_set(
    context: dg.AssetExecutionContext, plant: PlantResource
) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult]:
    """Snapshots of the batches whose outcome was known at the cut; without batches and subjects of a sealed test."""
    place = plant.open()
    failed, seal = write_training_set(place)
    stored = place.features.read("training_set")
    check = check_seal(stored.select(["batch_id"]).to_pandas(), seal, place.table("batches"), place.labels())
    yield dg.AssetCheckResult(
        check_name="sealed_test", passed=check.passed, metadata={"test_sha256": seal.sha256, "breaches": str(check)}
    )
    known = target_leakage(place, failed)
    yield dg.AssetCheckResult(
        check_name="target_leakage",
        passed=known.passed,
        metadata={
            "copies": dg.MetadataValue.md("\n".join(known.copies[:20]) or "none"),
            "to_be_explained": dg.MetadataValue.md("\n".join(known.suspicious[:20]) or "none"),
        },
    )
    for line in known.suspicious[:3]:
        context.log.info(f"to be explained: {line}")
    context.log.info(f"training set of {len(failed)} batches, {int(failed.sum())} of them failed")
    yield dg.MaterializeResult(
        metadata={
            "batches": len(failed),
            "failed": int(failed.sum()),
            "snapshots": len(stored),
            **column_schema(SNAPSHOT, read_dictionary(place), stored.schema),
        }
    )


@dg.multi_asset(
    specs=[
        dg.AssetSpec(
            "challenger",
            # it trains from the snapshots; the checks of the training set have to pass first
            deps=["run_history", "batch_summaries", "snapshot_features", "field_replay", "test_set", "training_set"],
            group_name="model",
            kinds={"lightgbm", "mlflow"},
            description="A calibrated predictor, registered as challenger; a person releases it.",
        ),
        dg.AssetSpec(
            "validation_report",
            deps=["challenger", "run_history", "snapshot_features", "test_set"],
            group_name="model",
            kinds={"html", "mlflow"},
            description="Figures of the challenger on the sealed test set, computed once per predictor.",
        ),
    ],
    name="challenger_and_report",
)
def challenger(context: dg.AssetExecutionContext, plant: PlantResource) -> Iterator[dg.MaterializeResult]:
    """Train, evaluate once on the sealed test set, report, register."""
    place = plant.open()
    mirror_releases(place, context.log.warning)
    model, evaluation = make_challenger(place, context.log.info, made_in={"dagster_run_id": context.run.run_id})
    context.log.info(f"model {model.name} version {model.version} ({', '.join(model.aliases)}, {model.review})")
    yield dg.MaterializeResult(asset_key="challenger", metadata=_of_model(model, Registry(place.settings.data_dir)))
    yield dg.MaterializeResult(
        asset_key="validation_report",
        metadata=_of_evaluation(evaluation) | {"report": dg.MetadataValue.path(place.report_path)},
    )


def _of_model(model: RegisteredModel, registry: Registry) -> dict[str, dg.MetadataValue]:
    store = registry.store
    return {
        "version": dg.MetadataValue.text(model.version),
        "sha256": dg.MetadataValue.text(model.sha256),
        "review": dg.MetadataValue.text(model.review),
        "mlflow_run": dg.MetadataValue.url(f"{store.pages}{model.page}"),
        "mlflow_version": dg.MetadataValue.url(f"{store.pages}{model.version_page}"),
        "mlflow_store": dg.MetadataValue.text(store.shown),
    }


def _of_evaluation(evaluation: Evaluation) -> dict[str, dg.MetadataValue]:
    import base64

    from models.report import alarm_charts, quality_charts
    from models.report.style import to_png

    shown = evaluation.checkpoints[["checkpoint_h", "n", "n_failed", "auroc", "auprc", "brier"]].round(3)
    lines = ["| " + " | ".join(shown.columns) + " |", "|" + "---|" * len(shown.columns)]
    lines += ["| " + " | ".join(str(v) for v in row) + " |" for row in shown.itertuples(index=False)]
    drawn = {
        "first_alarms": alarm_charts.first_alarms(evaluation.first_calls.query("n > 0")),
        "calibration": quality_charts.calibration_by_band(evaluation.reliability, evaluation.calibration),
    }
    images = {
        name: dg.MetadataValue.md(f"![{name}](data:image/png;base64,{base64.b64encode(to_png(chart)).decode()})")
        for name, chart in drawn.items()
    }
    return {
        "auroc": dg.MetadataValue.float(evaluation.overall["auroc"]),
        "n_failed": dg.MetadataValue.int(int(evaluation.overall["n_failed"])),
        "by_checkpoint": dg.MetadataValue.md("\n".join(lines)),
        **images,
    }

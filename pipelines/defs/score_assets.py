"""Batches in progress become risk scores, and the scores are watched."""

from collections.abc import Iterator

import dagster as dg

from pipelines.defs.resources import PlantResource
from pipelines.defs.schemas import score_schema
from pipelines.demo_release import release_demo
from pipelines.monitoring import monitor
from pipelines.release_mirror import mirror_releases
from pipelines.risk_scores import publish_scores
from pipelines.risk_scores import serving_model as find_serving_model
from serving.release.states import ReleaseError

_CHECKS = {
    "drift": "The most important features of the batches in progress are distributed as in the training set.",
    "freshness": "Something arrived within the last day.",
}


@dg.asset(deps=["challenger"], group_name="model", kinds={"mlflow"})
def serving_model(context: dg.AssetExecutionContext, plant: PlantResource) -> dg.MaterializeResult:
    """The registered version that scores: the one that the records call effective, or else a preview by the challenger."""
    opened = plant.open()
    mirror_releases(opened, context.log.warning)
    if opened.settings.release_as_demo:
        try:
            release_demo(opened, context.log.info)
        except ReleaseError as error:  # the scores are a preview, as those of any plant without a release
            context.log.warning(f"the demo is not released: {error}")
        mirror_releases(opened, context.log.warning, expected=True)
    serving = find_serving_model(opened)
    context.log.info(f"serving model: version {serving.model.version} ({serving.status})")
    release_id = serving.release.release_id if serving.release else ""
    return dg.MaterializeResult(
        metadata={"version": serving.model.version, "sha256": serving.model.sha256, "review": serving.status,
                  "release_id": release_id or "none"},
        data_version=dg.DataVersion(release_id or serving.model.sha256),
    )  # fmt: skip


@dg.asset(
    deps=["in_progress_features", "run_history", "serving_model"],
    group_name="scoring",
    kinds={"parquet", "deltalake"},
    metadata=score_schema(),
)
def risk_scores(context: dg.AssetExecutionContext, plant: PlantResource) -> dg.MaterializeResult:
    """One record per batch in progress: probability, call and support, reasons, missing and stale data, and the model."""
    scores, serving = publish_scores(plant.open())
    model = serving.model
    context.log.info(f"{len(scores)} risk scores by model version {model.version} ({serving.status})")
    highest = max((score.failure_probability for score in scores), default=0.0)
    return dg.MaterializeResult(
        metadata={"rows": len(scores), "highest": highest, "model_version": model.version, "model_sha256": model.sha256}
    )


@dg.asset(
    deps=["in_progress_features", "run_history", "serving_model", "training_set"],
    group_name="scoring",
    kinds={"python"},
    check_specs=[
        dg.AssetCheckSpec(name, asset="score_monitoring", description=description)
        for name, description in _CHECKS.items()
    ],
)
def score_monitoring(
    context: dg.AssetExecutionContext, plant: PlantResource
) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult]:
    """Freshness of the data and drift of the features that matter most; warnings, never blocking."""
    mirror_releases(plant.open(), context.log.warning)
    state = monitor(plant.open())
    warn = dg.AssetCheckSeverity.WARN
    verdicts = state.drift["verdict"].value_counts().to_dict()
    yield dg.AssetCheckResult(
        check_name="drift",
        passed=not state.drifted,
        severity=warn,
        metadata={"drifted": ", ".join(state.drifted) or "none", "verdicts": str(verdicts)},
    )
    yield dg.AssetCheckResult(
        check_name="freshness", passed=state.fresh, severity=warn, metadata={"data_age_h": state.data_age_h}
    )
    context.log.info(f"newest data {state.data_age_h:.1f} h old; drift: {verdicts}")
    yield dg.MaterializeResult(metadata={"batches_in_progress": state.n_in_progress, "data_age_h": state.data_age_h})

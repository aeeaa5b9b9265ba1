"""The run history replayed on the calendar: one step per training date, then every batch scored as it would have been."""

import json
from collections.abc import Iterator

import dagster as dg
import pandas as pd
from upath import UPath

from models.backtest.fits import Fit
from models.backtest.replay import fit_or_why_not
from models.backtest.versions import RECALIBRATED
from models.cohort.ledger import record_reading
from models.policy import Policy, load_policy
from pipelines.backtest import backtest, fits_of, known_until, log_backtest, training_dates, write_backtest
from pipelines.defs.resources import PlantResource
from pipelines.model_history import history_of
from pipelines.plant import Plant, wall_clock
from pipelines.signed_documents import SignedBefore, signed_before
from pipelines.training_sets import test_of

IO = "json_io"


class ReplayConfig(dg.Config):
    """Which part of the calendar is replayed under which rules; everything empty: as the process definition says."""

    policy: str = ""
    against: str = ""
    from_: str = ""
    until: str = ""
    asked: bool = False  # by a person, with 'batchguard backtest'


class JsonIOManager(dg.UPathIOManager):
    """Passes plain values between the steps of a run as JSON files."""

    extension = ".json"

    def dump_to_path(self, context: dg.OutputContext, obj: object, path: UPath) -> None:  # noqa: ARG002
        """Write a value."""
        path.write_text(json.dumps(obj), encoding="utf-8")

    def load_from_path(self, context: dg.InputContext, path: UPath) -> object:  # noqa: ARG002
        """Read it back."""
        return json.loads(path.read_text(encoding="utf-8"))


@dg.io_manager(description="Plain values between steps, as JSON.")
def json_io(context: dg.InitResourceContext) -> JsonIOManager:
    """Files under the storage folder of the Dagster instance."""
    instance = context.instance
    return JsonIOManager(UPath(instance.storage_directory() if instance else "storage"))


_READ = ("run_history", "batch_summaries", "snapshot_features")


@dg.op(ins={name: dg.In(dg.Nothing) for name in _READ}, out=dg.DynamicOut(dict, io_manager_key=IO))
def training_moments(config: ReplayConfig, plant: PlantResource) -> Iterator[dg.DynamicOutput[dict]]:
    """The trainings that the policies ask for, each to be made by a step of its own."""
    place = plant.open()
    for name, policy in _policies(place, config).items():
        dates = training_dates(place, policy, _until(place, config))
        for date in dates:
            asked = {"policy": policy.model_dump(mode="json"), "at": date.at.isoformat(), "last": len(dates)}
            yield dg.DynamicOutput(asked | {"number": date.number}, mapping_key=f"{name}_{date.number}")


@dg.op(out=dg.Out(str, io_manager_key=IO))
def version_of_a_moment(context: dg.OpExecutionContext, plant: PlantResource, asked: dict) -> str:
    """The model of what was known at one moment, made or found."""
    place = plant.open()
    fits = fits_of(place, Policy.model_validate(asked["policy"]))
    found = fit_or_why_not(fits, history_of(place).at(pd.to_datetime(asked["at"])))
    why_not = "" if isinstance(found, Fit) else f": none ({found.what})"
    context.log.info(f"model {asked['number']} of {asked['last']}, of what was known on {asked['at'][:10]}{why_not}")
    return asked["at"]


@dg.op(out=dg.Out(dict, io_manager_key=IO))
def replayed_scores(
    context: dg.OpExecutionContext, config: ReplayConfig, plant: PlantResource, made: list[str]
) -> dg.Output[dict]:
    """Every batch scored by the version that served when it started, with the figures of all blocks.

    Recalibrations between the trainings are made here: they take no training.
    """
    place = plant.open()
    context.log.debug(f"{len(made)} models are made")
    signed = signed_before(place)
    if isinstance(signed, str) and not config.asked:
        context.log.info(f"figures of the replay are not computed: {signed}")
        return dg.Output({"batches": 0}, metadata={"not_read": signed})
    if config.asked:
        _record_look(place, signed)
    from_ = pd.to_datetime(config.from_) if config.from_ else None
    found = [
        backtest(place, policy, from_=from_, until=_until(place, config), progress=context.log.debug)
        for policy in _policies(place, config).values()
    ]
    folder = place.backtest_dir
    result = write_backtest(place, folder, *found)
    page = log_backtest(place, result, folder)
    pooled = found[0].table.iloc[0]
    context.log.info(
        f"{pooled['n_batches']} batches replayed, {pooled['n_failed']} failed: {pooled['high_n_found']} of them and "
        f"{pooled['high_alarmed']} of {pooled['n_good']} good ones called high"
    )
    versions = found[0].replayed.versions
    metadata = {
        "batches": int(pooled["n_batches"]), "failed": int(pooled["n_failed"]), "versions": len(versions),
        "recalibrated_versions": int((versions["kind"] == RECALIBRATED).sum()),
        "report": dg.MetadataValue.path(folder / "backtest.html"), "mlflow_run": dg.MetadataValue.text(page),
    }  # fmt: skip
    return dg.Output({"batches": int(pooled["n_batches"])}, metadata=metadata)


@dg.graph_asset(
    ins={name: dg.AssetIn(dagster_type=dg.Nothing) for name in _READ},
    group_name="model",
    kinds={"lightgbm", "parquet"},
    description="The history replayed on the calendar: models made from what was known, tested and used as they would have been.",
)
def field_replay(run_history, batch_summaries, snapshot_features):  # noqa: ANN001, ANN201 - Dagster composes it: no values
    """One step per training date, then all scores."""
    moments = training_moments(
        run_history=run_history, batch_summaries=batch_summaries, snapshot_features=snapshot_features
    )
    return replayed_scores(moments.map(version_of_a_moment).collect())


def _record_look(place: Plant, signed: SignedBefore | str) -> None:
    """A replay that a person asks for shows what the test holds: that is a reading of it, signed for or not."""
    seal = test_of(place)
    place.models_dir.mkdir(parents=True, exist_ok=True)
    record_reading(
        place.ledger, seal, reader="backtest", purpose="figures of a field replay", at=wall_clock(),
        criteria_sha256="" if isinstance(signed, str) else signed.acceptance_sha256,
    )  # fmt: skip


def _policies(place: Plant, config: ReplayConfig) -> dict[str, Policy]:
    found = {"ours": load_policy(config.policy) if config.policy else place.process.policy}
    return found | ({"theirs": load_policy(config.against)} if config.against else {})


def _until(place: Plant, config: ReplayConfig) -> pd.Timestamp:
    return pd.to_datetime(config.until) if config.until else known_until(place)

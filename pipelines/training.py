"""Stored snapshots to a registered challenger: seal, train, examine, report, register."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from features.errors import ProcessError, TrainingError
from models.acceptance.intended_use import load_intended_use
from models.backtest.fits import Fits
from models.backtest.history import History
from models.backtest.newest import newest
from models.backtest.replay import Replayed, replay
from models.card import model_card
from models.cohort.splits import Seal
from models.cohort.table import exclusions
from models.evaluation.champion import Comparison
from models.evaluation.evaluate import Evaluation
from models.registry import RegisteredModel, Registry
from models.train import Trained, train
from pipelines.backtest import fits_of
from pipelines.champion import against_champion, champion_of
from pipelines.examination import examine
from pipelines.filing import Report, file_report
from pipelines.history import last_report
from pipelines.ledger_check import note_reading
from pipelines.model_history import history_of
from pipelines.plant import Plant
from pipelines.progress import in_tenths
from pipelines.recorded import recorded
from pipelines.signed_documents import SignedBefore, document_path, signed_before

Progress = Callable[[str], None]


def make_challenger(
    plant: Plant, progress: Progress, made_in: Mapping[str, str] | None = None
) -> tuple[RegisteredModel, Evaluation]:
    """Train on the training set, examine, write the report, register.

    The test is read only where intended use and acceptance criteria are signed as they stand; else the version is a draft
    with figures of development. A predictor that was registered before keeps its figures, unless its test was not yet read
    under the criteria that are signed now.

    Args:
        plant: Where the snapshots are stored.
        progress: Receives lines.
        made_in: What made it, for the run in MLflow, for example the id of the Dagster run.
    """
    plant = plant.fixed()
    history, seal = history_of(plant), Seal.load(plant.models_dir / "sealed_test.json")
    trained, replayed = train_on(plant, history, seal, fits_of(plant, plant.process.policy), progress)
    trained.predictor.save(plant.models_dir / trained.predictor.sha256)
    registry, found = Registry(plant.settings.data_dir), signed_before(plant)
    signed = found if isinstance(found, SignedBefore) else None
    if isinstance(found, str):
        progress(f"the test is not read: {found}")
    known = registry.find(plant.process.id, sha256=trained.predictor.sha256)
    if known is None:
        evaluation, known = _registered(plant, trained, history, replayed, registry, made_in or {}, signed, progress)
        note_reading(plant, registry, known)
    elif signed is not None and registry.evaluation(known).criteria_sha256 != signed.acceptance_sha256:
        progress(f"the data gave model version {known.version} again; its test is read under the signed criteria")
        evaluation, known = _tested(plant, known, trained, history, replayed, registry, made_in or {}, signed, progress)
        note_reading(plant, registry, known)
        known = registry.as_challenger(known)
    else:
        progress(f"the data gave model version {known.version} again; its figures stand")
        known = registry.as_challenger(known)
        evaluation = registry.evaluation(known)
    report = Report(registry.report(known), registry.report_pdf(known))
    stem = "report" if evaluation.read_test else "development"
    file_report(report, plant.reports_dir, model_version=known.version, stem=stem)
    return known, evaluation


def _registered(
    plant: Plant, trained: Trained, history: History, replayed: Replayed | None, registry: Registry,
    made_in: Mapping[str, str], signed: SignedBefore | None, progress: Progress,
) -> tuple[Evaluation, RegisteredModel]:  # fmt: skip
    """Examine a predictor and register it; without signed documents as a draft with figures of development."""
    found = examine(plant, trained, history, replayed, signed, progress)
    more = recorded(plant) | dict(made_in)
    comparison = None if signed is None else _compared(plant, trained, history, replayed, registry, progress)
    card = _card(plant, trained, history, found.evaluation, comparison, more)
    example = history.snapshots[history.snapshots["batch_id"].isin(trained.failed.index[-1:])]
    progress("registering the model with MLflow")
    model = registry.register(
        plant.process, trained, found.evaluation, report=found.report.html, pdf=found.report.pdf, images=found.images,
        features=history.features, example=example, more=more, comparison=comparison, card=card,
    )  # fmt: skip
    return found.evaluation, model


def _tested(
    plant: Plant, known: RegisteredModel, trained: Trained, history: History, replayed: Replayed | None, registry: Registry,
    made_in: Mapping[str, str], signed: SignedBefore, progress: Progress,
) -> tuple[Evaluation, RegisteredModel]:  # fmt: skip
    """Read the test of a version that is registered already, and add its figures; what was logged before stays."""
    found = examine(plant, trained, history, replayed, signed, progress)
    comparison = _compared(plant, trained, history, replayed, registry, progress)
    card = _card(plant, trained, history, found.evaluation, comparison, recorded(plant) | dict(made_in))
    model = registry.log_test(
        known, trained, found.evaluation, report=found.report.html, pdf=found.report.pdf, images=found.images,
        comparison=comparison, card=card,
    )  # fmt: skip
    return found.evaluation, model


def _compared(
    plant: Plant, trained: Trained, history: History, replayed: Replayed | None, registry: Registry, progress: Progress
) -> Comparison | None:
    progress("comparing with the champion")
    champion = champion_of(plant.settings, plant.process.id, registry, progress)
    return against_champion(champion, registry, trained, history, plant.process.policy, replayed)


def _card(
    plant: Plant, trained: Trained, history: History, evaluation: Evaluation, comparison: Comparison | None,
    more: Mapping[str, str],
) -> str:  # fmt: skip
    """The model card; the intended use on it is that of the file, signed or not."""
    used = {"training": tuple(trained.failed.index)}
    used |= {} if trained.prequential else {"sealed test": trained.seal.batch_ids}
    path = document_path(plant, "intended_use")
    try:
        use = load_intended_use(path) if path.exists() else None
    except ProcessError:
        use = None  # the line about the test has said why
    return model_card(
        plant.process, trained, evaluation, comparison, made_from=_in_short(more), intended_use=use,
        exclusions=exclusions(history.snapshots, history.log, used), rows_read=last_report(plant.history).in_a_line(),
    )  # fmt: skip


def train_on(
    plant: Plant, history: History, seal: Seal, fits: Fits, progress: Progress
) -> tuple[Trained, Replayed | None]:
    """Fit the predictor of a history and its seal; nothing is stored but the models of the replay.

    Args:
        plant: Its process definition and settings.
        history: What was known.
        seal: The test.
        fits: Where the models of the replay are kept.
        progress: Receives lines.

    Returns:
        The predictor with how it came about, and the replay; None where a sealed test leaves too little for one.
    """
    policy, replayed = plant.process.policy, _replayed(plant, history, seal, fits, progress)
    if seal.learnt and replayed is not None:
        progress("fitting the predictor on all that is known")
        return newest(history, policy, fits, replayed, seal), replayed
    trained = train(
        plant.process, history.snapshots, history.features, history.batches, history.log,
        observations=history.observations, dispositions=history.dispositions, seal=seal, between=history.between, course=history.course,
        plan=policy.plan(plant.process), progress=_of_training(progress),
    )  # fmt: skip
    return trained, replayed


def _replayed(plant: Plant, history: History, seal: Seal, fits: Fits, progress: Progress) -> Replayed | None:
    """The field replay up to the moment of training; None where a sealed test leaves too little for one."""
    policy = plant.process.policy
    try:
        return replay(history, policy, fits, until=seal.cut if seal.learnt else None, progress=in_tenths(progress))
    except TrainingError:
        if seal.learnt:
            raise
        return None


def _in_short(more: Mapping[str, str]) -> dict[str, str]:
    """What a card says of the origin: tables by their version in the Delta log, the rest by the start of its digest."""
    tables = {
        name.removeprefix("data."): value.split(" ")[0] for name, value in more.items() if name.startswith("data.")
    }
    listed = ", ".join(f"{name} {version}" for name, version in tables.items())
    rest = {name: value[:16] for name, value in more.items() if not name.startswith("data.") and name != "libraries"}
    return rest | ({"Delta table versions": listed} if listed else {})


def _of_training(progress: Progress) -> Callable[[str, int, int], None]:
    """Progress of folds, and what follows the last one."""
    report = in_tenths(progress)

    def training(what: str, done: int, of: int) -> None:
        report(what, done, of)
        if (what, done) == ("forward folds", of):
            progress("fitting the predictor and its limits")

    return training

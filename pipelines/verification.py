"""Everything that is kept of a process, compared with what was written: one line a fault, with its remedy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from features.errors import BatchguardError
from models.backtest.fits import check_fit
from models.cohort.reading_chain import digests_of
from models.predictor import Predictor
from models.registry import RegisteredModel, Registry
from pipelines.ledger_check import ledger_faults
from pipelines.plant import Plant
from pipelines.recorded import versions_of
from pipelines.risk_scores import predictors_of
from pipelines.storage import Store, files
from pipelines.verified_releases import release_faults

_REPORT = "The registry keeps the report of each version: copy it from there, or train again."
_TRAIL = "Restore the newest records, or find out who changed them: 'batchguard audit verify' says more."


@dataclass
class Verified:
    """What was found.

    Attributes:
        faults: One line each, with its remedy.
        harmless: Lines about what costs space only.
        counts: What was compared, one line each.
    """

    faults: list[str] = field(default_factory=list)
    harmless: list[str] = field(default_factory=list)
    counts: list[str] = field(default_factory=list)


def verify_all(plant: Plant, config: Path | None = None) -> Verified:
    """Compare tables, predictors, registry, reports, the ledger of test readings, releases and the endpoint's records.

    Args:
        plant: The process.
        config: Settings of the endpoint; None: `endpoint.toml` in the data directory.

    Raises:
        StorageError: There is no run history.
    """
    found = Verified()
    _tables(plant, found)
    registry = Registry(plant.settings.data_dir)
    models = _registered(plant, registry, found)
    _predictors(plant, found)
    _former_versions(plant, registry, models, found)
    _reports(plant, registry, models, found)
    _ledger(plant, registry, found)
    _records(plant, config, found)
    return found


def _tables(plant: Plant, found: Verified) -> None:
    stores = (plant.history, plant.features, plant.scores)
    problems = [problem for store in stores for problem in store.verify()]
    if not problems:
        plant.table("batches")  # raises for a folder without a run history
    found.faults += [problem.line for problem in problems if not problem.harmless]
    found.harmless += [problem.line for problem in problems if problem.harmless]
    n = sum(len(store.files(table)) for store in stores for table in store.tables()) if not found.faults else 0
    found.counts += [f"{n} files are as they were written"] if n else []


def _registered(plant: Plant, registry: Registry, found: Verified) -> list[RegisteredModel]:
    """Every version: each file that was logged with it, by its digest."""
    try:
        models = registry.all(plant.process.id)
    except BatchguardError as error:
        found.faults.append(str(error))
        return []
    found.faults += _faults(partial(registry.check_files, model) for model in models)
    found.counts.append(f"{len(models)} registered versions with predictor, figures, report and plots")
    return models


def _predictors(plant: Plant, found: Verified) -> None:
    """Predictors beside the registry, by the digest that is their name, and the models of replays."""
    folders = predictors_of(plant.models_dir)
    fits = sorted(path.parent for path in plant.models_dir.glob("fits/*/fit.json"))
    found.faults += _faults(partial(Predictor.load, folder, sha256=folder.name) for folder in folders)
    found.faults += _faults(partial(check_fit, place) for place in fits)
    found.counts.append(f"{len(folders)} predictors and {len(fits)} models of replays")


def _former_versions(plant: Plant, registry: Registry, models: Iterable[RegisteredModel], found: Verified) -> None:
    """Files of the versions of tables that registered models were trained from, beside those of the newest versions."""
    newest = {path for store in (plant.history, plant.features) for path in _files_of(store, store.tables())}
    former: set[Path] = set()
    for model in models:
        try:
            then = Plant(plant.settings, versions_of(registry.params(model)))
            stores = (then.history, then.features) if then.versions else ()
            former |= {path for store in stores for path in _files_of(store, store.tables())}
        except BatchguardError as error:
            found.faults.append(f"data of model version {model.version}: {error}")
    found.faults += [f"{fault}. {files.RESTORE}" for path in sorted(former - newest) if (fault := files.fault_of(path))]
    found.counts.append(f"{len(former - newest)} files of former versions of tables, from which models were trained")


def _files_of(store: Store, tables: Iterable[str]) -> Iterator[Path]:
    for table in tables:
        try:
            yield from store.files(table)
        except BatchguardError:
            continue  # the check of the tables has named it


def _reports(plant: Plant, registry: Registry, models: Iterable[RegisteredModel], found: Verified) -> None:
    """The report in its lasting place is that of a registered version."""
    path = plant.report_path
    if not path.is_file():
        return
    known = [text for model in models if (text := _report(registry, model))]
    if path.read_text(encoding="utf-8", errors="replace") not in known:
        found.faults.append(f"{path} is the report of no registered version, or was changed. {_REPORT}")
    found.counts.append("the newest report")


def _report(registry: Registry, model: RegisteredModel) -> str:
    try:
        return registry.report(model)
    except BatchguardError:
        return ""  # the check of the registry has named it


def _ledger(plant: Plant, registry: Registry, found: Verified) -> None:
    """The chain of the ledger, and the lines that the runs of versions name."""
    try:
        found.faults += ledger_faults(plant, registry)
    except BatchguardError as error:
        found.faults.append(str(error))
    found.counts.append(f"{len(digests_of(plant.ledger))} readings of tests")


def _records(plant: Plant, config: Path | None, found: Verified) -> None:
    """The endpoint's records against their audit trail, the trail against its anchor, and releases against their seals."""
    from serving.commands import RecordsAdmin
    from serving.records.store import sqlite_file
    from serving.settings import load_settings

    try:
        database = sqlite_file(load_settings(plant.settings.data_dir, config).records_url)
        if database is not None and not database.is_file():
            return  # there has been no endpoint
        with RecordsAdmin(plant.settings.data_dir, config, only_reads=True) as admin:
            trail = admin.verify()
            with admin.records.read() as connection:
                faults, harmless, n_releases = release_faults(plant, connection)
    except BatchguardError as error:
        found.faults.append(str(error))
        return
    found.faults += faults
    found.harmless += harmless
    found.counts.append(f"{n_releases} releases with seal and bundle")
    found.faults += [f"audit trail: {problem}. {_TRAIL}" for problem in trail.problems]
    found.counts.append(f"{trail.n_entries} entries of the audit trail and {trail.n_records} records")


def _faults(checks: Iterable[Callable[[], object]]) -> list[str]:
    return [line for check in checks if (line := _fault(check))]


def _fault(check: Callable[[], object]) -> str:
    try:
        check()
    except BatchguardError as error:
        return str(error)
    except (OSError, ValueError, KeyError, TypeError) as error:  # a file of a version that cannot be read at all
        return f"{type(error).__name__}: {error}. Restore the data directory."
    return ""

"""The model registry in MLflow: versions, their files and their aliases. Only this module and `models.tracking` import MLflow.

Training makes a challenger. The alias `champion` mirrors the version that the signed records call effective, and so do the
tags: whoever moves one by hand changes nothing but the mirror. Scoring never calls the registry: it reads a predictor's
folder.
"""

from __future__ import annotations

import fcntl
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from features.dictionary import Feature
from features.errors import StorageError
from features.process import ProcessDefinition
from models.artifact_locations import bring_home
from models.cohort.splits import Seal
from models.evaluation.champion import Comparison
from models.evaluation.evaluate import Evaluation
from models.folder import read_files
from models.logged_model import log_model
from models.mirror import CHAMPION as CHAMPION
from models.mirror import DIGEST, DRAFT, REVIEW, STATE, UNREVIEWED, mirrored, with_digests
from models.mlflow_store import MlflowStore
from models.predictor import Predictor
from models.tracking import FILES, log_children, log_files, log_run, log_test, quiet, started_run
from models.train import Trained

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

CHALLENGER = "challenger"
EVIDENCE = "evidence"  # the tag of a version whose test was read after its registration


@dataclass(frozen=True)
class RegisteredModel:
    """One version of a registered model.

    Attributes:
        name: Process it predicts for.
        version: Number of the version.
        run_id: MLflow run that made it.
        experiment_id: Experiment of that run.
        sha256: Digest of the predictor's folder.
        review: unreviewed or released.
        aliases: challenger, champion.
        evidence: Folder of the run with the figures and the report on the test, where it was read after the registration.
        is_new: Whether this call registered it.
    """

    name: str
    version: str
    run_id: str
    experiment_id: str
    sha256: str
    review: str
    aliases: tuple[str, ...]
    evidence: str = ""
    is_new: bool = False

    @property
    def page(self) -> str:
        """Where the MLflow UI shows the run, behind the server's address."""
        return f"/#/experiments/{self.experiment_id}/runs/{self.run_id}"

    @property
    def version_page(self) -> str:
        """Where it shows the version, with its model card."""
        return f"/#/models/{self.name}/versions/{self.version}"


@dataclass(frozen=True)
class Registry:
    """Versions of the models of a plant, in the store of its data directory or in that of the plant's own server.

    Every method raises StorageError where the store cannot be read or written, or files of a version are missing or were
    changed.
    """

    data_dir: Path

    @property
    def store(self) -> MlflowStore:
        """Where MLflow keeps runs and versions."""
        return MlflowStore.of(self.data_dir)

    @property
    def tracking_uri(self) -> str:
        """Where runs are logged."""
        return self.store.tracking_uri

    @property
    def artifacts(self) -> Path:
        """Folder of the runs' files in the data directory."""
        return self.store.artifacts

    def find(self, name: str, *, sha256: str) -> RegisteredModel | None:
        """The version whose predictor has this digest, if it was registered before."""
        versions = self._versions(name)
        return next((self._model(v) for v in versions if v.tags.get(DIGEST) == sha256), None)

    def by_alias(self, name: str, alias: str) -> RegisteredModel | None:
        """The version that an alias points to, if any."""
        versions = self._versions(name)
        return next((self._model(v) for v in versions if alias in v.aliases), None)

    def all(self, name: str) -> list[RegisteredModel]:
        """Every version, the first one first."""
        return [self._model(v) for v in sorted(self._versions(name), key=lambda version: int(version.version))]

    def by_version(self, name: str, version: str) -> RegisteredModel:
        """A version by its number.

        Raises:
            StorageError: There is none of that number.
        """
        versions = {str(v.version): v for v in self._versions(name)}
        if version not in versions:
            known = ", ".join(sorted(versions, key=int)) or "no version at all"
            raise StorageError(f"model {name!r} has no version {version!r}", expected=known)
        return self._model(versions[version])

    def versions(self, name: str) -> list[str]:
        """Numbers of all versions, the oldest first."""
        return sorted((str(version.version) for version in self._versions(name)), key=int)

    def predictor_folder(self, model: RegisteredModel) -> Path:
        """Folder of a version's predictor as it was logged; `Predictor.load` checks it."""
        return self._folder(model, "predictor")

    def predictor(self, model: RegisteredModel) -> Predictor:
        """The predictor of a version, checked against its registered digest."""
        folder = self.predictor_folder(model)
        try:
            return Predictor.load(folder, sha256=model.sha256)
        except StorageError:
            if self.store.embedded:
                raise
            self.store.forget(model.sha256)  # a damaged copy: the server has the original
        return Predictor.load(self.predictor_folder(model), sha256=model.sha256)

    def evaluation(self, model: RegisteredModel) -> Evaluation:
        """The figures of a version: on its test, or of development where that was not read yet."""
        return Evaluation.load(self._evidence(model, "evaluation"))

    def seal(self, model: RegisteredModel) -> Seal:
        """The sealed test set of a version; training used outcomes known before the seal's cut."""
        return Seal.load(self._folder(model, "evaluation") / "sealed_test.json")

    def params(self, model: RegisteredModel) -> dict[str, str]:
        """How a version was made: the parameters of its run."""
        with self.store.errors():
            return dict(self.store.client().get_run(model.run_id).data.params)

    def tags(self, model: RegisteredModel) -> dict[str, str]:
        """Tags of the run of a version."""
        with self.store.errors():
            return dict(self.store.client().get_run(model.run_id).data.tags)

    def note(self, model: RegisteredModel, name: str, value: str) -> None:
        """Set a tag of the run of a version."""
        with self.store.errors():
            self.store.client().set_tag(model.run_id, name, value)

    def report(self, model: RegisteredModel) -> str:
        """The HTML report of a version."""
        return (self._evidence(model, "report") / "report.html").read_text(encoding="utf-8")

    def check_files(self, model: RegisteredModel) -> None:
        """Compare every file that was logged with a version with the digests that were logged with it.

        A version that was registered by 0.2.0 or earlier has digests of its predictor alone.
        """
        if not self.store.embedded:
            self.store.forget(model.sha256)  # not the copies here, but what the server has
        for name, sha256 in sorted(self.tags(model).items()):
            if name.startswith(FILES):
                part = name.removeprefix(FILES)
                read_files(self._folder(model, part), sha256, f"{part} of model {model.name} version {model.version}:")
        self.predictor(model)

    def report_pdf(self, model: RegisteredModel) -> bytes:
        """The report of a version as PDF; empty where it was registered without one."""
        path = self._evidence(model, "report") / "report.pdf"
        return path.read_bytes() if path.is_file() else b""

    def register(
        self,
        process: ProcessDefinition,
        trained: Trained,
        evaluation: Evaluation,
        *,
        report: str,
        images: Mapping[str, bytes],
        features: tuple[Feature, ...],
        example: pd.DataFrame,
        pdf: bytes = b"",
        more: Mapping[str, str] | None = None,
        comparison: Comparison | None = None,
        card: str = "",
    ) -> RegisteredModel:
        """Log a run with everything about a predictor and register it as the challenger.

        A predictor that is registered already is returned as it stands: nothing is logged twice.

        Args:
            process: The process; its id names experiment and model.
            trained: The predictor and how it came about.
            evaluation: Its figures.
            report: The HTML report.
            images: PNG by file name.
            features: Dictionary of the snapshots' columns.
            example: A snapshot or a few, the example of what the model takes.
            pdf: The report as PDF; empty logs none.
            more: Further parameters of the run, for example digests of the history.
            comparison: With the champion.
            card: The model card, Markdown: the version's description.
        """
        with self._locked(), self.store.errors(), quiet():
            existing = self.find(process.id, sha256=trained.predictor.sha256)
            if existing is not None:
                return existing
            client = self.store.client()
            experiment_id = self.store.experiment(client, process.id)
            with started_run(experiment_id, f"{process.id} {trained.predictor.sha256[:12]}") as run_id:
                log_run(client, run_id, process, trained, evaluation, comparison, more or {})
                log_children(client, experiment_id, run_id, trained)
                log_files(client, run_id, trained, evaluation, report, images, comparison, card, pdf)
                tags = {DIGEST: trained.predictor.sha256, STATE: DRAFT, REVIEW: UNREVIEWED}
                source, model_id = log_model(process, trained.predictor, features, example, tags)
            if not client.search_registered_models(f"name = '{process.id}'"):
                client.create_registered_model(
                    process.id, description=f"{process.process.name}: will a batch in progress fail?"
                )
            # made with its digest and its card in one step: an interruption leaves no half version
            made = client.create_model_version(process.id, source, tags=tags, description=card, model_id=model_id)
            version = str(made.version)
            client.set_registered_model_alias(process.id, CHALLENGER, version)
            found = self.find(process.id, sha256=trained.predictor.sha256)
        if found is None:
            raise StorageError(f"model {process.id!r} version {version} is not in the registry after it was registered")
        return replace(found, is_new=True)

    def log_test(
        self,
        model: RegisteredModel,
        trained: Trained,
        evaluation: Evaluation,
        *,
        report: str,
        images: Mapping[str, bytes],
        pdf: bytes = b"",
        comparison: Comparison | None = None,
        card: str = "",
    ) -> RegisteredModel:
        """Add the figures of a test that was read after a version had been registered; what was logged before stays.

        Args:
            model: The version.
            trained: Its predictor and how it came about.
            evaluation: Its figures on the test.
            report: The HTML report.
            images: PNG by file name.
            pdf: The report as PDF; empty logs none.
            comparison: With the champion.
            card: The model card, Markdown: the version's description from now on.
        """
        under = f"test-{evaluation.criteria_sha256[:12]}"
        with self._locked(), self.store.errors(), quiet():
            client = self.store.client()
            log_test(client, model.run_id, evaluation, comparison)
            log_files(client, model.run_id, trained, evaluation, report, images, comparison, card, pdf, under)
            client.update_model_version(model.name, model.version, card)
            client.set_model_version_tag(model.name, model.version, EVIDENCE, under)
        return replace(model, evidence=under)

    def as_challenger(self, model: RegisteredModel) -> RegisteredModel:
        """Make a version the challenger again, when training gave the same predictor; the champion stays as it is."""
        if CHALLENGER in model.aliases:
            return model
        with self._locked(), self.store.errors():
            self.store.client().set_registered_model_alias(model.name, CHALLENGER, model.version)
        return replace(model, aliases=tuple(sorted({*model.aliases, CHALLENGER})))

    def mirror(self, name: str, effective: str | None, states: Mapping[str, str]) -> list[str]:
        """Make the alias `champion` and the tags of the versions repeat the signed records; they decide nothing.

        Args:
            name: The process.
            effective: Version that the records call effective; None: there is none.
            states: State by version; a version without one is a draft.

        Returns:
            One line per difference, which is undone: an alias moved by hand, a tag edited. Right after a change of the
            records that change is among them.
        """
        with self._locked(), self.store.errors(), quiet():
            client, every = self.store.client(), self._all_versions(name)
            restored = with_digests(client, name, every)
            versions = self._versions(name) if restored else _made_here(every)
            return restored + (mirrored(client, name, versions, effective, states) if versions else [])

    def log_replay(self, name: str, params: Mapping[str, object], figures: Mapping[str, object], folder: Path) -> str:
        """Log a field replay as a run of its own, with the files of a folder; where the MLflow UI shows it.

        Args:
            name: The process.
            params: The rules of the replay.
            figures: Numbers become metrics; what is no number is left to the files.
            folder: Its files.
        """
        from mlflow.entities import Metric, Param

        with self._locked(), self.store.errors(), quiet():
            client = self.store.client()
            experiment_id = self.store.experiment(client, name)
            with started_run(experiment_id, "field replay") as run_id:
                now = int(pd.Timestamp.now(tz="UTC").timestamp() * 1000)
                numbers = {key: float(value) for key, value in figures.items() if isinstance(value, int | float)}
                metrics = [Metric(key, value, now, 0) for key, value in numbers.items()]
                client.log_batch(run_id, metrics=metrics, params=[Param(k, str(v)) for k, v in params.items()])
                client.log_artifacts(run_id, str(folder), "backtest")
        return f"/#/experiments/{experiment_id}/runs/{run_id}"

    def bring_artifacts_home(self) -> None:
        """Let a registry in a copied data directory name the artifacts of the copy, not those of the original.

        Raises:
            StorageError: The registry cannot be read.
        """
        store = self.store
        if store.embedded and store.exists:
            with store.errors():
                store.probe()
                bring_home(store.database, store.artifacts)

    def _versions(self, name: str) -> list[ModelVersion]:
        return _made_here(self._all_versions(name))

    def _all_versions(self, name: str) -> list[ModelVersion]:
        store = self.store
        if not store.exists:
            return []
        with store.errors():
            store.probe()
            client = store.client()
            found = client.search_model_versions(f"name = '{name}'")
            return [client.get_model_version(name, one.version) for one in found]  # a search leaves out aliases

    def _model(self, version: ModelVersion) -> RegisteredModel:
        with self.store.errors():
            run = self.store.client().get_run(str(version.run_id))
        return RegisteredModel(
            name=version.name,
            version=str(version.version),
            run_id=run.info.run_id,
            experiment_id=run.info.experiment_id,
            sha256=version.tags[DIGEST],
            review=version.tags.get(REVIEW, UNREVIEWED),
            aliases=tuple(sorted(version.aliases)),
            evidence=version.tags.get(EVIDENCE, ""),
        )

    def _evidence(self, model: RegisteredModel, name: str) -> Path:
        """A folder of figures: that of the test where it was read later, else that of the registration."""
        return self._folder(model, model.evidence) / name if model.evidence else self._folder(model, name)

    def _folder(self, model: RegisteredModel, name: str) -> Path:
        folder = self.store.folder(model.run_id, model.name, name, sha256=model.sha256)
        if folder is None:
            raise StorageError(
                f"model {model.name} version {model.version}: its {name} is missing",
                remedy="Restore the data directory, or the artifacts of the MLflow server.",
            )
        return folder

    @contextmanager
    def _locked(self) -> Generator[None]:
        # an alias has no compare-and-set: two trainings must not both find no champion
        self.data_dir.mkdir(parents=True, exist_ok=True)
        with (self.data_dir / "mlflow.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _made_here(versions: list[ModelVersion]) -> list[ModelVersion]:
    """Versions with the digest of a predictor: others were registered by somebody else."""
    return [version for version in versions if DIGEST in version.tags]

from dataclasses import replace
from pathlib import Path

import pytest

from features.errors import StorageError
from models.acceptance.criteria import Acceptance
from models.acceptance.figures import FIGURES
from models.cohort.ledger import readings
from models.registry import RegisteredModel, Registry
from pipelines.demo_release import sign_demo_documents
from pipelines.effective import records_of
from pipelines.evidence import _criteria_met, _features_justified, evidence_of
from pipelines.plant import Plant
from pipelines.signed_documents import SignedBefore, document_path, signed_before
from pipelines.training import make_challenger
from serving.release.evidence import Evidence
from serving.release.states import ReleaseError
from tests.pipelines.small_plant import Place


@pytest.fixture(scope="module")
def place(ran, tmp_path_factory) -> Place:
    """The plant with its history and features, before anybody has signed or trained."""
    import shutil

    root = tmp_path_factory.mktemp("evidence") / "clone"
    shutil.copytree(ran.place.root, root, symlinks=True)
    data_dir = Place(root).data_dir
    fits = data_dir / "models" / "small" / "fits"
    kept = root / "fits"
    fits.rename(kept)
    for name in ("mlflow.db", "records.db", "records.db-wal", "records.db-shm", "anchor.jsonl"):
        (data_dir / name).unlink(missing_ok=True)
    for name in ("mlartifacts", "models", "reports", "bundles", "keys"):
        shutil.rmtree(data_dir / name, ignore_errors=True)
    fits.parent.mkdir(parents=True)
    kept.rename(fits)
    return Place(root)


def plant_of(place: Place) -> Plant:
    return Plant(place.settings())


def train(place: Place) -> tuple[RegisteredModel, list[str]]:
    from pipelines.training_sets import write_test_set, write_training_set

    plant, said = plant_of(place), []
    write_test_set(plant)
    write_training_set(plant)
    model, _ = make_challenger(plant, said.append)
    return model, said


def evidence(place: Place, model: RegisteredModel) -> Evidence:
    plant = plant_of(place)
    with records_of(plant.settings) as records:
        if records is None:
            raise ReleaseError("no records")
        return evidence_of(plant, model, records)


def change(place: Place, old: str, new: str) -> None:
    path = document_path(plant_of(place), "acceptance")
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def files(place: Place) -> list[str]:
    folder = plant_of(place).reports_dir
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("version-*/*"))


def test_the_test_is_read_after_the_signatures_and_not_before(place) -> None:
    # nothing is signed: a draft with figures of development, and no line in the ledger
    draft, said = train(place)
    registry = Registry(place.data_dir)
    assert "the test is not read: nobody has signed the intended use and the acceptance criteria of 'small'" in said
    assert not plant_of(place).ledger.exists()
    found = registry.evaluation(draft)
    assert (found.read_test, found.readings, found.counts["test_failed"]) == (False, 0, 0)
    page = registry.report(draft)
    assert "The test was not read." in page
    assert "<h1>Small plant: verification on simulated data</h1>" in page
    assert files(place) == ["version-1/development.html", "version-1/development.pdf"]

    # signed, but not read yet
    sign_demo_documents(plant_of(place))
    with pytest.raises(
        ReleaseError, match=r"version 1: its test was not read .* figures are of development; expected figures on"
    ):
        evidence(place, draft)

    # the same predictor again: now its test is read, once, under the criteria
    tested, said = train(place)
    assert (tested.version, tested.sha256) == (draft.version, draft.sha256)
    assert any("its test is read under the signed criteria" in line for line in said)
    documents = signed_before(plant_of(place))
    assert isinstance(documents, SignedBefore)
    found = registry.evaluation(registry.by_version("small", "1"))
    assert (found.read_test, found.criteria_sha256, found.readings) == (True, documents.acceptance_sha256, 1)
    assert "version-1/development.html" in files(place)
    assert "version-1/report.pdf" in files(place)
    own = evidence(place, tested)
    assert own.acceptance_sha256 == documents.acceptance_sha256
    assert own.test_reading == readings(plant_of(place).ledger)[-1].entry_sha256
    _, said = train(place)
    assert any("its figures stand" in line for line in said)
    assert len([r for r in readings(plant_of(place).ledger) if r.purpose.startswith("evaluate")]) == 1

    # a remark changes nothing; a value voids the signature
    change(place, "[[criterion]]", "# agreed in the meeting\n[[criterion]]")
    assert evidence(place, tested) == own
    change(place, "bound = 0.5", "bound = 0.51")
    with pytest.raises(ReleaseError, match="was changed since Demo approver signed it"):
        evidence(place, tested)
    assert isinstance(signed_before(plant_of(place)), str)

    # signed anew after the look at the test: counted, shown, and refused
    sign_demo_documents(plant_of(place))
    with pytest.raises(ReleaseError, match="not read under the acceptance criteria that are signed now"):
        evidence(place, tested)
    again, _ = train(place)
    assert registry.evaluation(again).readings == 2
    assert "read 2 times according to the ledger" in registry.report(again)
    assert files(place)[-2:] == ["version-1/report.html", "version-1/report.pdf"]
    assert "version-1/report-2.html" in files(place)
    with pytest.raises(
        ReleaseError, match=r"read on .* by make_challenger, before intended use and criteria were signed"
    ):
        evidence(place, again)


def test_a_version_that_misses_a_criterion_or_has_too_few_failures_is_refused(ran) -> None:
    plant = plant_of(ran.place)
    documents = signed_before(plant)
    assert isinstance(documents, SignedBefore)
    registry = Registry(ran.place.data_dir)
    model = registry.by_version("small", "1")
    evaluation = registry.evaluation(model)
    _criteria_met(model, evaluation, documents)
    value = FIGURES["recall"](evaluation).value
    strict = {"metric": "recall", "bound": value + 0.1, "side": "at_least", "least_failures": 5}
    many = strict | {"bound": value, "least_failures": 5000}
    for criterion, said in ((strict, "recall .*: not met"), (many, "5000 needed.: not enough failures")):
        acceptance = Acceptance.model_validate({"process": "small", "criterion": [criterion]})
        with pytest.raises(ReleaseError, match=said):
            _criteria_met(model, evaluation, replace(documents, acceptance=acceptance))
    with pytest.raises(ReleaseError, match=r"temperature_c.*: not justified.*small.acceptance.toml"):
        bare = documents.acceptance.model_copy(update={"feature": ()})
        _features_justified(plant, model, registry, evaluation, replace(documents, acceptance=bare))


def test_a_reason_that_says_validated_is_refused_while_batches_are_simulated(ran, run, monkeypatch) -> None:
    monkeypatch.setenv("BATCHGUARD_SIGNING_SECRET", "never looked at")
    place = ran.place
    options = ["--process", str(place.process), "--data-dir", str(place.data_dir), "--signer", "anna"]
    for step in ("submit", "approve", "make-effective"):
        refused = run("release", step, "1", *options, "--reason", "validated on the test")
        assert refused.exit_code == 1
        assert (
            "the reason says 'validated', and batches of the training part or the test are simulated" in refused.output
        )


def test_a_replay_that_a_person_asks_for_is_a_reading_of_the_test(clone, run) -> None:
    plant = Plant(clone.settings())
    before = len(readings(plant.ledger))
    assert run("backtest", *clone.options()).exit_code == 0
    found = readings(plant.ledger)
    assert len(found) == before + 1
    assert (found[-1].reader, found[-1].purpose) == ("backtest", "figures of a field replay")


def test_reports_of_a_run_lie_in_the_folder_of_their_version(ran) -> None:
    folder = Plant(ran.place.settings()).reports_dir
    own = folder / "version-1" / "report.html"
    assert own.read_bytes() == (folder / "report.html").read_bytes()
    assert Path(folder / "report.pdf").read_bytes().startswith(b"%PDF-")


def test_a_ledger_or_a_report_that_was_changed_releases_nothing(clone) -> None:
    registry, ledger = Registry(clone.data_dir), Plant(clone.settings()).ledger
    registry.bring_artifacts_home()
    model, whole = registry.by_version("small", "1"), ledger.read_bytes()
    assert evidence(clone, model).test_reading
    ledger.write_bytes(b"".join(whole.splitlines(keepends=True)[:-1]))
    with pytest.raises(ReleaseError, match="that model version 1 names is not there"):
        evidence(clone, model)
    ledger.write_bytes(whole)
    for report in clone.data_dir.glob("mlartifacts/small/*/artifacts/**/report.html"):
        report.write_text(report.read_text(encoding="utf-8").replace("0.8", "0.9"), encoding="utf-8")
    with pytest.raises(StorageError, match=r"report\.html was changed after it was written"):
        evidence(clone, model)

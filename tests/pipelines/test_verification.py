"""`batchguard verify` over everything that is kept: one line a fault, with its remedy."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import text

from models.registry import RegisteredModel, Registry
from pipelines.plant import Plant
from pipelines.storage import Store
from serving.commands import RecordsAdmin
from tests.pipelines.conftest import command
from tests.pipelines.small_plant import Place


@pytest.fixture
def kept(clone) -> Place:
    """A plant with a key of its endpoint, and a table that went on after its version was registered."""
    Registry(clone.data_dir).bring_artifacts_home()
    with RecordsAdmin(clone.data_dir) as admin:
        list(admin.add_key("MES", role="mes", sites=["*"], person=False, days=None))
    store = Plant(clone.settings()).history
    month = store.months("materials")[0]
    fewer = store.read("materials", months=[month]).slice(0, 5)
    store.write("materials", month, fewer, fewer.schema)
    return clone


def verified(place: Place) -> tuple[int, list[str], list[str]]:
    ran = command("verify", "--process", str(place.process), "--data-dir", str(place.data_dir))
    return ran.exit_code, ran.stderr.splitlines(), ran.stdout.splitlines()


def artifacts(place: Place) -> Path:
    model = model_of(place)
    return place.data_dir / "mlartifacts" / "small" / model.run_id / "artifacts"


def model_of(place: Place) -> RegisteredModel:
    return Registry(place.data_dir).by_version("small", "1")


def test_everything_as_it_was_written_is_counted(kept) -> None:
    code, faults, counts = verified(kept)
    assert (code, faults) == (0, [])
    assert counts[1:3] == [
        "1 registered versions with predictor, figures, report and plots", "1 predictors and 4 models of replays",
    ]  # fmt: skip
    assert counts[3:6] == [
        "1 files of former versions of tables, from which models were trained", "the newest report", "4 readings of tests",
    ]  # fmt: skip
    assert counts[6] == "1 releases with seal and bundle"
    assert counts[7].endswith(" records")


def appended(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"\n")


def former_file(place: Place) -> None:
    store = Store(place.data_dir / "history" / "small", {"materials": 1})
    appended(next(path for path in store.files("materials") if "2025-01" in str(path)))


def last_reading(place: Place) -> None:
    path = Plant(place.settings()).ledger
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))


def first_reading(place: Place) -> None:
    path = Plant(place.settings()).ledger
    path.write_text(path.read_text().replace("make_challenger", "nobody", 1))


def trail(place: Place) -> None:
    changed(place, "UPDATE audit SET why = 'because'")


def changed(place: Place, statement: str) -> None:
    """As someone with the rights of the database's owner: the triggers are taken away first, and put back."""
    with RecordsAdmin(place.data_dir) as admin, admin.records.engine.connect() as connection, connection.begin():
        guards = connection.execute(text("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")).all()
        for guard in guards:
            connection.exec_driver_sql(f"DROP TRIGGER {guard.name}")
        connection.exec_driver_sql(statement)
        for guard in guards:
            connection.exec_driver_sql(guard.sql)


def bundle(place: Place) -> Path:
    return next((place.data_dir / "bundles" / "small").glob("?" * 64))


def envelope(place: Place) -> None:
    changed(place, "UPDATE release_actions SET envelope = replace(envelope, 'a', 'b')")


def document(place: Place) -> None:
    changed(place, f"UPDATE signed_documents SET sha256 = '{'0' * 64}'")  # noqa: S608


def test_a_bundle_that_no_release_names_is_told_but_is_no_damage(kept) -> None:
    (bundle(kept).with_name("f" * 64)).mkdir()
    ran = command("verify", "--process", str(kept.process), "--data-dir", str(kept.data_dir))
    assert ran.exit_code == 0
    assert "no release names it" in ran.stderr


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda p: appended(artifacts(p) / "evaluation" / "sealed_test.json"), "evaluation of model small version 1:"),
        (lambda p: appended(artifacts(p) / "report" / "report.html"), "report.html was changed after it was written"),
        (lambda p: next((artifacts(p) / "plots").glob("*.png")).unlink(), "plots of model small version 1:"),
        (lambda p: appended(artifacts(p) / "predictor" / "model.0.txt"), "model.0.txt was changed after it was written"),
        (lambda p: shutil.rmtree(artifacts(p) / "report"), "its report is missing"),
        (lambda p: appended(next(Plant(p.settings()).models_dir.glob("fits/*/out_of_fold.parquet"))), "the model is made again"),
        (former_file, "the file changed after it was written"),
        (lambda p: appended(Plant(p.settings()).report_path), "is the report of no registered version, or was changed"),
        (last_reading, "that model version 1 names is not there"),
        (first_reading, "line 2 does not follow the one before it"),
        (lambda p: (p.data_dir / "audit.anchor").unlink(), "audit trail: there is no anchor"),
        (trail, "audit trail: entry 1 was changed"),
        (lambda p: appended(bundle(p) / "canary.json"), "canary.json was changed"),
        (lambda p: shutil.rmtree(bundle(p)), "release "),
        (lambda p: (p.data_dir / "keys" / "demo-author.pub").unlink(), "no trusted keys of author and approver"),
        (envelope, "the envelope is not as this software writes it"),
        (document, "the records hold no signed intended use"),
    ],
    ids=["figures", "report", "plot", "predictor", "folder", "fit", "former file", "newest report", "ledger cut",
         "ledger changed", "anchor", "trail", "bundle file", "bundle", "keys", "envelope", "document"],
)  # fmt: skip
def test_what_is_not_as_it_was_written_is_one_line_with_its_remedy(
    kept, damage: Callable[[Place], object], said: str
) -> None:
    damage(kept)
    code, faults, counts = verified(kept)
    assert (code, counts) == (1, [])
    assert any(said in fault for fault in faults), faults
    for fault in faults:
        assert fault.startswith("batchguard: ")
        assert any(word in fault for word in ("estore", "Remove", "copy", "accept")), fault

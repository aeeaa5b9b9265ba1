"""A registered version trained again from what its run recorded: the same to the byte, or a line for what differs."""

import shutil
from dataclasses import replace

import pyarrow.compute as pc
import pytest

from models.registry import Registry
from pipelines import recorded, reproduce
from pipelines.plant import Plant
from pipelines.storage import Store
from tests.pipelines.conftest import command
from tests.pipelines.small_plant import Place


@pytest.fixture(scope="module")
def place(ran, tmp_path_factory) -> Place:
    """A plant whose tables went on after its version was registered."""
    root = tmp_path_factory.mktemp("reproduce") / "clone"
    shutil.copytree(ran.place.root, root, symlinks=True)
    Registry(Place(root).data_dir).bring_artifacts_home()
    shutil.rmtree(Place(root).data_dir / "models" / "small" / "fits")
    plant = Plant(Place(root).settings())
    for store, table in ((plant.history, "observations"), (plant.features, "snapshot_features")):
        month = store.months(table)[0]
        rows = store.read(table, months=[month])
        fewer = rows.filter(pc.equal(rows["batch_id"], rows["batch_id"][0]))
        store.write(table, month, fewer, fewer.schema)
    return Place(root)


@pytest.fixture
def untrained(monkeypatch) -> list[str]:
    """Notes that a predictor would be trained, and takes the registered one instead."""
    asked: list[str] = []

    def result(_, registry, model, __) -> reproduce.Compared:
        asked.append(model.version)
        return reproduce.compare(registry.predictor(model), registry.predictor_folder(model), model.sha256)

    monkeypatch.setattr(reproduce, "_result", result)
    return asked


def options(place: Place) -> tuple[str, ...]:
    return ("--process", str(place.process), "--data-dir", str(place.data_dir))


def lines_of(place: Place) -> tuple[int, list[str], list[str]]:
    ran = command("reproduce", "1", *options(place))
    lines = [line for line in ran.stdout.splitlines() if ": " in line and " s  " not in line]
    return (
        ran.exit_code,
        [line for line in lines if "differs" not in line],
        [line for line in lines if "differs" in line],
    )


def test_a_version_comes_out_the_same_to_the_byte_though_its_tables_went_on(place) -> None:
    code, same, differing = lines_of(place)
    assert (code, differing) == (0, [])
    assert [line.partition(":")[0] for line in same] == [
        "process definition", "policy", "code", "lock file", "libraries", "data", "result",
    ]  # fmt: skip
    sha256 = Registry(place.data_dir).by_version("small", "1").sha256
    # trees of their own at four checkpoints, five of each
    assert same[-1] == f"result: the same predictor {sha256[:12]}, 20 model texts equal to the byte"
    assert not (place.data_dir / "models" / "small" / "fits").exists()


def test_a_run_records_definition_code_lock_file_and_every_table_with_its_version(ran) -> None:
    registry, plant = Registry(ran.place.data_dir), Plant(ran.place.settings()).fixed()
    params = registry.params(registry.by_version("small", "1"))
    assert {name: params[name] for name in recorded.recorded(plant)} == recorded.recorded(plant)
    assert {table for _, table in recorded.tables_of(params)} >= {
        "batches", "observations", "dispositions", "materials", "batch_summaries", "snapshot_features",
    }  # fmt: skip
    assert recorded.versions_of(params) == tuple(sorted(plant.versions or ()))


@pytest.mark.parametrize(
    ("name", "said"),
    [("lock_digest", "lock file: differs: recorded "), ("training_code_digest", "code: differs: recorded "),
     ("libraries", "libraries: differs: recorded ")],
)  # fmt: skip
def test_other_code_or_libraries_are_named_and_the_result_says_whether_they_matter(
    place, untrained, monkeypatch, name, said
) -> None:
    now = "python 1.0, numpy 0.1" if name == "libraries" else "f" * 64
    monkeypatch.setattr(recorded, name, lambda: now)
    code, same, differing = lines_of(place)
    assert (code, untrained) == (1, ["1"])
    assert [line.startswith(said) for line in differing] == [True]
    assert same[-1].startswith("result: the same predictor")


@pytest.mark.parametrize(
    ("text", "said"),
    [('\n[policy]\nlearner = "trees"\n', "policy: differs"),
     ("planned_duration_h = 24 -> planned_duration_h = 25", "process definition: differs")],
)  # fmt: skip
def test_another_definition_or_policy_is_named_and_nothing_is_trained(place, untrained, tmp_path, text, said) -> None:
    old, _, new = text.partition(" -> ")
    content = place.process.read_text(encoding="utf-8")
    other = tmp_path / "small.toml"
    other.write_text(content.replace(old, new) if new else content + text, encoding="utf-8")
    ran = command("reproduce", "1", "--process", str(other), "--data-dir", str(place.data_dir))
    assert (ran.exit_code, untrained) == (1, [])
    assert said in ran.stdout
    assert "result: not made, because the parts above are not those of then" in ran.stdout


def test_a_file_that_was_changed_or_is_gone_is_named_and_nothing_is_trained(place, untrained, tmp_path) -> None:
    root = tmp_path / "clone"
    shutil.copytree(place.root, root, symlinks=True)
    Registry(Place(root).data_dir).bring_artifacts_home()
    folder = Place(root).data_dir / "history" / "small"
    Store(folder, {"observations": 1}).files("observations")[0].unlink()  # of the recorded version only
    _, _, differing = lines_of(Place(root))
    assert [line.startswith("data: differs: observations version 1: ") for line in differing] == [True]
    assert "the file is missing" in differing[0]
    assert untrained == []


def test_a_predictor_that_came_out_otherwise_is_named_with_the_files_that_differ(place) -> None:
    registry = Registry(place.data_dir)
    model = registry.by_version("small", "1")
    predictor = registry.predictor(model)
    other = replace(predictor, training_sha256="0" * 64)
    found = reproduce.compare(other, registry.predictor_folder(model), model.sha256)
    assert not found.same
    assert found.line == (
        f"result: differs: predictor recorded {model.sha256[:12]}, now {other.sha256[:12]}; files that differ: predictor.json"
    )


def test_a_version_whose_run_recorded_too_little_is_one_line(place, monkeypatch) -> None:
    monkeypatch.setattr(Registry, "params", lambda *_: {"plan.trials": "1", "data_version": "0" * 64})
    ran = command("reproduce", "1", *options(place))
    assert ran.exit_code == 1
    assert "model small version 1 was registered before its run recorded data, code and lock file" in ran.stderr
    assert "no version '7'" in command("reproduce", "7", *options(place)).stderr


def test_tables_held_at_their_versions_are_read_and_not_written(place) -> None:
    plant = Plant(place.settings())
    month = plant.features.months("snapshot_features")[0]
    then = Store(plant.features.root, {"snapshot_features": 1})
    assert then.version("snapshot_features") == 1 < plant.features.version("snapshot_features")
    assert then.rows("snapshot_features") > plant.features.rows("snapshot_features")
    assert not then.exists("training_set")
    rows = then.read("snapshot_features", months=[month])
    with pytest.raises(ValueError, match="read at given versions"):
        then.write("snapshot_features", month, rows, rows.schema)


def test_a_plant_that_is_fixed_does_not_see_what_is_written_later(clone) -> None:
    fixed, store = Plant(clone.settings()).fixed(), Plant(clone.settings()).history
    month = store.months("materials")[0]
    fewer = store.read("materials", months=[month]).slice(0, 5)
    store.write("materials", month, fewer, fewer.schema)
    assert len(fixed.table("materials")) == 120 > len(Plant(clone.settings()).table("materials"))
    assert fixed.fixed() is fixed

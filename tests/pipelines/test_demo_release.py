"""The demo's release: refused where a batch is real, made once, and absent for a plant that has released nothing."""

import pytest

from features.errors import BatchguardError
from pipelines.demo_release import release_demo
from pipelines.effective import effective_version
from pipelines.plant import Plant
from pipelines.result import newest_scores
from pipelines.risk_scores import serving_model


def test_a_real_batch_is_refused_before_anything_is_trained(fresh, run) -> None:
    batches = fresh.read("batches")
    batches.loc[7, "origin"] = "real"
    fresh.replace("batches", batches)
    told = run("run", *fresh.options(), "--as-of", "history", "--release-as-demo")
    assert told.exit_code == 1
    assert "batch B007 is real: the demo's keys release nothing for real batches" in told.stderr
    assert not (fresh.data_dir / "records.db").exists()
    assert not (fresh.data_dir / "history" / "small" / "batches").exists()


def test_a_stored_real_batch_is_refused_as_well(clone, monkeypatch) -> None:
    plant = Plant(clone.settings())
    real = plant.table("batches").assign(origin="real")
    monkeypatch.setattr(Plant, "table", lambda *_: real)
    with pytest.raises(BatchguardError, match="is real"):
        release_demo(plant, print)


def test_the_demo_releases_a_version_once(clone) -> None:
    said: list[str] = []
    plant = Plant(clone.settings())
    before = effective_version(plant.settings, "small")
    release_demo(plant, said.append)
    assert before is not None
    assert (before.version, before.released_by, said) == ("1", "demo keys", [])
    assert effective_version(plant.settings, "small") == before


def test_without_an_effective_version_scores_are_a_preview_and_the_run_ends_well(clone, run) -> None:
    for path in clone.data_dir.glob("records.db*"):
        path.unlink()
    told = run("score", *clone.options(), "--as-of", "history")
    assert told.exit_code == 0, told.output
    assert "Preview by version 1, not released" in told.output
    models = {(s.model.release_id, s.model.released_by, s.model.review) for s in newest_scores(Plant(clone.settings()))}
    assert models == {(None, None, "unreviewed")}
    assert not list(clone.data_dir.glob("records.db*"))  # to look makes no records


def test_another_process_definition_than_the_released_one_gives_a_preview_and_the_reason(clone, run) -> None:
    text = clone.process.read_text()
    assert "normal = [36, 38]" in text
    clone.process.write_text(text.replace("normal = [36, 38]", "normal = [36, 39]"))
    told = run("score", *clone.options(), "--as-of", "history")
    assert told.exit_code == 0, told.output
    plant = Plant(clone.settings())
    assert serving_model(plant).status == (
        "not released: the process definition is not the one that version 1 was released with"
    )
    assert {s.model.released_by for s in newest_scores(plant)} == {None}

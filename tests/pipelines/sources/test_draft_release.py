from pathlib import Path

import pytest

from models.acceptance.criteria import load_acceptance
from models.acceptance.intended_use import load_intended_use
from pipelines.plant import Plant
from pipelines.settings import Settings, process_file
from pipelines.sources.draft_release import ACCEPTANCE, INTENDED_USE, beside, drafts_beside
from tests.pipelines.small_plant import PROCESS

SHIPPED = ("ai4i", "cart", "indpensim", "secom", "tablet")


def test_drafts_load_and_fit_their_process_definition(tmp_path) -> None:
    path = tmp_path / "small.toml"
    path.write_text(PROCESS, encoding="utf-8")
    for file, text in drafts_beside(path, PROCESS).items():
        file.write_text(text, encoding="utf-8")
        assert "check" in text
    use = load_intended_use(tmp_path / "small.intended_use.toml")
    use.check(Plant(Settings(path, Path())).process)
    assert use.decision_points_h == (6, 12, 24)
    criteria = load_acceptance(tmp_path / "small.acceptance.toml")
    assert [c.metric for c in criteria.criterion] == ["auroc_low", "recall", "alarm_share"]
    assert criteria.feature == ()


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_process_has_an_intended_use_and_criteria_that_fit_it(name) -> None:
    file = process_file(name)
    process = Plant(Settings(file, Path())).process
    load_intended_use(beside(file, INTENDED_USE)).check(process)
    criteria = load_acceptance(beside(file, ACCEPTANCE))
    assert criteria.process == process.id
    assert criteria.feature


def test_init_drafts_all_three_files_and_overwrites_none(run, fresh, tmp_path) -> None:
    out = tmp_path / "mine.toml"
    said = run("init", "--history", str(fresh.history), "--out", str(out))
    assert said.exit_code == 0, said.output
    assert sorted(p.name for p in tmp_path.glob("mine*")) == [
        "mine.acceptance.toml", "mine.intended_use.toml", "mine.toml",
    ]  # fmt: skip
    out.unlink()
    again = run("init", "--history", str(fresh.history), "--out", str(out))
    assert again.exit_code == 1
    assert "mine.intended_use.toml exists" in again.output
    assert not out.exists()

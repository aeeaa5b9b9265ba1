import json
import shutil

import pandas as pd
import pytest
from typer.testing import Result

from pipelines.plant import Plant
from tests.pipelines.small_plant import Place, history


def refused(result: Result) -> str:
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("batchguard: ")
    return line


@pytest.mark.parametrize("option", ["--from", "--until"])
@pytest.mark.parametrize("text", ["2025-03-01", "2025-03-01T08:00", "spring"])
def test_a_time_without_an_offset_is_one_line_before_anything_is_read(run, tmp_path, option, text) -> None:
    place = Place(tmp_path)
    place.write(history())
    line = refused(run("backtest", *place.options(), option, text))
    assert f"{option} '{text}' cannot be used; expected a time with offset such as 2026-01-31T08:00+01:00" in line
    assert not place.data_dir.exists()


@pytest.mark.parametrize("option", ["--policy", "--against"])
def test_a_misspelt_rule_is_one_line_with_the_rules_there_are(run, tmp_path, option) -> None:
    place, rules = Place(tmp_path), tmp_path / "rules.toml"
    place.write(history())
    rules.write_text("[policy]\nretrain_every_day = 30\n", encoding="utf-8")
    line = refused(run("backtest", *place.options(), option, str(rules)))
    assert f"{rules}: retrain_every_day: " in line
    assert "expected keys of [policy]: learner, retrain_every_outcomes, retrain_every_days" in line
    assert not place.data_dir.exists()


def test_a_file_of_rules_that_is_not_there_is_one_line(run, fresh) -> None:
    assert "Name a TOML file that can be read" in refused(run("backtest", *fresh.options(), "--policy", "none.toml"))


def test_a_file_for_the_figures_that_cannot_be_written_is_told_before_anything_is_read(run, fresh) -> None:
    refused(run("backtest", *fresh.options(), "--json", str(fresh.process / "figures.json")))
    assert not fresh.data_dir.exists()


def last_line(result: Result) -> str:
    assert result.exit_code == 1
    return next(line for line in reversed(result.stderr.splitlines()) if line.startswith("batchguard: "))


@pytest.fixture(scope="module")
def short(tmp_path_factory) -> Place:
    """The first twelve batches."""
    place = Place(tmp_path_factory.mktemp("short"))
    tables = history()
    ids = tables["batches"]["batch_id"].head(12)
    place.write({name: frame[frame["batch_id"].isin(ids)] for name, frame in tables.items()})
    return place


def test_a_history_too_short_is_one_line_with_its_remedy(run, short) -> None:
    line = last_line(run("backtest", *short.options()))
    assert line.startswith("batchguard: small: ")
    assert (
        "of 12 batches with an outcome failed, and no batch started after 5 failures and 5 successes were known" in line
    )
    assert "Give 'batchguard run' a longer --history" in line


@pytest.fixture(scope="module")
def replayed(ran, run, tmp_path_factory) -> tuple[Place, Result]:
    """Two policies on a part of the calendar."""
    root = tmp_path_factory.mktemp("command") / "clone"
    shutil.copytree(ran.place.root, root, symlinks=True)
    place = Place(root)
    rules = place.root / "slow.toml"
    rules.write_text("approval_delay_h = 240\n", encoding="utf-8")
    stretch = ["--from", "2025-02-20T00:00+01:00", "--until", "2025-05-20T00:00+02:00"]
    result = run("backtest", *place.options(), *stretch, "--against", str(rules), "--json", str(place.result))
    return place, result


def test_the_figures_stand_in_the_terminal_in_a_page_and_in_files(replayed) -> None:
    place, result = replayed
    assert result.exit_code == 0, result.output
    folder = Plant(place.settings()).backtest_dir
    assert {path.name for path in folder.iterdir()} == {"backtest.html", "backtest.json", "scores.parquet"}
    for text in (
        "Field replay",
        "The policy beside it",
        "outside the exact binomial 95 % range",
        "failures called high",
    ):
        assert text in result.stdout
    assert str(folder / "backtest.html") in result.stdout.replace("\n", "")
    assert place.result.read_bytes() == (folder / "backtest.json").read_bytes()


def test_only_the_stretch_that_was_asked_for_counts(replayed) -> None:
    place, _ = replayed
    found = json.loads(place.result.read_text(encoding="utf-8"))
    scores = pd.read_parquet(Plant(place.settings()).backtest_dir / "scores.parquet")
    assert found["blocks"][0]["n_batches"] == scores["batch_id"].nunique()
    assert pd.Timestamp(found["from"]) >= pd.Timestamp("2025-02-20T00:00+01:00")
    assert (scores["label_available_at"] < pd.Timestamp("2025-05-20T00:00+02:00")).all()
    assert found["against"]["policy"]["approval_delay_h"] == 240
    assert found["policy"]["approval_delay_h"] == 0


def test_the_replay_is_logged_with_mlflow(replayed) -> None:
    import mlflow

    from models.registry import Registry

    place, _ = replayed
    client = mlflow.MlflowClient(Registry(place.data_dir).tracking_uri)
    (experiment,) = client.search_experiments(filter_string="name = 'small'")
    runs = client.search_runs([experiment.experiment_id], "attributes.run_name = 'field replay'")
    newest = max(runs, key=lambda run: run.info.start_time)
    assert len(runs) == 2  # the run of everything replays too
    found = json.loads(place.result.read_text(encoding="utf-8"))
    assert newest.data.metrics["field.n_batches"] == found["blocks"][0]["n_batches"]

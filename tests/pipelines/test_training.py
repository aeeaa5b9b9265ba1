import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from models.backtest.history import History
from models.backtest.newest import newest
from models.backtest.replay import Replayed, replay
from models.cohort.labels import labels_as_of
from models.cohort.splits import Seal, nothing_sealed, seal_test, subject_groups
from models.evaluation.champion import UNKNOWN
from models.evaluation.compare import compare_splits
from models.learners.trees import Plan
from models.registry import CHALLENGER, Registry
from models.train import Trained, train
from pipelines.backtest import fits_of
from pipelines.champion import against_champion
from pipelines.examination import labels_by_rule, record_readings
from pipelines.history import ingest
from pipelines.model_history import history_of
from pipelines.plant import Plant
from pipelines.signed_documents import SignedBefore, signed_before
from pipelines.sources.folder import HistoryFolder
from pipelines.training import make_challenger
from pipelines.training_sets import check_seal, write_test_set, write_training_set
from tests.pipelines.small_plant import BEGIN, Place

HOUR = pd.Timedelta(hours=1)


@pytest.fixture(scope="module")
def place(ran, tmp_path_factory) -> Place:
    root = tmp_path_factory.mktemp("training") / "clone"
    shutil.copytree(ran.place.root, root, symlinks=True)
    Registry(Place(root).data_dir).bring_artifacts_home()
    return Place(root)


@pytest.fixture(scope="module")
def plant(place) -> Plant:
    return Plant(place.settings())


@pytest.fixture(scope="module")
def history(plant) -> History:
    return history_of(plant)


@pytest.fixture(scope="module")
def seal(plant) -> Seal:
    return write_test_set(plant)


@pytest.fixture(scope="module")
def replayed(plant, history, seal) -> Replayed:
    return replay(history, plant.process.policy, fits_of(plant, plant.process.policy), until=seal.cut)


@pytest.fixture(scope="module")
def trained(plant, history, seal, replayed) -> Trained:
    policy = plant.process.policy
    return newest(history, policy, fits_of(plant, policy), replayed, seal)


def signed(plant: Plant) -> SignedBefore:
    found = signed_before(plant)
    assert isinstance(found, SignedBefore), found
    return found


def lines(plant: Plant) -> list[dict[str, str]]:
    text = (plant.models_dir / "test_readings.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def test_the_test_is_what_started_after_the_first_training_and_it_trains_the_newest_model(plant, seal) -> None:
    failed, same = write_training_set(plant)
    assert same == seal == Seal.load(plant.models_dir / "sealed_test.json")
    assert set(seal.batch_ids) < set(failed.index)
    assert len(failed) == 117
    stored = plant.features.read("test_set")
    assert set(stored["batch_id"].to_pylist()) == set(seal.batch_ids)
    ids = plant.features.read("training_set").select(["batch_id"]).to_pandas()
    check = check_seal(ids, seal, plant.table("batches"), plant.labels())
    assert check.passed, check
    sealed = check_seal(ids, replace(seal, learnt=False), plant.table("batches"), plant.labels())
    assert set(sealed.shared_batches) == set(seal.batch_ids)
    early = check_seal(ids, replace(seal, cut=BEGIN + 1000 * HOUR), plant.table("batches"), plant.labels())
    assert early.known_too_late


def test_a_run_has_recorded_each_block_of_a_version_once(plant, replayed) -> None:
    found = lines(plant)
    blocks = replayed.scores.groupby("version")["batch_id"].nunique()
    purposes = [line["purpose"] for line in found]
    assert purposes[:-1] == [f"block scored by version {n} of the replay" for n in blocks.index]
    assert purposes[-1].startswith("evaluate predictor ")
    assert len({line["test_sha256"] for line in found[:-1]}) == len(blocks) >= 3
    assert {line["criteria_sha256"] for line in found} == {signed(plant).acceptance_sha256}


def test_the_same_blocks_are_not_read_again_and_a_new_one_is(plant, trained, replayed) -> None:
    record_readings(plant, trained, replayed, signed(plant))
    before = lines(plant)
    assert before[-1]["purpose"] == f"evaluate predictor {trained.predictor.sha256}"
    last = replayed.scores["batch_id"].iloc[-1]
    shorter = replace(replayed, scores=replayed.scores[replayed.scores["batch_id"] != last])
    record_readings(plant, trained, shorter, signed(plant))
    after = lines(plant)
    assert after[: len(before)] == before
    assert len(after) == len(before) + 2  # the block that is still open, and the evaluation
    assert after[-2]["purpose"] == before[-2 - 1]["purpose"] or after[-2]["purpose"].startswith("block scored")


def test_the_same_data_give_the_registered_model_again(plant, trained) -> None:
    said: list[str] = []
    model, evaluation = make_challenger(plant, said.append)
    assert (model.version, model.sha256) == ("1", trained.predictor.sha256)
    assert "the data gave model version 1 again; its figures stand" in said
    assert evaluation.field is not None
    assert evaluation.field.loc[0, "n_batches"] == evaluation.overall["n_batches"]
    assert "The field replay" in plant.report_path.read_text(encoding="utf-8")


def test_a_policy_with_a_sealed_test_makes_a_challenger_that_has_not_seen_it(clone) -> None:
    text = clone.process.read_text(encoding="utf-8")
    clone.process.write_text(text + '\n[policy]\ntest = "newest_failures"\ntest_failures = 6\n', encoding="utf-8")
    plant, registry = Plant(clone.settings()), Registry(clone.data_dir)
    registry.bring_artifacts_home()
    before = lines(plant)
    seal = write_test_set(plant)
    labels = plant.labels().set_index("batch_id")["failed"]
    assert labels[list(seal.batch_ids)].sum() == 6
    failed, _ = write_training_set(plant)
    assert not set(failed.index) & set(seal.batch_ids)
    ids = pd.DataFrame({"batch_id": failed.index})
    assert check_seal(ids, seal, plant.table("batches"), plant.labels()).passed
    model, evaluation = make_challenger(plant, lambda _: None)
    assert (model.version, model.aliases) == ("2", (CHALLENGER,))
    assert evaluation.overall["n_batches"] == len(seal.batch_ids)
    assert registry.predictor(model).test_sha256 == seal.sha256
    assert lines(plant)[len(before) :] == [
        lines(plant)[-1] | {"purpose": f"evaluate predictor {model.sha256}", "test_sha256": seal.sha256}
    ]


def test_a_challenger_and_the_champion_are_judged_on_the_batches_that_neither_has_seen(place, monkeypatch) -> None:
    text, registry = place.process.read_text(encoding="utf-8"), Registry(place.data_dir)
    champion = registry.by_version("small", "1")
    settings = replace(place.settings(), process=place.process.with_name("sealed.toml"))
    settings.process.write_text(text + '\n[policy]\ntest = "newest_failures"\ntest_failures = 6\n', encoding="utf-8")
    plant = Plant(settings)
    plain = history_of(plant)
    odd = plain.batches["batch_id"].str[-1].isin([*"13579"])  # patients of their own; the even ones came before
    history = replace(plain, batches=plain.batches.assign(subject_key=plain.batches["subject_key"].mask(odd, "")))
    newest_six = seal_test(history.batches, history.log, process_id="small", failures=6)
    trained = train(
        plant.process, history.snapshots, history.features, history.batches, history.log, seal=newest_six,
        plan=Plan(learner="trees", folds=2, members=2),
    )  # fmt: skip
    learnt = against_champion(champion, registry, trained, history, plant.process.policy, None)
    assert learnt is not None
    assert (learnt.n, learnt.verdict) == (0, UNKNOWN)  # it has learnt from all that is known

    before = nothing_sealed("small", newest_six.cut)
    monkeypatch.setattr(Registry, "seal", lambda *_: before)  # as if the champion had been made before those started
    found = against_champion(champion, registry, trained, history, plant.process.policy, None)
    assert found is not None
    alone = [batch for batch in newest_six.batch_ids if batch[-1] in "13579"]
    assert (found.champion, found.n) == ("1", len(alone))
    assert found.n_failed == plant.labels().set_index("batch_id")["failed"][alone].sum()


RULES = ("purity_pct < 90", "residue_pct > 1")
PARAMETERS = """
[[parameter]]
name = "purity_pct"
label = "Purity"
unit = "%"
kind = "assay"
range = [0, 100]
excluded = true

[[parameter]]
name = "residue_pct"
label = "Residue"
unit = "%"
kind = "assay"
range = [0, 100]
excluded = true

[outcome]
compare_splits_on = ["purity_pct < 90", "residue_pct > 1"]
"""


@pytest.fixture
def of_rules(fresh) -> Plant:
    """The plant with two further questions; of the second nothing was ever measured."""
    batches = fresh.read("batches").head(110)
    at = [(BEGIN + pd.Timedelta(hours=30 * i + 60)).isoformat() for i in range(len(batches))]
    purity = pd.DataFrame({
        "batch_id": batches["batch_id"], "parameter": "purity_pct", "observed_at": at, "available_at": at,
        "value": [str(v) for v in np.where(np.arange(len(batches)) % 4 == 0, 85.0, 95.0)], "unit": "%",
    })  # fmt: skip
    fresh.replace("observations", pd.concat([fresh.read("observations"), purity], ignore_index=True))
    fresh.process.write_text(fresh.process.read_text(encoding="utf-8") + PARAMETERS, encoding="utf-8")
    plant = Plant(fresh.settings())
    ingest(HistoryFolder(fresh.history), plant.history, plant.process)
    return plant


def test_every_question_has_a_label_log_of_its_own_and_the_plants_comes_first(of_rules, history) -> None:
    logs = labels_by_rule(of_rules, replace(history, log=of_rules.labels()))
    assert list(logs) == ["batch failed", *RULES]
    pd.testing.assert_frame_equal(logs["batch failed"], of_rules.labels())
    low = logs["purity_pct < 90"]
    now = labels_as_of(low)
    assert (len(now), now["failed"].sum()) == (110, 28)
    assert (now["first_available_at"] == history.started[now.index] + 60 * HOUR).all()
    assert logs["residue_pct > 1"].empty


def test_ways_to_split_are_compared_on_every_question_that_has_results(of_rules, history) -> None:
    logs = labels_by_rule(of_rules, history)
    found = compare_splits(history.snapshots, history.batches, logs, groups=subject_groups(history.batches))
    table = found.set_index(["question", "split"])
    assert table.loc[("batch failed", "forward"), "auroc"] > 0.6
    assert table.loc[("purity_pct < 90", "random"), "n"] > 40
    assert table.loc[("residue_pct > 1", "forward"), "note"] == "no batch has an outcome and a snapshot before it"

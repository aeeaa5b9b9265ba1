"""The second score of a batch, and what changed since the first."""

from datetime import timedelta

import pandas as pd

from models.scoring.parquet import to_table
from models.scoring.score import Score
from pipelines.feature_tables import PlantContext, write_in_progress
from pipelines.plant import Plant
from pipelines.risk_scores import last_scored, publish_scores
from pipelines.score_table import KEY, TABLE, append_scores, read_scores
from pipelines.storage import Store
from tests.models.scoring.test_parquet import FULL as SCORE


def scored_at(plant: Plant, moment: pd.Timestamp) -> dict[str, Score]:
    write_in_progress(plant, PlantContext.of(plant), moment)
    return {score.batch_id: score for score in publish_scores(plant)[0]}


def test_a_table_of_version_1_is_appended_to_and_its_scores_stay_without_a_call(tmp_path) -> None:
    store, new = Store(tmp_path), ["call", "call_cause", "support", "support_causes"]
    former = SCORE.model_copy(update={"version": 1, "batch_id": "OLD", "decision": "undecided", "cause": "stale data"})
    store.append(TABLE, None, to_table([former]).drop_columns(new), key=KEY)
    assert [(score.version, score.call) for score in read_scores(store)] == [(1, None)]
    append_scores(store, [SCORE])
    append_scores(store, [SCORE])  # published once
    assert set(new) <= set(store.read(TABLE).column_names)
    found = {score.batch_id: score for score in read_scores(store)}
    assert found[SCORE.batch_id] == SCORE
    assert (found["OLD"].decision, found["OLD"].cause, found["OLD"].support_causes) == ("undecided", "stale data", None)


def test_the_first_score_of_a_plant_has_nothing_to_compare_with(ran) -> None:
    plant = Plant(ran.place.settings())
    snapshots = plant.features.read("in_progress_features").to_pandas()
    assert last_scored(plant, snapshots) is None
    assert {score.changes for score in read_scores(plant.scores)} == {None}


def test_the_next_score_says_what_changed_in_points_that_add_up(clone) -> None:
    plant = Plant(clone.settings())
    first = {score.batch_id: score for score in read_scores(plant.scores)}
    later = plant.newest_moment + timedelta(hours=3)
    second = scored_at(plant, later)
    assert set(second) & set(first)
    for batch in set(second) & set(first):
        found = second[batch].changes
        assert found is not None
        moved = 100 * (second[batch].failure_probability - first[batch].failure_probability)
        assert abs(sum(row.points for row in found.rows) - moved) < 0.1  # each is rounded to a hundredth
        assert found.sentence.startswith("Risk ")


def test_the_same_moment_again_still_compares_with_the_moment_before(clone) -> None:
    plant = Plant(clone.settings())
    later = plant.newest_moment + timedelta(hours=3)
    scored_at(plant, later)
    again = last_scored(plant, plant.features.read("in_progress_features").to_pandas())
    assert again is not None
    assert (again["as_of"] == plant.newest_moment).all()


def test_published_scores_are_stored_as_they_were_made(clone) -> None:
    plant = Plant(clone.settings())
    made = scored_at(plant, plant.newest_moment + timedelta(hours=3))
    stored = [score for score in read_scores(plant.scores) if score.as_of == next(iter(made.values())).as_of]
    assert {score.batch_id: score for score in stored} == made
    scored_at(plant, plant.newest_moment + timedelta(hours=3))
    kept = [score for score in read_scores(plant.scores) if score.as_of == stored[0].as_of]
    assert len(kept) == len(made)  # a record is published once

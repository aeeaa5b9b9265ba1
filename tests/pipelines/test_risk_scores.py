"""What a second score of a batch says of the first."""

import json

import pandas as pd

from pipelines.feature_tables import PlantContext, write_in_progress
from pipelines.plant import Plant
from pipelines.risk_scores import last_scored, publish_scores


def scored_at(plant: Plant, moment: pd.Timestamp) -> pd.DataFrame:
    write_in_progress(plant, PlantContext.of(plant), moment)
    return publish_scores(plant)[0].set_index("batch_id")


def test_the_first_score_of_a_plant_has_nothing_to_compare_with(ran) -> None:
    plant = Plant(ran.place.settings())
    snapshots = plant.features.read("in_progress_features").to_pandas()
    assert last_scored(plant, snapshots) is None
    stored = plant.scores.read("risk_scores").to_pandas()
    assert set(stored["changes"]) == {"null"}


def test_the_next_score_says_what_changed_in_points_that_add_up(clone) -> None:
    plant = Plant(clone.settings())
    first = plant.scores.read("risk_scores").to_pandas().set_index("batch_id")
    later = plant.newest_moment + pd.Timedelta(hours=3)
    second = scored_at(plant, later)
    assert set(second.index) & set(first.index)
    for batch in second.index.intersection(first.index):
        found = json.loads(second.loc[batch, "changes"])
        moved = 100 * (second.loc[batch, "failure_probability"] - first.loc[batch, "failure_probability"])
        assert abs(sum(row["points"] for row in found["rows"]) - moved) < 0.1  # each is rounded to a hundredth
        assert found["sentence"].startswith("Risk ")


def test_the_same_moment_again_still_compares_with_the_moment_before(clone) -> None:
    plant = Plant(clone.settings())
    later = plant.newest_moment + pd.Timedelta(hours=3)
    scored_at(plant, later)
    again = last_scored(plant, plant.features.read("in_progress_features").to_pandas())
    assert again is not None
    assert (again["as_of"] == plant.newest_moment).all()

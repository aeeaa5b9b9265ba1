from typing import cast

import pandas as pd
import pytest

from benchmarks.baselines import normal_range
from pipelines.plant import Plant
from tests.benchmarks.baselines.small import SmallPlant

GOOD = [(f"G{i}", "temperature_c", 1 + i % 2, 1 + i % 2, 36.5 + i / 10, 36.5 + i / 10) for i in range(10)]


def highest(*rows) -> pd.Series:
    plant = SmallPlant([*GOOD, *rows])
    train = pd.Series(False, pd.Index([row[0] for row in GOOD]))
    found = normal_range.scores(cast("Plant", plant), train, ("X",))
    return found.set_index("checkpoint_h")["score"]


def test_a_sensor_alarms_in_the_third_hour_outside_its_range() -> None:
    score = highest(("X", "temperature_c", 1, 1, 37.0, 37.0), ("X", "temperature_c", 2, 2, 38.2, 38.2))
    assert (score > normal_range.PLAIN_THRESHOLD).to_dict() == {3.0: False, 4.0: True, 5.0: True, 6.0: True}


def test_a_single_result_outside_alarms_when_it_is_available() -> None:
    assays = [(f"G{i}", "glucose_mm", 1, 1, 10.0 + i, 10.0 + i) for i in range(10)]
    score = highest(*assays, ("X", "glucose_mm", 2, 4, 2.0, 2.0))
    assert score.index[0] == 4.0
    assert score.iloc[0] == pytest.approx(
        1.0 / (5 / 1.349), rel=1e-4
    )  # 1 mmol/L below; held values have quartiles 12, 17

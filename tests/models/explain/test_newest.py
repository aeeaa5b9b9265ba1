import numpy as np
import pandas as pd

from features.dictionary import Feature
from models.explain.newest import Newest, newest, newest_of

NOON = pd.Timestamp("2026-03-01 12:00", tz="UTC")


def feature(name: str, unit: str) -> Feature:
    parameter, window, statistic = name.rsplit(".", 2)
    return Feature(name, parameter, parameter.title(), unit, window, statistic, name)


FEATURES = (
    feature("sugar.since_start.last", "g/L"),
    feature("sugar.since_start.age_h", "h"),
    feature("sugar.since_start.slope", "g/L/h"),
    feature("titre.lot.value", "TU"),
    feature("site.before_start.value", "category"),
    feature("lot.vector.now.n_used", ""),
)
ROWS = pd.DataFrame(
    {
        "as_of": [NOON, NOON],
        "sugar.since_start.last": [6.4, np.nan],
        "sugar.since_start.age_h": [4.0, np.nan],
        "titre.lot.value": [5e7, np.nan],
        "site.before_start.value": pd.array(["north", None], dtype="str"),
    }
)


def test_a_newest_value_has_its_time_and_a_value_from_before_the_start_has_none() -> None:
    known, unknown = newest(ROWS, FEATURES)
    assert known == {
        "sugar": Newest("Sugar", "g/L", 6.4, NOON - pd.Timedelta(hours=4), False),
        "titre": Newest("Titre", "TU", 5e7, None, True),
        "site": Newest("Site", "category", "north", None, True),
    }
    assert {name: (value.value, value.at) for name, value in unknown.items()} == dict.fromkeys(known, (None, None))


def test_a_category_is_no_number() -> None:
    (known, _) = newest(ROWS, FEATURES)
    assert (known["site"].number, known["sugar"].number) == (None, 6.4)


def test_a_mistyped_year_is_a_long_time_ago_and_no_error() -> None:
    at = newest_of(FEATURES[0], 6.4, 24.0 * 365_250, NOON.as_unit("us")).at
    assert at is not None and at.year == 1026

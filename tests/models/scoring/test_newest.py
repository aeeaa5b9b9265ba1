from datetime import timedelta

import numpy as np

from features.dictionary import Feature
from models.scoring.newest import Newest, NewestValues, utc
from models.scoring.rows import FeatureColumns

NOON_US = 1_772_366_400_000_000
NOON = utc(NOON_US)


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
COLUMNS = FeatureColumns(FEATURES, {4: ("north", "south")})
KNOWN, UNKNOWN = np.array([6.4, 4.0, 0.1, 5e7, 0.0, 3.0]), np.full(6, np.nan)


def test_a_newest_value_has_its_time_and_a_value_from_before_the_start_has_none() -> None:
    known, unknown = (NewestValues(COLUMNS).of(row, NOON_US) for row in (KNOWN, UNKNOWN))
    assert known == {
        "sugar": Newest("Sugar", "g/L", 6.4, NOON - timedelta(hours=4), False),
        "titre": Newest("Titre", "TU", 5e7, None, True),
        "site": Newest("Site", "category", "north", None, True),
    }
    assert {name: (value.value, value.at) for name, value in unknown.items()} == dict.fromkeys(known, (None, None))


def test_a_category_is_no_number() -> None:
    known = NewestValues(COLUMNS).of(KNOWN, NOON_US)
    assert (known["site"].number, known["sugar"].number) == (None, 6.4)


def test_only_the_parameters_named_are_given() -> None:
    assert list(NewestValues(COLUMNS).of(KNOWN, NOON_US, ["titre", "lot.vector"])) == ["titre"]


def test_a_mistyped_year_is_a_long_time_ago_and_no_error() -> None:
    at = NewestValues(COLUMNS).of(np.where(np.arange(6) == 1, 24.0 * 365_250, KNOWN), NOON_US)["sugar"].at
    assert at is not None and at.year == 1026

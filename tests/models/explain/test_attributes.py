import math
from dataclasses import replace

import pytest

from features.errors import ContractError
from models.explain.attributes import AttributeForecast

DOSE = AttributeForecast("dose", "Dose", "1e8 cells", 3.1, 1.8, 5.2, 2.0, None, 0.12, 1.4)


def test_a_forecast_says_expected_value_interval_limit_and_the_probability_of_missing_it() -> None:
    assert DOSE.sentence == "Dose expected at release 3.1e8 cells, 90 % 1.8-5.2, limit from 2; missed with 12 %"


@pytest.mark.parametrize(
    ("limits", "says"),
    [((None, 5.0), ", limit up to 5; missed with 12 %"), ((2.0, 6.0), ", limit 2 to 6; missed with 12 %"), ((None, None), "5.2")],
)  # fmt: skip
def test_limits_are_said_as_they_are_open(limits, says) -> None:
    assert replace(DOSE, lower_limit=limits[0], upper_limit=limits[1], sentence="").sentence.endswith(says)


@pytest.mark.parametrize("wrong", [{"expected": 6.0}, {"low": math.nan}, {"missing_probability": 1.2}])
def test_a_forecast_that_cannot_be_is_refused(wrong) -> None:
    with pytest.raises(ContractError, match="attribute dose"):
        replace(DOSE, **wrong)

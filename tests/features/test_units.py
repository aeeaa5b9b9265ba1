import numpy as np
import pytest

from features.units import UnitError, convert


@pytest.mark.parametrize(
    ("value", "one", "other", "expected"),
    [
        (5, "mmol/L", "umol/L", 5000),
        (90, "mg/dL", "g/L", 0.9),
        (1, "mM", "mmol/L", 1),
        (37, "degC", "K", 310.15),
        (98.6, "degF", "°C", 37),
        (24, "VVD", "1/h", 1),
        (2, "1e6 cells/mL", "cells/mL", 2e6),
        (3, "10^6 cells/mL", "cells/L", 3e9),
        (10, "CFU/m3", "CFU/L", 0.01),
        (20, "IU/mL", "IU/L", 20_000),
        (50, "%", "1", 0.5),
        (60, "rpm", "rotation/s", 1),
    ],
)
def test_values_convert_between_units_of_one_dimension(value, one, other, expected) -> None:
    assert convert([value], one, other) == pytest.approx([expected], rel=1e-12)


def test_equal_names_pass_even_if_no_library_knows_them_and_nan_stays_nan() -> None:
    assert convert([1.0, np.nan], "score", "score") == pytest.approx([1.0, np.nan], nan_ok=True)


@pytest.mark.parametrize(
    ("one", "other"),
    [("g/L", "mmol/L"), ("cells/mL", "CFU/mL"), ("cells/mL", "1/mL"), ("rpm", "1/min"), ("foo", "K"), ("5 mM", "mM")],
)
def test_everything_else_is_refused_with_both_names(one, other) -> None:
    with pytest.raises(UnitError, match="unit"):
        convert([1.0], one, other)

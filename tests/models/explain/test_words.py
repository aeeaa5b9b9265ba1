import pytest

from models.explain.words import duration, limits, number, percent, span, with_unit


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (7.9000001, "7.9"), (36.97, "37"), (1234.5678, "1235"), (999.6, "1000"), (240000, "240000"),
     (2e9, "2e+09"), (1e-5, "1e-05"), (-0.00123456, "-0.00123")],
)  # fmt: skip
def test_numbers_are_written_as_people_do(value, text) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("probability", "text"),
    [(0.0004, "below 0.1 %"), (0.004, "0.4 %"), (0.01, "1 %"), (0.314, "31 %"), (0.99, "99 %"), (0.995, "99.5 %"), (0.9999, "above 99.9 %")],
)  # fmt: skip
def test_a_probability_is_never_said_to_be_none_or_all(probability, text) -> None:
    assert percent(probability) == text


def test_an_interval_with_a_minus_is_not_written_with_a_dash() -> None:
    assert span(2.4, 3.6) == "2.4-3.6"
    assert span(-2.4, 3.6) == "-2.4 to 3.6"


def test_an_open_limit_is_said_from_its_other_side() -> None:
    assert [limits(i) for i in ((4.0, 6.0), (4.0, None), (None, 6.0), (None, None))] == [
        "4 to 6",
        "from 4",
        "up to 6",
        "",
    ]


def test_hours_are_said_in_minutes_hours_or_days() -> None:
    assert [duration(h) for h in (0.5, 1.0, 23.25, 71.0, 96.0)] == ["30 min", "1 h", "23.2 h", "71 h", "4 d"]


def test_a_unit_with_a_power_follows_its_number() -> None:
    assert with_unit("3.1", "1e8 cells") == "3.1e8 cells"
    assert with_unit("2e+09", "1e8 cells") == "2e+09 1e8 cells"
    assert with_unit("7.2", "1") == "7.2"

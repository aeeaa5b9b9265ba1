import math

from benchmarks.bench_model import too_good_to_be_true
from benchmarks.model.alarms import CEILING
from benchmarks.model.measures import Measure, together
from benchmarks.model.tables import tables


def of(value, **more) -> Measure:
    return Measure("S", "recall", value, n=100, n_failed=10, **more)


def test_plants_with_equal_counts_give_their_mean_with_lowest_and_highest_and_summed_counts() -> None:
    (found,) = together([[of(0.9)], [of(0.7)], [of(0.8)]])
    assert (found["value"], found["low"], found["high"], found["n"], found["n_failed"]) == (0.8, 0.7, 0.9, 300, 30)
    assert found["by_plant"] == [0.9, 0.7, 0.8]


def test_a_bound_is_asked_of_the_pooled_figure_and_the_note_says_on_how_many_plants_it_holds() -> None:
    (found,) = together([[of(0.9, bound=0.8)], [of(0.7, bound=0.8)], [of(0.8, bound=0.8)]])
    assert found["holds"] is True
    assert found["note"] == "holds on 2 of 3 plants"


def test_a_share_of_failures_is_that_of_all_failures_together() -> None:
    (found,) = together(
        [[Measure("S", "recall", 1.0, n=100, n_failed=30)], [Measure("S", "recall", 0.5, n=100, n_failed=10)]]
    )
    assert found["value"] == 0.875  # 35 of 40
    (good,) = together([[Measure("S", "good", 0.1, n=300, n_failed=0)], [Measure("S", "good", 0.2, n=100, n_failed=0)]])
    assert good["value"] == 0.125  # 50 of 400


def test_a_plant_without_the_figure_is_left_out_and_said() -> None:
    (found,) = together([[of(math.nan)], [of(0.6)], [of(0.8)]])
    assert (found["value"], found["by_plant"]) == (0.7, [None, 0.6, 0.8])
    assert found["note"] == "on 2 of 3 plants only"


def test_a_figure_that_no_plant_has_is_null() -> None:
    (found,) = together([[of(math.nan, bound=0.5)]])
    assert (found["value"], found["holds"]) == (None, None)


def test_a_measure_survives_json() -> None:
    measure = of(math.nan, bound=0.5, side="max", note="why")
    again = Measure.from_json(measure.to_json())
    assert math.isnan(again.value)
    assert again.to_json() == measure.to_json()


def test_a_bound_of_a_figure_that_could_not_be_taken_does_not_hold() -> None:
    assert of(math.nan, bound=1.0, side="max").holds is False


def test_one_plant_above_what_can_be_seen_fails_whatever_the_others() -> None:
    good, leaky = (Measure(CEILING, "over the most", v, bound=1.0, side="max") for v in (0.8, 1.1))
    assert too_good_to_be_true([[good], [good], [good]]) == []
    (line,) = too_good_to_be_true([[good], [leaky], [good]])
    assert "1.100, max 1" in line


def test_other_bounds_that_do_not_hold_are_no_leak() -> None:
    assert too_good_to_be_true([[of(0.1, bound=0.9)]]) == []


def test_the_page_shows_failures_bound_and_what_stands_beside() -> None:
    figures = together([[of(0.5, bound=0.8, against="theirs .4")], [of(0.7, bound=0.8)]])
    page = tables({"figures": figures, "date": "d", "commit": "c", "machine": "m"})
    assert "| recall | 0.600 | 0.500 to 0.700 | 20 of 200 | at least 0.8: **does not hold** | theirs .4; holds on 0 of 2 plants |" in page  # fmt: skip
    assert page.endswith("d, commit c, m.")

import numpy as np

from models.evaluation.calibration import calibration_by_band
from models.evaluation.reliability import reliability_by_band
from models.evaluation.subgroups import subgroup_table
from models.report import quality_charts
from tests.models.evaluation.frames import trail
from tests.models.report.test_alarm_charts import drawn

FAILED = {f"B{i:02d}" for i in range(30, 40)}
SCORES = trail(
    {f"B{i:02d}": [0.1, 0.01 + i / 50, (i % 5) / 6] for i in range(40)},
    FAILED,
    site_id={f"B{i:02d}": "A & B" if i % 3 else "C" for i in range(40)},
)
EXPECTED = np.linspace(1e8, 4e9, 40)
LAST = SCORES[SCORES["checkpoint_h"] == 24].assign(**{
    "dose.expected": EXPECTED, "dose.low": 0.5 * EXPECTED, "dose.high": 2 * EXPECTED, "dose.actual": 1.2 * EXPECTED,
})  # fmt: skip


def test_calibration_has_a_panel_per_band_with_its_failures() -> None:
    svg = drawn(
        quality_charts.calibration_by_band(reliability_by_band(SCORES), calibration_by_band(SCORES, resamples=20))
    )
    assert svg.count(">10 of 40 batches failed<") == 3
    assert "no slope" in svg  # at 0 h all probabilities are equal
    assert ">0 h<" in svg


def test_a_forest_shows_every_group_and_says_which_is_not_supported() -> None:
    table = subgroup_table(SCORES.assign(call="low"), by=("site_id",))
    svg = drawn(quality_charts.subgroups(table, names={"site_id": "Site"}))
    assert "All batches (40, 10 failed)" in svg
    assert "Site A &amp; B (26, 6 failed)" in svg
    assert svg.count("not supported") >= 4  # site C has 14 batches


def test_an_attribute_is_drawn_with_its_specification_limits_on_either_scale() -> None:
    svg = drawn(quality_charts.attribute(LAST, "dose", label="dose, cells", lower=2e8, log=True))
    assert "Expected dose, cells" in svg
    assert "specification limit" in svg
    assert "specification limit" not in drawn(quality_charts.attribute(LAST, "dose", label="dose, cells"))


def test_a_limit_outside_the_data_is_drawn_at_its_place_and_a_mistyped_value_is_counted() -> None:
    car = LAST.assign(**{f"dose.{part}": np.linspace(20, 60, 40) for part in ("expected", "low", "high", "actual")})
    car.loc[car.index[3], "dose.actual"] = 3700.0
    chart = quality_charts.attribute(car, "dose", label="CAR+, %", lower=15).to_dict()
    low, high = chart["layer"][0]["encoding"]["x"]["scale"]["domain"]
    assert low < 15 < 60 < high < 70
    assert not chart["layer"][0]["encoding"]["x"]["scale"].get("clamp")
    assert chart["title"]["text"] == "1 batch lies outside the axes"


def test_good_batches_are_thinned_and_failed_ones_kept() -> None:
    many = LAST.loc[LAST.index.repeat(50)].reset_index(drop=True)
    shown = quality_charts._thinned(many)
    assert shown["failed"].sum() == 10 * 50
    assert (~shown["failed"]).sum() == 500  # every third of 30 * 50


def test_ticks_of_a_logarithmic_axis_are_round() -> None:
    assert quality_charts._log_ticks(40, 1200) == [50, 100, 200, 500, 1000]

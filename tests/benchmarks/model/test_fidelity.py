import pandas as pd
import pytest

from benchmarks.model.fidelity import _chance, _mapped, _ranked, _share
from benchmarks.model.leak import without_exclusion


def test_only_what_raises_the_risk_is_a_reason_strongest_first() -> None:
    assert _ranked(pd.Series({"ph": 0.1, "do_pct": -2.0, "vcd": 0.5, "site": 0.0})) == ["vcd", "ph"]


def test_a_reason_is_right_by_name_among_the_first_k() -> None:
    named, right = [["a", "b", "c", "d"], ["x"], []], [("d", "c"), ("x",), ("y",)]
    assert _share(named, right, 1) == pytest.approx(1 / 3)
    assert _share(named, right, 3) == pytest.approx(2 / 3)


def test_the_mapping_takes_the_other_measurement_and_the_recorded_cause() -> None:
    assert _mapped("M10", ("ph", "co2_pct")) == ("ph", "co2_pct", "ph_offline")
    assert "lot.activation_reagent" in _mapped("M2", ("vcd_e6_ml",))
    assert _mapped("M7", ("temperature_c",)) == ("temperature_c",)


def test_chance_is_that_of_a_random_order() -> None:
    # 2 of 5 parameters are right: 2/5 first, 1 - (3*2*1)/(5*4*3) among three; one that the model lacks does not count
    assert _chance([("a", "b", "elsewhere")], list("abcde"), 1) == pytest.approx(0.4)
    assert _chance([("a", "b")], list("abcde"), 3) == pytest.approx(0.9)


def test_only_the_named_parameter_loses_its_exclusion() -> None:
    text = '[[parameter]]\nname = "a"\nexcluded = true\nnote = "x"\n\n[[parameter]]\nname = "b"\nexcluded = true\n'
    assert without_exclusion(text, "a") == text.replace("excluded = true\n", "", 1)
    with pytest.raises(ValueError, match="c is not excluded"):
        without_exclusion(text, "c")

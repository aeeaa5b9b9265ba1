import pandas as pd
import pytest

from models.evaluation.figures import by_checkpoint
from models.report import charts
from models.report.shap_plots import _axis_title, shap_plots
from models.report.style import to_png, to_svg
from tests.models.evaluation.test_figures import scores

TEST = scores(*[(f"B{i}", h, i % 3 == 0, (i % 7) / 10 + h / 1000) for i in range(20) for h in (0, 12)])


def test_precision_and_recall_by_hand() -> None:
    curve = charts.precision_recall_curve(
        scores(("A", 0, True, 0.9), ("B", 0, False, 0.8), ("C", 0, True, 0.7), ("D", 0, False, 0.1))
    )
    assert curve.to_numpy().tolist() == [[0.5, 1.0], [1.0, pytest.approx(2 / 3)]]


def test_every_chart_becomes_svg_and_png_without_a_network() -> None:
    table = pd.DataFrame({"parameter": ["a"], "label": ["A & <B>"], "mean_abs_points": [2.0]})
    checkpoints = by_checkpoint(TEST)
    assert checkpoints["auroc_low"].notna().all()
    for chart in (
        charts.auroc_by_checkpoint(checkpoints),
        charts.auroc_by_checkpoint(checkpoints.assign(auroc_low=float("nan"), auroc_high=float("nan"))),
        charts.precision_recall(TEST),
        charts.importance(table),
    ):
        assert to_svg(chart).startswith("<svg")
        assert "<B>" not in to_svg(chart)
        assert to_png(chart).startswith(b"\x89PNG")


def test_shap_plots_are_captioned_in_words(plant, trained) -> None:
    rows = plant.snapshots[plant.snapshots["checkpoint_h"] == 24]
    plots = shap_plots(trained.predictor, rows, dependence=99)
    assert next(iter(plots)) == "Beeswarm"
    assert "Dependence: Line, value" in plots  # a category
    assert "Dependence: Compression force, last" in plots
    assert all(image.png.startswith(b"\x89PNG") for image in plots.values())


def test_a_dependence_plot_names_the_unit_and_counts_what_it_does_not_draw(plant, trained) -> None:
    rows = plant.snapshots[plant.snapshots["checkpoint_h"] == 24].copy()
    name = "force_kn.since_start.last"
    rows.loc[rows.index[0], name] = 5e6
    rows.loc[rows.index[1:4], name] = float("nan")
    plots = shap_plots(trained.predictor, rows, dependence=99)
    assert plots["Dependence: Compression force, last"].note == (
        "1 of 120 batches lie outside the axis; 3 of 120 have no value: ticks at the left edge"
    )
    assert plots["Dependence: Line, value"].note == ""
    entry = next(f for f in trained.predictor.features if f.name == name)
    assert _axis_title(entry) == "Compression force, last, kN"

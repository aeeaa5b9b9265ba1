import json

from features.process import Cost
from models.evaluation.alarms import first_alarm_curve
from models.evaluation.costs import cost_curve
from models.evaluation.stability import no_call_causes, support_causes
from models.report import alarm_charts
from models.report.style import to_png, to_svg
from tests.models.evaluation.frames import trail

SCORES = trail(
    {f"B{i:02d}": [0.1, i / 40, (i % 5) / 5] for i in range(40)},
    {f"B{i:02d}" for i in range(30, 40)},
    call=["none yet", "low", "high"] * 40,
    call_cause=["both <classes> & more", "", ""] * 40,
    support=["limited", "none", "sufficient"] * 40,
    support_causes=["stale data", "outside; stale data", ""] * 40,
)
COST = Cost(failed_batch=1000, false_alarm=50, useful_lead_h=20)


def drawn(chart) -> str:
    """The SVG, which is drawn without a network and escapes what comes from outside."""
    assert "http" not in json.dumps({k: v for k, v in chart.to_dict().items() if k != "$schema"})
    assert to_png(chart).startswith(b"\x89PNG")
    svg = to_svg(chart)
    assert svg.startswith("<svg")
    return svg


def test_first_alarms_are_labelled_with_their_shares_and_counts() -> None:
    svg = drawn(alarm_charts.first_alarms(first_alarm_curve(SCORES, 0.7, resamples=20)))
    assert "% of 10 failed" in svg
    assert "% of 30 good" in svg


def test_a_test_without_failures_still_draws_its_good_batches() -> None:
    good = SCORES.assign(failed=False)
    assert "of 40 good" in drawn(alarm_charts.first_alarms(first_alarm_curve(good, 0.7, resamples=20)))


def test_net_cost_names_what_it_is_compared_with_and_the_threshold_in_use() -> None:
    curve = cost_curve(SCORES, COST, resamples=20)
    svg = drawn(alarm_charts.net_cost(curve, currency="EUR", threshold=0.5))
    for said in ("never alarming", "always alarming", "in use", "Saved per batch, EUR"):
        assert said in svg
    assert "in use" not in drawn(alarm_charts.net_cost(curve, currency="EUR"))


def test_scores_without_a_call_are_named_by_their_cause() -> None:
    svg = drawn(alarm_charts.no_call(no_call_causes(SCORES)))
    assert "both &lt;classes&gt; &amp; more" in svg
    called = no_call_causes(SCORES.assign(call="low", call_cause=""))
    assert "Every score has a call." in drawn(alarm_charts.no_call(called))


def test_weak_support_is_named_by_its_kind_and_its_first_cause() -> None:
    svg = drawn(alarm_charts.support(support_causes(SCORES)))
    assert "limited: stale data" in svg
    assert "none: outside" in svg
    known = support_causes(SCORES.assign(support="sufficient", support_causes=""))
    assert "Every score has sufficient support." in drawn(alarm_charts.support(known))

import math

import pandas as pd

from models.evaluation.missed import missed_failures
from models.scoring.call import TOO_EARLY
from tests.models.evaluation.frames import trail

PATHS = {
    "F0": [0.1, 0.9, 0.9],  # called high at 12 h
    "F1": [0.1, 0.5, 0.4],  # elevated at 12 h, never high
    "F2": [0.1, 0.1, 0.9],  # called high at 24 h, 6 h before its end
    "F3": [0.1, 0.1, 0.1],  # like every good batch
    "F4": [0.1, 0.3, 0.2],  # never with support
    "F5": [0.7, 0.2, 0.2],  # high before an alarm may come
    "G0": [0.1, 0.1, 0.2],
    "G1": [0.1, 0.6, 0.1],
    "G2": [0.1, 0.1, 0.1],
}


def called(p: float, h: float, batch_id: str) -> tuple[str, str]:
    if batch_id == "F5" and h == 0:
        return "none yet", TOO_EARLY
    return ("high" if p > 0.65 else "elevated" if p > 0.45 else "low"), ""


def scores() -> pd.DataFrame:
    frame = trail(PATHS, {f"F{i}" for i in range(6)}, end_h=dict.fromkeys(PATHS, 100.0) | {"F2": 30.0})
    keys = zip(frame["failure_probability"], frame["checkpoint_h"], frame["batch_id"], strict=True)
    calls = [called(*key) for key in keys]
    known = frame["batch_id"] != "F4"
    return frame.assign(
        call=[call for call, _ in calls], call_cause=[cause for _, cause in calls],
        support=["sufficient" if k else "none" for k in known], support_causes=["" if k else "unknown lot" for k in known],
    )  # fmt: skip


def test_each_missed_failure_says_what_was_called_when_and_why_not_high() -> None:
    table = missed_failures(scores(), useful_lead_h=12).set_index("batch_id")
    assert list(table.index) == ["F1", "F2", "F3", "F4", "F5"]
    assert table.loc["F1", ["first_elevated_h", "highest", "highest_h"]].tolist() == [12, 0.5, 12]
    assert math.isnan(table.loc["F1", "first_high_h"])
    assert table.loc["F1", "why"] == "below the threshold: 33 % of the good batches scored as high"
    assert table.loc["F2", "why"] == "called high 6 h before its end: later than the 12 h in which it could be saved"
    assert table.loc["F3", "why"] == "not observable as far as the data tell: 100 % of the good batches scored as high"
    assert table.loc["F4", "why"] == "no support at any score: unknown lot"
    assert table.loc["F5", "why"] == "its probability was high only before the hour from which an alarm may come"


def test_a_late_call_is_no_miss_where_every_hour_counts() -> None:
    assert "F2" not in missed_failures(scores())["batch_id"].tolist()


def test_a_score_after_the_end_of_a_batch_calls_nothing() -> None:
    late = scores().assign(end_at=lambda t: t["as_of"].min() - pd.Timedelta(hours=1))
    table = missed_failures(late)
    assert table["why"].unique().tolist() == ["no score before its end"]
    assert table["highest"].isna().all()

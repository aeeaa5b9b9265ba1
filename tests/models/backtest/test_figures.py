import numpy as np
import pandas as pd
import pytest
from scipy.stats import beta, binom

from features.errors import ContractError
from features.process import Cost, ProcessDefinition
from models.backtest.figures import field_table, in_blocks, side_by_side
from tests.models.plant import make_process, utc

H = pd.Timedelta(hours=1)
STARTED = pd.Series([utc("2026-01-01") + pd.Timedelta(days=i) for i in range(8)], index=[f"B{i}" for i in range(8)])


def process(**cost: float) -> ProcessDefinition:
    """Asks for one good batch in five called high, two in five called high or elevated."""
    found = make_process().model_dump()
    found["decision"] |= {"alarm_budget": 0.2, "watch_budget": 0.4}
    if cost:
        found["cost"] = Cost.model_validate(cost).model_dump()
    return ProcessDefinition.model_validate(found)


def scores(*batches: tuple[str, str, float]) -> pd.DataFrame:
    """Batches as (call at 12 h and at 24 h, support there, last probability); the third and sixth of eight fail at 30 h."""
    words = {"h": "high", "e": "elevated", "l": "low", "n": "none yet", "s": "sufficient", "i": "limited", "o": "none"}
    rows = []
    for i, (calls, support, p) in enumerate(batches):
        start = STARTED.iloc[i]
        for hours, call, known in zip((12.0, 24.0), calls, support, strict=True):
            rows.append({
                "batch_id": f"B{i}", "checkpoint_h": hours, "as_of": start + hours * H, "end_at": start + 30 * H,
                "failed": i in (2, 5), "failure_probability": p if hours == 24 else 0.5,
                "call": words[call], "support": words[known],
            })  # fmt: skip
    return pd.DataFrame(rows)


SCORES = scores(
    ("ll", "ss", 0.1), ("he", "si", 0.2), ("eh", "ss", 0.9), ("el", "ii", 0.1),
    ("ln", "ss", 0.3), ("el", "so", 0.4), ("ll", "ss", 0.1), ("nl", "ss", 0.1),
)  # fmt: skip


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return field_table(SCORES, STARTED, process(), blocks=2).set_index("block")


def test_blocks_are_equally_many_batches_in_order_of_start() -> None:
    number = in_blocks(SCORES, STARTED, 3)
    assert number.tolist() == [1] * 6 + [2] * 6 + [3] * 4
    turned = SCORES[::-1]
    assert in_blocks(turned, STARTED, 3).tolist() == number.tolist()[::-1]
    assert set(in_blocks(SCORES[SCORES["batch_id"] <= "B1"], STARTED, 5)) == {1, 2}  # no block without a batch


def test_the_first_row_is_all_of_them_and_the_blocks_add_up(table) -> None:
    assert table.index.tolist() == ["all", "1", "2"]
    for name in (
        "n_batches",
        "n_failed",
        "n_good",
        "n_scores",
        "high_alarmed",
        "watched_alarmed",
        "high_n_found",
        "observed",
    ):
        assert table.loc["all", name] == table.loc["1", name] + table.loc["2", name], name
    assert table["n_batches"].tolist() == [8, 4, 4]
    assert table["n_failed"].tolist() == [2, 1, 1]
    assert table["n_scores"].tolist() == [16, 8, 8]
    assert table.loc["1", "from"] == STARTED["B0"]
    assert table.loc["1", "to"] == STARTED["B3"]


def test_the_realised_share_counts_good_batches_ever_called_so(table) -> None:
    assert (table.loc["all", "high_alarmed"], table.loc["all", "n_good"]) == (1, 6)  # B1, whose call went back
    assert table.loc["all", "high_realised"] == pytest.approx(1 / 6)
    assert table.loc["all", "watched_alarmed"] == 2  # B1 and B3
    low, high = beta.ppf(0.025, 1, 6), beta.ppf(0.975, 2, 5)
    assert (table.loc["all", "high_realised_low"], table.loc["all", "high_realised_high"]) == pytest.approx((low, high))


def test_a_count_is_as_asked_inside_the_exact_binomial_range(table) -> None:
    assert table.loc["all", ["high_asked", "watched_asked"]].tolist() == [0.2, 0.4]
    assert table["high_as_asked"].all()
    many = pd.concat([SCORES.assign(batch_id=SCORES["batch_id"] + f"-{i}") for i in range(20)], ignore_index=True)
    started = many.groupby("batch_id")["as_of"].min() - 12 * H
    for asked, as_asked in ((0.2, True), (0.1, False), (0.3, False)):  # 20 of 120
        definition = process().model_copy(
            update={"decision": process().decision.model_copy(update={"alarm_budget": asked})}
        )
        (row,) = field_table(many, started, definition).head(1).to_dict("records")
        low, high = binom.interval(0.95, 120, asked)
        assert row["high_as_asked"] == as_asked == (low <= 20 <= high)


def test_failures_found_and_how_long_before_their_end(table) -> None:
    assert table.loc["all", "high_n_found"] == 1  # B2, at 24 h of 30
    assert table.loc["all", "high_found"] == 0.5
    assert table.loc["all", "high_lead_h"] == 6
    assert table.loc["all", "watched_n_found"] == 2
    assert table.loc["all", "watched_lead_h"] == 18  # both elevated at 12 h
    assert table.loc["2", "high_n_found"] == 0
    assert np.isnan(table.loc["2", "high_lead_h"])
    assert table.loc["all", "high_found_low"] == pytest.approx(beta.ppf(0.025, 1, 2))


def test_stated_failures_are_the_sum_of_the_last_probabilities(table) -> None:
    assert table.loc["all", "stated"] == pytest.approx(2.2)
    assert table.loc["all", "observed"] == 2
    assert table.loc["1", "stated"] == pytest.approx(1.3)


def test_the_order_of_batches_is_read_at_their_last_score(table) -> None:
    assert table.loc["all", "auroc"] == 1.0  # 0.9 and 0.4 above all others
    assert np.isfinite(table.loc["all", "ece"])
    assert table.loc["all", "ece_floor"] > 0


def test_shares_of_scores_with_little_support_or_without_a_call(table) -> None:
    assert table.loc["all", "limited"] == 3 / 16
    assert table.loc["all", "no_support"] == 1 / 16
    assert table.loc["all", "no_call"] == 2 / 16


def test_costs_stand_where_the_process_has_them(table) -> None:
    assert "cost_per_batch" not in table
    costs = {"failed_batch": 1000, "false_alarm": 50, "useful_lead_h": 12}
    row = field_table(SCORES, STARTED, process(**costs)).iloc[0]
    assert row["never_per_batch"] == pytest.approx(2 * 1000 / 8)
    assert 0 < row["cost_per_batch"] < row["never_per_batch"] + 50


def test_a_block_without_failures_or_without_good_batches_has_no_share_of_them() -> None:
    good = field_table(SCORES[~SCORES["failed"]], STARTED, process(), blocks=1).iloc[0]
    assert np.isnan(good["high_found"])
    assert np.isnan(good["auroc"])
    bad = field_table(SCORES[SCORES["failed"]], STARTED, process(), blocks=1).iloc[0]
    assert np.isnan(bad["high_realised"])
    assert not bad["high_alarmed"]


def test_a_replay_beside_itself_differs_in_nothing() -> None:
    found = side_by_side(SCORES, SCORES)
    assert found["figure"].tolist() == [
        "auroc", "failures called high", "failures called high or elevated", "good batches called high",
        "good batches called high or elevated", "stated failures",
    ]  # fmt: skip
    assert (found["ours"] == found["theirs"]).all()
    assert (found[["difference", "low", "high"]] == 0).all(axis=None)
    assert found[["n", "n_failed", "left_out"]].drop_duplicates().to_numpy().tolist() == [[8, 2, 0]]


def test_two_replays_are_compared_on_the_batches_of_both_worked_by_hand() -> None:
    theirs = SCORES[SCORES["batch_id"] != "B7"].assign(call="low")
    ours = SCORES[SCORES["batch_id"] != "B0"]
    found = side_by_side(ours, theirs).set_index("figure")
    assert set(found["left_out"]) == {2}
    assert set(found["n"]) == {6}
    assert set(found["n_failed"]) == {2}
    assert found.loc["failures called high", ["ours", "theirs", "difference"]].tolist() == [0.5, 0, 0.5]
    assert found.loc["good batches called high or elevated", "difference"] == 2 / 4
    assert found.loc["stated failures", "ours"] == pytest.approx(2.0)
    assert (found["low"] <= found["difference"]).all()
    assert (found["difference"] <= found["high"]).all()


def test_replays_without_a_common_batch_cannot_be_compared() -> None:
    early, late = (SCORES[SCORES["batch_id"].isin(ids)] for ids in (["B0", "B1"], ["B2"]))
    with pytest.raises(ContractError, match="the two replays have no batch in common; expected overlapping --from"):
        side_by_side(early, late)


def test_a_common_part_without_failures_has_no_share_of_them_and_warns_of_nothing() -> None:
    found = side_by_side(*[SCORES[~SCORES["failed"]]] * 2).set_index("figure")
    assert np.isnan(found.loc["failures called high", "ours"])
    assert found.loc["good batches called high", "difference"] == 0

from models.scoring.score import OF_VERSION
from serving.api.examples import HISTORY, REVIEW, SCORE
from serving.audit.chain import Entry
from serving.audit.readable_copy import readable
from serving.ids import microseconds

SHOWN = HISTORY["entries"][0]
ENTRY = Entry(
    **{name: SHOWN[name] for name in ("seq", "who", "role", "action", "why", "request_id", "previous", "hash")},
    at_us=microseconds(SHOWN["at"]), object=f"score:{SCORE['score_id']}", old=None, new=None,
)  # fmt: skip
EXPECTED_LINES = [
    "Call and support",
    "  call: high",
    "  support: limited, stale data",
    "  decision: high",
    "  probability of failure: 43.7 % (base 6.2 %)",
    "  interval: 28.0 % to 61.0 %",
    "  modes: M6 31.0 %",
    f"  {SCORE['reasons'][0]['sentence']} [value 2.1 mmol/L; normal 3 to 25; +21.4 points]",
    "  missing: cd25_pct",
    "  stale: vcd_e6_ml (31.5 h)",
    "  assays pending: cd25_pct, sterility_growth",
    "  cart version 3, released, process cart 2",
]


def test_a_record_is_told_line_by_line_with_values_and_normal_ranges() -> None:
    text = readable(SCORE | {"reviews": [REVIEW]}, [ENTRY])
    lines = text.splitlines()
    assert [line for line in EXPECTED_LINES if line not in lines] == []
    assert any(line.startswith(f"  {SHOWN['seq']} {SHOWN['at']} {SHOWN['who']} (mes) score [") for line in lines)
    assert any("Anna Weiss (user:anna), review, signed with id and login" in line for line in lines)


def test_what_is_not_there_is_said_to_be_none() -> None:
    bare = {
        name: SCORE[name]
        for name in ("elapsed_h", "failure_probability", "base_probability", "model", "process_version")
    }
    text = readable(bare | {"reasons": [], "missing": [], "stale": {}}, [])
    assert "Reasons\n  none\n" in text
    assert "Reasons\n  not asked for\n" in readable(bare | {"reasons": None, "missing": [], "stale": {}}, [])
    assert "Reviews\n  none\n" in text
    assert "decision: none" in text


def test_a_record_of_version_1_says_its_decision_and_no_call() -> None:
    former = {name: value for name, value in SCORE.items() if name not in OF_VERSION}
    text = readable(former | {"version": 1, "decision": "undecided", "cause": "stale data"}, [])
    assert "\nDecision\n  decision: undecided\n  cause: stale data\n" in text
    assert "call" not in text

import json

import pytest

from benchmarks.bench_results import BEGIN, DATA_SETS, END, figures_of, write_table

TABLET = DATA_SETS[0]


def result(auroc: float) -> dict:
    row = {"checkpoint_h": 136.0, "n": 176, "n_failed": 27, "auroc": auroc, "auroc_low": 0.767, "auroc_high": 0.946}
    claims = {"auroc": 0.96, "auroc_low": 0.9, "auroc_high": 0.98, "n": 703, "n_failed": 84}
    return {
        "data": {"batches": 703, "rows_in": 4876934},
        "test": {"ece": 0.129, "ece_floor": 0.025, "n_batches": 176, "n_failed": 27},
        "by_checkpoint": [row | {"checkpoint_h": 0.0, "auroc": 0.5}, row],
        "random_split": {"auroc": 0.96, "questions": [{"question": "solvent > 0.1", "random": claims, "forward": claims | {"auroc": 0.83}}]},
    }  # fmt: skip


@pytest.mark.parametrize(("auroc", "holds"), [(0.88, True), (0.865, False)])
def test_only_the_last_checkpoint_has_the_bound_and_a_broken_one_says_why(auroc, holds) -> None:
    first, last, *others = figures_of(TABLET, result(auroc), 70.2)
    assert first["holds"] is None
    assert (last["bound"], last["side"], last["holds"]) == (0.87, "min", holds)
    assert ("interval" in last["note"]) is not holds
    assert all(f["bound"] is None for f in others)


def test_a_bound_above_the_interval_is_missed_by_more_than_chance() -> None:
    low = result(0.6)
    low["by_checkpoint"][-1] |= {"auroc_high": 0.8}
    assert figures_of(TABLET, low, 70.2)[1]["note"] == "below the bound by more than chance"


def test_every_figure_of_a_test_has_its_failures_and_interval() -> None:
    for f in figures_of(TABLET, result(0.865), 70.2):
        assert f["unit"] == "s" or f["n_failed"] > 0
        assert f["unit"] != "AUROC" or f["low"] < f["high"]


def test_the_random_split_is_marked_as_a_warning() -> None:
    random, forward = (f for f in figures_of(TABLET, result(0.865), 70.2) if " split, " in f["name"])
    assert (random["value"], forward["value"]) == (0.96, 0.83)
    assert random["note"].startswith("warning figure")


def test_the_table_stands_between_its_markers_and_the_text_around_stays(tmp_path) -> None:
    page = tmp_path / "results.md"
    page.write_text(f"before\n{BEGIN}\nstale table\n{END}\nafter\n")
    record = {
        "figures": json.loads(json.dumps(figures_of(TABLET, result(0.865), 70.2))),
        "date": "2026-01-02",
        "commit": "abc",
        "machine": "M",
    }
    write_table(page, record)
    write_table(page, record)
    text = page.read_text()
    assert text.startswith(f"before\n{BEGIN}\n### Tablet, yield below 97 %")
    assert text.endswith(f"2026-01-02, commit abc, M.\n{END}\nafter\n")
    assert "stale table" not in text
    assert "| sealed test at 136 h | 0.865 | 0.767 to 0.946 | 27 of 176 | 0.87, does not hold |" in text
    assert "| whole run | 70 s |  | 703 |" in text


def test_a_page_without_markers_is_left_alone(tmp_path) -> None:
    page = tmp_path / "results.md"
    page.write_text("mine")
    with pytest.raises(SystemExit, match="markers"):
        write_table(page, {"figures": []})
    assert page.read_text() == "mine"

import shutil
from collections.abc import Callable

import pandas as pd
import pytest
from typer.testing import Result

from pipelines.plant import Plant
from pipelines.storage import Store
from tests.pipelines.small_plant import Place

Spoil = Callable[[Place], object]
TABLES = ("batches", "observations", "dispositions", "materials")


def edit(table: str, row: int, **values: str) -> Spoil:
    def change(place: Place) -> None:
        frame = place.read(table)
        for name, value in values.items():
            frame.loc[row, name] = value
        place.replace(table, frame)

    return change


def without(table: str, column: str) -> Spoil:
    return lambda place: place.replace(table, place.read(table).drop(columns=column))


def contradicting(place) -> None:
    frame = place.read("observations")
    place.replace("observations", pd.concat([frame, frame.iloc[[0]].assign(value="12.5")]))


def emptied(place) -> None:
    for path in place.history.iterdir():
        path.unlink()


def in_another_encoding(place) -> None:
    with (place.history / "observations.csv").open("ab") as file:
        file.write(b"B119,temperature_c,2025-06-01T00:00Z,\xff\n")


def misspelt(place) -> None:
    text = place.process.read_text()
    place.process.write_text(text.replace("planned_duration_h", "planned_duraton_h"))


CASES = {
    "missing column": (without("observations", "observed_at"), ["observations.csv: column 'observed_at' is missing"]),
    "empty folder": (emptied, ["history: the folder is empty"]),
    "missing folder": (lambda place: shutil.rmtree(place.history), ["history: no such folder"]),
    "text that is not UTF-8": (
        in_another_encoding,
        ["observations.csv: cannot be read as CSV", "Export the file again."],
    ),
    "unknown key": (misspelt, ["small.toml:5: unknown key 'planned_duraton_h'; did you mean 'planned_duration_h'?"]),
    "definition is a folder": (
        lambda place: (place.process.unlink(), place.process.mkdir()),
        ["small.toml: Is a directory"],
    ),
    "missing definition": (lambda place: place.process.unlink(), ["small.toml: no such file"]),
}
RULES = {
    "unknown parameter": (
        "unknown_parameter (1x): observations.csv row 4 ",
        "'temprature_c'",
    ),
    "naive time": ("naive_time (1x): observations.csv row 5 ", "offset"),
    "unit that does not match": ("unit_mismatch (1x): observations.csv row 6 ", "'kg'"),
    "unknown outcome": ("not_allowed (1x): dispositions.csv row 3 ", "released_oos"),
    "duplicate key with other content": ("duplicate_key (2x): observations.csv row 1 ", "other content"),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_one_line_and_the_last_good_version_stands(case, clone, run) -> None:
    spoil, expected = CASES[case]
    before = versions(clone)
    spoil(clone)
    result = run("run", *clone.options())
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith("batchguard: ")
    for part in expected:
        assert part in result.stderr
    assert versions(clone) == before


def versions(place: Place) -> dict[str, int]:
    kept = Store(place.data_dir / "history" / "small")
    return {name: kept.version(name) for name in TABLES}


@pytest.fixture(scope="module")
def broken(ran, tmp_path_factory, run) -> tuple[Place, dict[str, int], Result]:
    """One run over rows that break five rules."""
    place = Place(tmp_path_factory.mktemp("broken") / "plant")
    shutil.copytree(ran.place.root, place.root, symlinks=True)
    for spoil in (
        edit("observations", 3, parameter="temprature_c"),
        edit("observations", 4, observed_at="2025-01-03T10:30:00"),
        edit("observations", 5, unit="kg"),
        edit("dispositions", 2, outcome="fine"),
        contradicting,
    ):
        spoil(place)
    limit = ("--max-quarantined", "0")
    return place, versions(place), run("run", *place.options(), "--as-of", "history", *limit)


@pytest.mark.parametrize("rule", RULES)
def test_a_broken_rule_has_one_line_with_its_first_row(rule, broken) -> None:
    _, _, result = broken
    assert result.exit_code == 1
    begin, part = RULES[rule]
    (line,) = [line for line in result.stderr.splitlines() if line.strip().startswith(begin)]
    assert part in line


def test_rows_that_break_a_rule_stop_the_run_and_change_no_table(broken) -> None:
    place, before, result = broken
    lines = result.stderr.splitlines()
    assert lines[0] == "batchguard: 6 rows break the contract, 0 are accepted"
    assert len(lines) == 1 + len(RULES) + 1
    assert lines[-1].startswith("Mend the source")
    assert "max_quarantined = 6 in [source], or --max-quarantined 6" in lines[-1]
    assert versions(place) == before
    assert Plant(place.settings()).history.rows("quarantine") == 6


def test_one_broken_row_stops_nobody_and_is_a_finding(clone, run) -> None:
    edit("observations", 3, parameter="temprature_c")(clone)
    result = run("score", *clone.options(), "--as-of", "history")
    assert result.exit_code == 0
    assert "1 broken rows quarantined" in " ".join(result.stdout.split())
    assert "unknown_parameter (1x): observations.csv row 4 (batch_id 'B000'" in result.stdout
    assert "batches in progress as of" in result.stdout
    aside = Plant(clone.settings()).history.read("quarantine").to_pandas()
    assert aside["code"].tolist() == ["unknown_parameter"]
    assert "temprature_c" in aside["content"][0]


def test_without_failures_nothing_is_trained(clone, run) -> None:
    clone.replace("dispositions", clone.read("dispositions").assign(outcome="released"))
    result = run("run", *clone.options())
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert "small: 0 of 117 batches with an outcome failed" in result.stderr
    assert "failed" in result.stderr


def test_outcomes_that_no_moment_divides_are_refused_in_one_line_with_a_remedy(clone, run) -> None:
    decided = clone.read("dispositions")
    last = "2025-06-01T07:00:00+00:00"  # every failure is decided when the last batch has started
    failed = decided["outcome"] == "rejected"
    clone.replace("dispositions", decided.assign(decided_at=decided["decided_at"].mask(failed, last)))
    result = run("run", *clone.options(), "--as-of", "history")
    assert result.exit_code == 1
    [line] = result.stderr.splitlines()
    assert line.startswith("batchguard: ")


@pytest.mark.parametrize("when", ["2025-05-01T08:00:00", "soon"])
def test_an_as_of_time_without_offset_stops_before_anything_is_made(when, fresh, run) -> None:
    result = run("run", *fresh.options(), "--as-of", when)
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert f"as-of time '{when}' cannot be used" in result.stderr
    assert not fresh.data_dir.exists()


def test_a_result_that_cannot_be_written_stops_before_anything_is_made(fresh, run) -> None:
    target = fresh.process / "out.json"  # a file is no folder
    result = run("run", *fresh.options(), "--json", str(target))
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert "small.toml" in result.stderr
    assert not fresh.data_dir.exists()


@pytest.mark.parametrize(
    "arguments", [["run"], ["run", "--proces", "x"], ["fly"], ["score", "--max-quarantined", "-1"]]
)
def test_wrong_usage_exits_with_two(arguments, run) -> None:
    assert run(*arguments).exit_code == 2

import re
from pathlib import Path

import pandas as pd
import pytest

from features.checks import check_rows
from features.contracts import BATCHES, OBSERVATIONS
from features.errors import SourceError
from features.process import ProcessDefinition, load_process
from pipelines.sources.convert.history import write_history
from pipelines.sources.draft import draft

T0 = pd.Timestamp("2024-01-01T00:00Z")
H = pd.Timedelta(hours=1)


def history() -> dict[str, pd.DataFrame]:
    ids = ["B1", "B2", "B3", "B4"]
    starts = {b: T0 + 24 * i * H for i, b in enumerate(ids)}
    rows = [(b, "temp_c", starts[b] + 0.5 * k * H, 36.0 + 0.01 * k, "degC") for b in ids for k in range(1, 41)]
    rows += [
        (b, "glucose", starts[b] + k * H, float(k), unit) for b in ids for k, unit in ((5, "mmol/L"), (15, "mmol/L"))
    ]
    rows += [(b, "glucose", starts[b] + 18 * H, 900.0, "mg/L") for b in ids[:1]]
    rows += [(b, "yield_pct", starts[b] + 24 * H, 95.0 + i, "%") for i, b in enumerate(ids)]
    observations = pd.DataFrame(rows, columns=["batch_id", "parameter", "observed_at", "value", "unit"])
    return {
        "batches": pd.DataFrame(
            {
                "batch_id": ids,
                "started_at": list(starts.values()),
                "planned_end_at": [t + 20 * H for t in starts.values()],
                "origin": "real",
                "age_years": [40.0, 50.0, 60.0, 70.0],
                "disease": ["ALL", "ALL", "DLBCL", "DLBCL"],
            }
        ),
        "observations": observations,
        "lot_results": pd.DataFrame(
            {
                "lot_id": ["L1", "L2"],
                "material": "media",
                "parameter": "ph",
                "observed_at": [T0, T0],
                "value": [7.1, 7.3],
            }
        ),
        "dispositions": pd.DataFrame(
            {
                "batch_id": ["B1", "B2", "B2", "B3"],
                "revision": [0, 0, 1, 0],
                "outcome": ["released", "released", "rejected", "released_oos"],
                "decided_at": [T0 + 100 * H] * 4,
            }
        ),
    }


def loaded(text, tmp_path) -> ProcessDefinition:
    path = tmp_path / "draft.toml"
    path.write_text(text, encoding="utf-8")
    return load_process(path)


def test_a_draft_loads_with_the_kinds_units_and_ranges_of_the_data(tmp_path) -> None:
    process = loaded(draft(history(), process_id="mine"), tmp_path)
    assert {p.name: p.kind for p in process.parameter} == {
        "age_years": "attribute", "disease": "attribute", "ph": "assay", "glucose": "assay", "temp_c": "sensor",
        "yield_pct": "assay",
    }  # fmt: skip
    assert process["disease"].is_category
    assert process["temp_c"].unit == "degC"
    assert process["glucose"].unit == "mmol/L"  # the most frequent
    assert process["temp_c"].normal == (36.01, 36.4)
    assert process["age_years"].normal == (40.3, 69.7)  # 1 and 99 % between 40 and 70


def test_duration_and_checkpoints_follow_from_the_data(tmp_path) -> None:
    process = loaded(draft(history()), tmp_path)
    assert process.process.planned_duration_h == 20
    assert process.checkpoints_h == (0, 5, 10, 15)


def test_without_a_planned_end_the_last_repeated_reading_gives_the_duration_not_a_result_known_afterwards(
    tmp_path,
) -> None:
    tables = history()
    tables["batches"] = tables["batches"].drop(columns="planned_end_at")
    head = loaded(draft(tables), tmp_path).process
    assert head.planned_duration_h == 20  # temp_c is read every half hour up to 20 h, yield_pct once at 24 h
    late = (
        tables["observations"].query("parameter == 'temp_c'").assign(observed_at=lambda f: f["observed_at"] + 200 * H)
    )  # after the decision at 100 h
    tables["observations"] = pd.concat([tables["observations"], late])
    assert loaded(draft(tables), tmp_path).process.planned_duration_h == 20


def test_only_results_that_come_once_give_no_duration() -> None:
    tables = history()
    tables["batches"] = tables["batches"].drop(columns="planned_end_at")
    tables["observations"] = tables["observations"].query("parameter == 'yield_pct'")
    assert "planned_duration_h = 1  # check: not in the data" in draft(tables)


def test_a_short_process_gets_a_finer_grain(tmp_path) -> None:
    tables = history()
    tables["batches"]["planned_end_at"] = tables["batches"]["started_at"] + 2 * H
    head = loaded(draft(tables), tmp_path).process
    assert (head.bin_h, head.checkpoints_h) == (0.25, (0, 0.5, 1, 1.5))


def test_what_is_known_only_after_the_planned_end_is_proposed_as_excluded(tmp_path) -> None:
    process = loaded(draft(history()), tmp_path)
    assert [p.name for p in process.parameter if p.excluded] == ["yield_pct"]


def test_remarks_say_what_a_person_has_to_decide() -> None:
    text = draft(history())
    assert "# check: units seen: mg/L, mmol/L" in text
    assert "# check: no unit was reported" in text  # ph
    assert "4 batches, 40 readings per batch (median), every 0.5 h" in text
    # the newest revision counts: B2 was rejected later
    assert "# check: dispositions found: 1 released, 1 released_oos, 1 rejected; 1 of 4 batches have none" in text
    assert "none of them failed" not in text


def test_a_history_without_failures_gets_a_remark_about_rules() -> None:
    tables = history()
    tables["dispositions"] = tables["dispositions"].query("outcome == 'released'")
    assert 'label_rule = "yield_pct < 97"' in draft(tables)


def test_a_name_in_two_tables_is_one_parameter(tmp_path) -> None:
    tables = history()
    tables["lot_results"] = tables["lot_results"].assign(parameter="glucose")
    text = draft(tables)
    assert [p.name for p in loaded(text, tmp_path).parameter].count("glucose") == 1
    assert "# check: also found as assay" in text


def test_a_folder_gives_the_same_text_as_its_tables(tmp_path) -> None:
    write_history(history(), tmp_path / "history", [])
    from_folder = draft(tmp_path / "history", process_id="process")
    assert loaded(from_folder, tmp_path) == loaded(draft(history()), tmp_path)


def test_a_folder_of_csv_files_is_read(tmp_path) -> None:
    for name in ("batches", "observations"):
        history()[name].to_csv(tmp_path / f"{name}.csv", index=False)
    assert loaded(draft(tmp_path), tmp_path)["temp_c"].kind == "sensor"


def test_a_time_without_an_offset_is_refused(tmp_path) -> None:
    (tmp_path / "batches.csv").write_text("batch_id,started_at,origin\nB1,2024-01-01T00:00:00,real\n")
    with pytest.raises(
        SourceError, match="started_at '2024-01-01T00:00:00' has no offset from UTC; expected ISO 8601 with offset"
    ):
        draft(tmp_path)


def test_an_empty_folder_is_refused(tmp_path) -> None:
    with pytest.raises(SourceError, match="the folder is empty"):
        draft(tmp_path)


def test_a_history_without_batches_is_refused() -> None:
    with pytest.raises(SourceError, match="no batches"):
        draft({"observations": history()["observations"]})


def test_a_history_without_parameters_is_refused() -> None:
    with pytest.raises(SourceError, match="no parameters"):
        draft({"batches": history()["batches"][["batch_id", "started_at", "origin"]]})


def test_names_of_a_historian_become_aliases_that_a_run_reads(tmp_path) -> None:
    tables = history()
    names = {"temp_c": "Temp [C]", "glucose": "GlucoseConc", "yield_pct": "Yield %"}
    tables["observations"] = tables["observations"].replace({"parameter": names})
    tables["batches"] = tables["batches"].rename(columns={"age_years": "Donor Age", "disease": "pH"})
    process = loaded(draft(tables), tmp_path)
    assert {p.name: p.aliases for p in process.parameter if p.aliases} == {
        "donor_age": ("Donor Age",), "ph_2": ("pH",), "glucose_conc": ("GlucoseConc",), "temp_c": ("Temp [C]",),
        "yield_pct": ("Yield %",),
    }  # fmt: skip
    observations = check_rows(tables["observations"], OBSERVATIONS, process, source="o")
    assert sorted(observations.kept["parameter"].unique()) == ["glucose_conc", "temp_c", "yield_pct"]
    batches = check_rows(tables["batches"], BATCHES, process, source="b")
    assert batches.kept["donor_age"].tolist() == [40, 50, 60, 70]


def test_two_names_of_one_slug_stay_two_parameters(tmp_path) -> None:
    tables = history()
    tables["observations"] = tables["observations"].replace({"parameter": {"yield_pct": "temp-c"}})
    aliases = {p.name: p.aliases for p in loaded(draft(tables), tmp_path).parameter}
    assert (aliases["temp_c"], aliases["temp_c_2"]) == ((), ("temp-c",))


@pytest.mark.parametrize(
    ("folder", "expected"),
    [("Perfusion Line 2", "perfusion_line_2"), ("7up/history", "p_7up"), ("mAb/data", "m_ab")],
)
def test_the_draft_is_named_after_its_folder(tmp_path, folder, expected) -> None:
    (tmp_path / folder).parent.mkdir(exist_ok=True)
    write_history(history(), tmp_path / folder, [])
    assert loaded(draft(tmp_path / folder), tmp_path).id == expected


def test_there_is_at_most_one_question_about_a_parameter() -> None:
    parameters = draft(history()).split("[[parameter]]")[1:]
    assert max(block.split("[outcome]")[0].count("check:") for block in parameters) == 1


def test_what_a_run_would_refuse_is_named_and_counts_for_nothing(tmp_path) -> None:
    tables = history()
    wrong = tables["observations"].query("parameter == 'temp_c'").iloc[:2].assign(value=[1e9, 5.0])
    wrong["observed_at"] = ["2024-01-01T03:07:00", T0 + 9_000 * H]  # no offset; a year away
    tables["observations"] = pd.concat([tables["observations"].astype({"observed_at": "object"}), wrong])
    text = draft(tables)
    assert "# 'batchguard run' will refuse 3 of the 175 rows of observations, such as:" in text
    for code in ("naive_time", "far_from_its_batch", "unit_mismatch"):  # the last: mg/L of glucose in mmol/L
        assert f"#   {code}: observations.csv row " in text
    assert loaded(text, tmp_path)["temp_c"].normal == (36.01, 36.4)


def test_the_example_of_the_documentation_is_a_history(tmp_path) -> None:
    page = (Path(__file__).parents[3] / "docs" / "own-data.md").read_text(encoding="utf-8")
    examples = re.findall(r"`(\w+\.csv)`\n\n```csv\n(.*?)```", page, flags=re.DOTALL)
    assert [name for name, _ in examples] == ["batches.csv", "observations.csv", "dispositions.csv"]
    for name, text in examples:
        (tmp_path / name).write_text(text)
    text = draft(tmp_path)
    process = loaded(text, tmp_path)
    assert process["glucose"].unit == "mmol/L"
    assert process["donor_age_years"].kind == "attribute"
    assert "1 rejected; 1 of 2 batches have none" in text

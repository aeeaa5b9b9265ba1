import zipfile
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
import pandas as pd
import pytest

from benchmarks.field.rivals import RIVALS, TestRows, TrainRows
from benchmarks.field.sheets import read_sheets
from benchmarks.field.undated import UNDATED, chem_proc_yield, lot_genealogy, tcell_cmat
from features.errors import SourceError

MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
DOCUMENT = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"


def write_book(path: Path, sheets: dict[str, list[list[object]]]) -> None:
    """A workbook as a spreadsheet program writes it: text shared, numbers in place, empty cells absent."""
    shared: list[str] = []
    with zipfile.ZipFile(path, "w") as book:
        for number, rows in enumerate(sheets.values(), start=1):
            lines = []
            for at, row in enumerate(rows, start=1):
                cells = []
                for letter, value in zip("ABCDEFGH", row, strict=False):
                    if isinstance(value, str):
                        shared.append(value)
                        cells.append(f'<c r="{letter}{at}" t="s"><v>{len(shared) - 1}</v></c>')
                    elif value is not None:
                        cells.append(f'<c r="{letter}{at}"><v>{value}</v></c>')
                lines.append(f'<row r="{at}">{"".join(cells)}</row>')
            data = f'<worksheet xmlns="{MAIN}"><sheetData>{"".join(lines)}</sheetData></worksheet>'
            book.writestr(f"xl/worksheets/sheet{number}.xml", data)
        items = "".join(f"<si><t>{escape(text)}</t></si>" for text in shared)
        book.writestr("xl/sharedStrings.xml", f'<sst xmlns="{MAIN}">{items}</sst>')
        names = "".join(f'<sheet name="{n}" sheetId="{i}" r:id="r{i}"/>' for i, n in enumerate(sheets, start=1))
        book.writestr(
            "xl/workbook.xml", f'<workbook xmlns="{MAIN}" xmlns:r="{DOCUMENT}"><sheets>{names}</sheets></workbook>'
        )
        links = "".join(
            f'<Relationship Id="r{i}" Target="worksheets/sheet{i}.xml"/>' for i in range(1, len(sheets) + 1)
        )
        book.writestr("xl/_rels/workbook.xml.rels", f"<Relationships>{links}</Relationships>")


def genealogy(folder: Path) -> Path:
    """L1 and L2 share lot A2 of MAT1, L3 stands alone; the lots of the other materials are the same for all."""
    used: list[list[object]] = [["Finished Product Lot", "Material Lot", "Ratio or Quantity", "Material"]]
    used += [["L1", "A1", 0.25, "MAT1"], ["L1", "A2", 0.75, "MAT1"], ["L2", "A2", 1, "MAT1"], ["L3", "A3", 1, "MAT1"]]
    used += [[lot, f"X{i}", 1, f"MAT{i}"] for lot in ("L1", "L2", "L3") for i in range(2, 6)]
    sheets: dict[str, list[list[object]]] = {
        "Materials": used,
        "PROCESS": [["LotID", "var1"], ["L1", 4], ["L2", 6], ["L3", 8]],
        "QUALITY": [["LotID", "Y2", "Y3"], ["L1", 3.5, 51.9], ["L2", 3.2, 52], ["L3", 2.5, 60]],
        "MAT1": [["Lot#", "var1", "var2"], ["A1", 10, None], ["A2", 20, 7], ["A3", 30, 9], [None, None, None]],
    }
    sheets |= {f"MAT{i}": [["Lot #", "var1"], [f"X{i}", i]] for i in range(2, 6)}
    write_book(folder / "jrpls_tpls_dataset.xlsx", sheets)
    return folder


def test_properties_of_lots_are_weighed_by_their_ratios_where_known(tmp_path) -> None:
    found = lot_genealogy(genealogy(tmp_path))
    assert found.X["mat1_var1"].tolist() == [17.5, 20.0, 30.0]  # 10 / 4 + 20 * 3 / 4
    assert found.X["mat1_var2"].tolist() == [7.0, 7.0, 9.0]  # of L1, only A2 is known
    assert found.X["mat1_n_lots"].tolist() == [2.0, 1.0, 1.0]
    assert found.X["process_var1"].tolist() == [4.0, 6.0, 8.0]


def test_product_lots_that_share_a_lot_are_one_group_and_quality_only_decides(tmp_path) -> None:
    found = lot_genealogy(genealogy(tmp_path))
    assert found.groups["L1"] == found.groups["L2"] != found.groups["L3"]
    assert found.failed.to_dict() == {"L1": True, "L2": False, "L3": False}
    assert not [name for name in found.X if name.startswith(("Y", "process_Y"))]


def test_a_sheet_keeps_its_gaps_and_drops_rows_without_a_name(tmp_path) -> None:
    sheet = read_sheets(genealogy(tmp_path) / "jrpls_tpls_dataset.xlsx")["MAT1"]
    assert sheet["Lot#"].tolist() == ["A1", "A2", "A3"]
    assert sheet["var2"].isna().tolist() == [True, False, False]


def test_what_is_no_workbook_is_refused(tmp_path) -> None:
    (tmp_path / "jrpls_tpls_dataset.xlsx").write_text("lot;ratio")
    with pytest.raises(SourceError, match=r"expected an \.xlsx workbook"):
        lot_genealogy(tmp_path)


def test_runs_of_one_raw_material_are_one_group_and_the_yield_is_no_feature(tmp_path) -> None:
    runs = pd.DataFrame({"yield": [37.9, 38.0, 40.0], "bio_material_01": [6.25, 6.25, 8.0], "bio_material_02": [1.0, 1.0, 1.0],
                         "man_proc_01": [np.nan, 1.0, 2.0]})  # fmt: skip
    runs.to_csv(tmp_path / "chem_proc_yield.csv", index=False)
    found = chem_proc_yield(tmp_path)
    assert found.failed.to_dict() == {"R001": True, "R002": False, "R003": False}
    assert found.groups["R001"] == found.groups["R002"] != found.groups["R003"]
    assert list(found.X) == ["bio_material_01", "bio_material_02", "man_proc_01"]


def expansions(folder: Path) -> Path:
    runs = pd.DataFrame({"Dataset": ["DOE", "DOE", "ADOE"], "run": [1, 2, 1], "method": "carrier", "carrier_batch": [0, 0, 2],
                         "il2_conc": [30, 30, 30], "activator_conc": 500, "abs_surface_density": [2003.0, 2003.0, 1729.0]})  # fmt: skip
    design = ["functional_mab_percent", "functional_mab_mass", "dummy_mabs_added", "vessel_size1", "vessel_size2"]
    carriers = ["diameter_mean", "diameter_sd", "circularity_mean", "circularity_sd"]
    runs[[*design, *carriers]] = 1.0
    runs = runs.assign(viability=0.9, total_live_cells=[4e7, 2e7, 2.5e7])
    measured = {
        "6-Apr": 1.0,
        "IL2 - 6": 2.0,
        "IL2 - 8": 3.0,
        "IL2 - 14": 4.0,
        "Formate 8.448 D4": 5.0,
        "7.5387 D11": 6.0,
    }
    runs.assign(**measured).to_csv(folder / "AllData_20210107.csv", index=False, encoding="utf-8-sig")
    return folder


def test_only_what_was_measured_until_the_day_is_known(tmp_path) -> None:
    late = {"il2_14", "7_5387_d11", "viability", "total_live_cells"}
    found = tcell_cmat(expansions(tmp_path), until_day=6)
    assert set(found.X.columns[12:]) == {"4_1bb_6", "il2_6", "formate_8_448_d4"}
    assert "il2_8" in tcell_cmat(tmp_path).X
    assert late & set(tcell_cmat(tmp_path, until_day=8).X) == set()
    with pytest.raises(ValueError, match="a day before the outcome"):
        tcell_cmat(tmp_path, until_day=14)


def test_runs_of_the_same_conditions_are_one_group(tmp_path) -> None:
    found = tcell_cmat(expansions(tmp_path))
    assert found.failed.to_dict() == {"DOE-1": False, "DOE-2": True, "ADOE-1": False}
    assert found.groups["DOE-1"] == found.groups["DOE-2"] != found.groups["ADOE-1"]


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "n", "n_failed", "n_groups"),
    [("chem_proc_yield", 176, 19, 108), ("lot_genealogy", 105, 16, 26), ("tcell_cmat", 30, 7, 24)],
)
def test_batches_failures_and_groups_as_published(name, n, n_failed, n_groups, real_data) -> None:
    found = UNDATED[name](real_data / name)
    assert (len(found.X), int(found.failed.sum()), found.groups.nunique()) == (n, n_failed, n_groups)
    assert found.X.index.equals(found.failed.index)
    assert found.X.index.equals(found.groups.index)
    assert found.X.columns.is_unique


@pytest.mark.real_data
@pytest.mark.parametrize("rival", RIVALS)
def test_every_rival_takes_the_rows_of_an_undated_set(rival, real_data) -> None:
    found = UNDATED["lot_genealogy"](real_data / "lot_genealogy")
    test = found.rows[found.rows["batch_id"] > "L080"]
    score = RIVALS[rival](TrainRows(found.rows, found.failed[found.failed.index <= "L080"]), TestRows(test))
    assert score.shape == (25,)
    assert np.isfinite(score).all()

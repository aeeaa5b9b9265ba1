from pathlib import Path

from pipelines.filing import Report, file_report, software


def test_a_report_of_a_version_is_never_overwritten_and_the_newest_lies_beside(tmp_path: Path) -> None:
    first = file_report(Report("one", b"%PDF-1"), tmp_path, model_version="1", stem="report")
    assert first == tmp_path / "version-1" / "report.html"
    second = file_report(Report("two", b"%PDF-2"), tmp_path, model_version="2", stem="report")
    assert first.read_text() == "one"
    assert second.with_suffix(".pdf").read_bytes() == b"%PDF-2"
    assert (tmp_path / "report.html").read_text() == "two"
    assert (tmp_path / "report.pdf").read_bytes() == b"%PDF-2"


def test_another_report_of_the_same_version_has_a_number_and_the_same_one_none(tmp_path: Path) -> None:
    for text in ("one", "two", "one"):
        file_report(Report(text), tmp_path, model_version="1", stem="report")
    assert sorted(p.name for p in (tmp_path / "version-1").iterdir()) == ["report-2.html", "report.html"]
    assert (tmp_path / "version-1" / "report.html").read_text() == "one"


def test_the_software_is_named_with_its_version() -> None:
    assert software().startswith("batchguard ")

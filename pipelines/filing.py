"""Reports on disk: a folder for each version, whose files are never overwritten, and copies of the newest beside it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


@dataclass(frozen=True)
class Report:
    """A report in both forms.

    Attributes:
        html: One file with everything in it.
        pdf: The same content in pages; empty where a version was registered without it.
    """

    html: str
    pdf: bytes = b""


def software() -> str:
    """Name and version of this software, for the head of a report."""
    try:
        return f"batchguard {version('batchguard')}"
    except PackageNotFoundError:  # a checkout on the path that was never installed
        return "batchguard, version not recorded"


def file_report(report: Report, folder: Path, *, model_version: str, stem: str) -> Path:
    """Write a report into the folder of its version and, as the newest, beside the folders.

    Args:
        report: Both forms.
        folder: Of the process.
        model_version: Number in the registry.
        stem: Name of the files of the version, without ending.

    Returns:
        The HTML file of the version. A file that is there with other content stays: the new one has a number.
    """
    own = folder / f"version-{model_version}"
    own.mkdir(parents=True, exist_ok=True)
    content = report.html.encode()
    place = next(p for p in _names(own, stem) if not p.exists() or p.read_bytes() == content)
    for path in (place, folder / "report.html"):
        _written(path, content)
    newest = folder / "report.pdf"
    for path in (place.with_suffix(".pdf"), newest) if report.pdf else ():
        _written(path, report.pdf)
    if not report.pdf:
        newest.unlink(missing_ok=True)  # it would be of another version than the HTML beside it
    return place


def _names(folder: Path, stem: str) -> Iterator[Path]:
    yield folder / f"{stem}.html"
    yield from (folder / f"{stem}-{number}.html" for number in range(2, 10_000))


def _written(path: Path, content: bytes) -> None:
    """Write a file beside its place and move it there whole; one that is the same stays untouched."""
    if path.exists() and path.read_bytes() == content:
        return
    beside = path.with_name(f".{path.name}")
    beside.write_bytes(content)
    beside.replace(path)

"""The HTML report as PDF, by typst: the same words, tables and charts, with a page number and the digest on every page.

Nothing is read from the network or from the fonts of the machine: DejaVu Sans comes with matplotlib, and what a page shows
is embedded. The same report gives the same bytes.
"""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from lxml.html import HtmlElement

_TEMPLATE = Path(__file__).parent / "templates" / "report.typ"
_SVG = re.compile(r"<svg\b.*?</svg>", re.DOTALL)
_PNG = "data:image/png;base64,"
_LEFT_OUT = ("style", "script", "nav")


def pdf_report(html: str, *, made_at: pd.Timestamp, footer: str) -> bytes:
    """A report as PDF.

    Args:
        html: From `models.report.html.html_report`.
        made_at: When the report was made, UTC: the date of the document.
        footer: What stands on every page beside its number.
    """
    import typst

    files, page = _taken_apart(html)
    title = page.findtext("h1") or "report"
    made = {name: getattr(made_at, name) for name in ("year", "month", "day", "hour", "minute", "second")}
    files["page.xml"] = _as_xml(page)
    files["about.json"] = json.dumps({"title": title, "footer": footer, "made": made}).encode()
    files["report.typ"] = _TEMPLATE.read_bytes()
    with TemporaryDirectory() as folder:
        for name, content in files.items():
            (Path(folder) / name).write_bytes(content)
        main = str(Path(folder) / "report.typ")
        return typst.compile(
            main, root=folder, font_paths=[str(_fonts())], ignore_system_fonts=True, timestamp=int(made_at.timestamp())
        )


def _taken_apart(html: str) -> tuple[dict[str, bytes], HtmlElement]:
    """Charts by file name, and the page with images of these names in their places."""
    from lxml import html as markup

    files: dict[str, bytes] = {}

    def kept(found: re.Match[str]) -> str:
        name = f"chart{len(files)}.svg"
        files[name] = found[0].encode()
        return f'<img src="{name}">'

    page = markup.fromstring(_SVG.sub(kept, html)).find(".//main")
    for image in page.iter("img"):
        source = image.get("src", "")
        if source.startswith(_PNG):
            name = f"chart{len(files)}.png"
            files[name] = base64.b64decode(source.removeprefix(_PNG))
            image.set("src", name)
    return files, page


def _as_xml(page: HtmlElement) -> bytes:
    """The page as XML without what only a screen shows, and with single blanks for white space."""
    from lxml import etree

    for name in _LEFT_OUT:
        for element in list(page.iter(name)):
            element.drop_tree()
    for element in page.iter():
        element.text, element.tail = (_blanks(text) for text in (element.text, element.tail))
    return etree.tostring(page, encoding="utf-8")


def _blanks(text: str | None) -> str | None:
    return text if text is None else re.sub(r"\s+", " ", text)


def _fonts() -> Path:
    import matplotlib

    return Path(matplotlib.get_data_path()) / "fonts" / "ttf"

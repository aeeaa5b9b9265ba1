import re
import zlib

from models.evaluation.evaluate import evaluate
from models.report.html import html_report
from models.report.pdf import _as_xml, _taken_apart, pdf_report
from models.report.shap_plots import shap_plots
from tests.models.plant import utc

MADE = utc("2026-11-28T15:04")
PAGE = """<html><body><main><nav>elsewhere</nav><h1>Soup: report</h1><p>A # b *c*
 d</p><figure><svg viewBox="0 0 4 4"><rect width="4" height="4"/></svg><figcaption>x</figcaption></figure>
<div class="scroll"><table><thead><tr><th>a</th><th>b</th></tr></thead><tbody><tr><td>1</td><td>2 <small>n</small></td></tr>
</tbody></table></div></main></body></html>"""


def pages(pdf: bytes) -> int:
    """Pages of a PDF whose objects may stand in compressed streams."""
    return sum(len(re.findall(rb"/Type\s*/Page\b", part)) for part in (pdf, *_decoded(pdf)))


def _decoded(pdf: bytes) -> list[bytes]:
    out = []
    for stream in re.findall(rb"stream\r?\n(.*?)\r?\nendstream", pdf, re.DOTALL):
        try:
            out.append(zlib.decompress(stream))
        except zlib.error:
            continue
    return out


def test_a_whole_report_becomes_pages_with_embedded_fonts_and_the_same_bytes_each_time(rich, rich_evaluation) -> None:
    rows = rich.plant.snapshots[rich.plant.snapshots["checkpoint_h"] == 24].head(60)
    images = shap_plots(rich.trained.predictor, rows, dependence=1)
    html = html_report(rich.plant.process, rich.trained, rich_evaluation, images=images)
    pdf = pdf_report(html, made_at=MADE, footer="soup")
    assert pdf.startswith(b"%PDF-")
    assert pages(pdf) >= 5
    assert any(b"DejaVuSans" in part for part in (pdf, *_decoded(pdf)))
    assert pdf == pdf_report(html, made_at=MADE, footer="soup")


def test_charts_become_files_and_what_a_screen_alone_shows_is_left_out() -> None:
    files, page = _taken_apart(PAGE)
    assert list(files) == ["chart0.svg"]
    assert b'viewBox="0 0 4 4"' in files["chart0.svg"]
    xml = _as_xml(page).decode()
    assert "<p>A # b *c* d</p>" in xml
    assert 'src="chart0.svg"' in xml
    assert "elsewhere" not in xml


def test_text_that_looks_like_markup_of_the_typesetter_is_text() -> None:
    evil = PAGE.replace("A # b", '#read("/etc/passwd") $x$ @ref')
    assert pdf_report(evil, made_at=MADE, footer='#panic("x")').startswith(b"%PDF-")


def test_a_report_on_a_test_without_failures_is_typeset_too(plant, trained) -> None:
    good = plant.log.assign(failed=plant.log["failed"] & ~plant.log["batch_id"].isin(trained.seal.batch_ids))
    evaluation = evaluate(plant.process, trained, plant.snapshots, plant.features, plant.batches, good)
    html = html_report(plant.process, trained, evaluation)
    assert pdf_report(html, made_at=MADE, footer="soup").startswith(b"%PDF-")

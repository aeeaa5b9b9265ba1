"""What `batchguard run` and `batchguard score` print: the batches in progress first, then figures and files.

Every line fits the terminal, breaks between words only, and is at most 100 characters wide.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from models.registry import Registry
from models.scoring.score import Model, Score
from pipelines.feature_tables import read_dictionary
from pipelines.plant import Plant
from pipelines.report import rows_in_words
from pipelines.result import challenger_of, newest_scores
from pipelines.text_lines import wrapped

if TYPE_CHECKING:
    from rich.console import Console

LIKELY_MISS = 0.1  # chance of missing a limit from which the console names a release attribute
NAMED = 3  # parameters that a line names before it counts the others
ROWS = 8  # of figures by checkpoint: the table of the batches stays in sight
_REASONS = 3
_LONGEST_ID = 24  # a longer one has a line of its own
_INDENT = "    "
_STYLES = {"high": "bold red", "elevated": "bold yellow", "none yet": "magenta", "undecided": "magenta", "low": "green"}
_NOT_STATED = "-"  # the support of a score of version 1


def show(result: dict[str, Any], plant: Plant, console: Console) -> None:
    """Print the scores, then figures, then where to read on."""
    show_scores(plant, console)
    _show_test(result, console)
    split = _number(result["random_split"]["auroc"])
    note = Registry(plant.settings.data_dir).evaluation(challenger_of(plant)).note
    _say(console, f"A random split would have claimed AUROC {split}; it is shown only as a warning.")
    for line in (note or "").splitlines():
        _say(console, line)
    data, model = result["data"], result["model"]
    console.print()
    rows = rows_in_words(*(data[f"rows_{name}"] for name in ("in", "kept", "repeated", "planned", "quarantined")))
    facts = {
        "data": f"{rows}; {data['batches']} batches, {data['failed']} failed, {data['censored']} censored",
        "model": f"{model['name']} version {model['version']}, sha256 {model['sha256'][:16]}",
    }
    for name, text in facts.items():
        _say(console, f"{name:6}  {text}", hanging=8)
    console.print(f"report  {plant.report_path}", markup=False, soft_wrap=True)  # a path is never broken


def show_scores(plant: Plant, console: Console, *, most: int | None = None) -> None:
    """Print the batches in progress, highest risk first, `most` of them."""
    from rich.text import Text

    scores = newest_scores(plant)
    if not scores:
        console.print()
        _say(console, "No batch is in progress: every one has a disposition or a label.")
        return
    as_of = f"{scores[0].as_of:%Y-%m-%d %H:%M} UTC"
    console.print()
    _say(console, f"{_count(len(scores), 'batch', 'batches')} in progress as of {as_of}, highest risk first")
    _say(console, _released(scores[0].model))
    labels = _labels(plant)
    for line, style in score_lines(scores[: most or len(scores)], labels, console.width):
        console.print(Text(line, style=style), soft_wrap=True)


def _released(model: Model) -> str:
    """Who released the model behind the scores; a preview says that nobody has."""
    if model.release_id is None:
        return f"Preview by version {model.version}, not released: not for decisions, and not served to an MES."
    return f"By version {model.version}, released by {model.released_by}, release {model.release_id[:12]}."


def score_lines(scores: Sequence[Score], labels: Mapping[str, str], width: int) -> Iterator[tuple[str, str]]:
    """The table of the batches in progress: a line a batch, and below it why.

    Args:
        scores: In the order to print them.
        labels: Words for parameters and subjects, by name.
        width: Longest line.

    Yields:
        A line and its style.
    """
    longest = max(len("batch"), *(len(s.batch_id) for s in scores if len(s.batch_id) <= _LONGEST_ID), 0)
    yield "", ""
    yield f"{'batch':{longest}}  {'call':9}  {'risk':>5}  {'90 % interval':13}  {'hours':>6}  support", "bold"
    for score in scores:
        if len(score.batch_id) > _LONGEST_ID:
            yield score.batch_id, ""
        name = score.batch_id if len(score.batch_id) <= _LONGEST_ID else ""
        low, high = (_percent(end) for end in score.interval)
        said = score.call or score.decision  # version 1 has no call
        yield (
            (
                f"{name:{longest}}  {said:9}  {_percent(score.failure_probability):>5}  "
                f"{f'{low} to {high}':13}  {score.elapsed_h:6.0f}  {score.support or _NOT_STATED}"
            ),
            _STYLES[said],
        )
        for line in _details(score, labels):
            yield from ((part, "") for part in wrapped(line, width, first=f"{_INDENT}- ", following=f"{_INDENT}  "))


def _details(score: Score, labels: Mapping[str, str]) -> Iterator[str]:
    """Why there is no call, support, reasons, what else is known, and which values are missing or old; a line each."""
    if score.call_cause:
        yield f"no call yet because: {score.call_cause}"
    if score.support_causes:
        yield f"support {score.support}: {'; '.join(score.support_causes)}"
        yield from (finding.sentence for finding in score.domain if finding.check == "support")
    if score.call is None and score.cause:
        yield f"{score.decision} because: {score.cause}"
    yield from (reason.sentence for reason in (score.reasons or [])[:_REASONS])
    yield from _more(score)
    if score.missing:
        yield f"no value yet: {first_names([labels.get(name, name) for name in score.missing])}"
    if score.stale:
        old = [f"{labels.get(name, name)} {age_h:.0f} h" for name, age_h in score.stale.items()]
        yield f"older than usual: {first_names(old)}"


def _more(score: Score) -> list[str]:
    """Release attributes that may well miss their limit, sensors out of the score, changes, and what would help."""
    more = [a.sentence for a in score.attributes if a.missing_probability >= LIKELY_MISS]
    more += [finding.sentence for finding in score.sensors]
    more += [score.changes.sentence] if score.changes else []
    # a move of what is normal already is the model's arithmetic: the record keeps it, nobody is told to do it
    if score.what_if and any(move.now_is != "normal" for change in score.what_if.changes for move in change.moves):
        more.append(score.what_if.sentence)
    return more


def first_names(names: Sequence[str]) -> str:
    """The first three names and the number of the others: "A; B; C and 7 more". A name may contain a comma."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return "; ".join(names[:NAMED]) + more


def _labels(plant: Plant) -> dict[str, str]:
    return {f.parameter: f.label for f in read_dictionary(plant)} | {p.name: p.label for p in plant.process.parameter}


def _show_test(result: dict[str, Any], console: Console) -> None:
    from rich import box
    from rich.table import Table

    test = result["test"]
    console.print()
    counts = f"{test['n_batches']} batches, {test['n_failed']} failed"
    how = "each scored by the newest model made before it started" if test["prequential"] else "the newest, sealed"
    if test["read"]:
        _say(console, f"Test: {counts}, {how}")
    else:
        _say(console, f"Development, out of fold: {counts}. The test is not read before its criteria are signed.")
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), show_edge=False)
    for name in ("at", "batches", "failed", "AUROC (95 %)", "AUPRC", "Brier"):
        table.add_column(name, justify="right", no_wrap=True)
    rows = result["by_checkpoint"]
    shown = some(rows)
    for row in shown:
        table.add_row(
            f"{row['checkpoint_h']:g} h", str(row["n"]), str(row["n_failed"]), _interval(row), _number(row["auprc"]),
            _number(row["brier"]),
        )  # fmt: skip
    console.print(table)
    if len(shown) < len(rows):
        _say(console, f"The report has all {len(rows)} checkpoints.")


def some(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """At most eight rows, evenly spread, the first and the last among them."""
    last = len(rows) - 1
    return [rows[round(i * last / (ROWS - 1))] for i in range(ROWS)] if len(rows) > ROWS else list(rows)


def _say(console: Console, text: str, *, hanging: int = 0) -> None:
    """Print a text, broken between words to the width of the console."""
    for line in wrapped(text, console.width, following=" " * hanging):
        console.print(line, markup=False, soft_wrap=True)


def _count(n: int, one: str, many: str) -> str:
    return f"{n} {one if n == 1 else many}"


def _percent(share: float) -> str:
    """A probability in whole percent; what is not certain is not printed as certain."""
    if 0 < share < 0.005:
        return "<1%"
    return ">99%" if 0.995 < share < 1 else f"{share:.0%}"


def _interval(row: dict[str, Any]) -> str:
    return f"{_number(row['auroc'])} ({_number(row['auroc_low'])} to {_number(row['auroc_high'])})"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"

"""A stored score as text for people: every field of the record, its signatures and its audit trail.

The same record gives the same text. The JSON of `GET /v1/scores/{id}` is the electronic copy beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeAlias

from serving.audit.chain import Entry

_Json: TypeAlias = Mapping[str, Any]
_DIGESTS = ("sha256", "process_sha256", "features_sha256", "thresholds_sha256", "intended_use_sha256", "release_id")


def readable(score: _Json, history: Iterable[Entry]) -> str:
    """The text of a record.

    Args:
        score: The score as it is answered, with its `reviews`.
        history: Its entries of the audit trail.
    """
    parts = (
        ("Risk score", _head(score)), (_judged(score), _judgement(score)), ("Reasons", _reasons(score)),
        ("Data", _data(score)), ("Model", _model(score)), ("Reviews", map(_review, score.get("reviews") or ())),
        ("Audit trail", map(_entry, history)),
    )  # fmt: skip
    texts = [f"{title}\n" + "".join(f"  {line}\n" for line in list(lines) or ["none"]) for title, lines in parts]
    return "\n".join([*texts, "Decision support: a person decides.\n"])


def _head(score: _Json) -> Iterator[str]:
    for name in ("score_id", "batch_id", "site_id", "as_of", "scored_at", "scored_for", "request_id", "supersedes"):
        yield f"{name}: {_text(score.get(name))}"
    yield f"elapsed_h: {score['elapsed_h']:g}"


def _judged(score: _Json) -> str:
    """A title: version 1 has a decision alone."""
    return "Decision" if score.get("call") is None else "Call and support"


def _judgement(score: _Json) -> Iterator[str]:
    if score.get("call") is not None:
        yield f"call: {score['call']}" + (f", {score['call_cause']}" if score["call_cause"] else "")
        yield f"support: {score['support']}" + (
            f", {_joined(score['support_causes'])}" if score["support_causes"] else ""
        )
    yield f"decision: {_text(score.get('decision'))}"
    yield f"cause: {_text(score.get('cause'))}"
    yield f"probability of failure: {_percent(score['failure_probability'])} (base {_percent(score['base_probability'])})"
    if score.get("interval"):
        yield "interval: " + " to ".join(_percent(end) for end in score["interval"])
    yield f"outcomes left open: {_joined(score.get('possible'))}"
    yield f"modes: {_joined(f'{mode} {_percent(p)}' for mode, p in (score.get('modes') or {}).items())}"
    yield from (f"expected: {found.get('sentence') or _fields(found)}" for found in score.get("attributes") or ())
    yield from (f"outside the domain: {found.get('sentence') or _fields(found)}" for found in score.get("domain") or ())


def _reasons(score: _Json) -> Iterator[str]:
    if score["reasons"] is None:
        yield "not asked for"
    for reason in score["reasons"] or ():
        low, high = reason["normal"] or (None, None)
        value = f"{_text(reason['value'])} {reason['unit']}".strip()
        yield f"{reason['sentence']} [value {value}; normal {_text(low)} to {_text(high)}; {reason['points']:+.1f} points]"


def _data(score: _Json) -> Iterator[str]:
    yield f"missing: {_joined(score['missing'])}"
    yield f"stale: {_joined(f'{name} ({age_h:g} h)' for name, age_h in score['stale'].items())}"
    yield f"assays pending: {_joined(score.get('assays_pending'))}"
    yield from (f"sensor at fault: {found.get('sentence') or _fields(found)}" for found in score.get("sensors") or ())
    for name in ("rows_seq", "data_sha256", "inline_sha256", "body_sha256"):
        yield f"{name}: {_text(score.get(name))}"


def _model(score: _Json) -> Iterator[str]:
    model, stale = score["model"], score.get("stale_model")
    yield f"{model['name']} version {model['version']}, {model['review']}, process {model['process_id']} {score['process_version']}"
    yield f"released by: {_text(model.get('released_by'))}"
    yield f"a newer release waits since: {_text(stale and stale['since'])}"
    yield from (f"{name}: {_text(model.get(name))}" for name in _DIGESTS)
    yield f"code_sha256: {_text(score.get('code_sha256'))}"


def _review(review: _Json) -> str:
    signed = f"{_text(review['signer_name'])} ({review['reviewer']})"
    return (
        f"{review['reviewed_at']} {signed}, {_text(review['meaning'])}, signed with {_text(review['signed_with'])}: "
        f"{review['decision']}, {review['reason']}; deviation {_text(review['deviation'])}; of {review['score_sha256']}"
    )


def _entry(entry: Entry) -> str:
    why = f": {entry.why}" if entry.why else ""
    return f"{entry.seq} {entry.at} {entry.who} ({entry.role}) {entry.action}{why} [{entry.hash}]"


def _text(value: object) -> str:
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _joined(values: Iterable[str] | None) -> str:
    return ", ".join(values or ()) or "none"


def _fields(found: _Json) -> str:
    return ", ".join(f"{name} {_text(value)}" for name, value in sorted(found.items()))

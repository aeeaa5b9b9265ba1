"""A score as a B2MML `WorkAlert` (MESA B2MML 0701): built by element name, in the order of the standard.

Its priority is that of the call; the support stands beside it and lowers none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from lxml import etree

_Json: TypeAlias = Mapping[str, Any]
NAMESPACE = "http://www.mesa.org/xml/B2MML"
_PRIORITY = {"high": "1", "elevated": "2", "none yet": "3", "undecided": "3", "low": "4"}
_NOT_XML = dict.fromkeys((*range(9), 11, 12, *range(14, 32), 65534, 65535), " ")


def work_alert(event_id: str, payload: _Json) -> bytes:
    """XML of one event.

    Args:
        event_id: Of the event; receivers drop a second one with the same id.
        payload: Payload of `serving.events.outbox`: kind, time, score.
    """
    score = payload["score"]
    root = etree.Element(f"{{{NAMESPACE}}}WorkAlert", nsmap={None: NAMESPACE})
    add(root, "ID", event_id)
    add(root, "PublishedDate", payload["at"])
    add(root, "MessageText", message(score))
    add(root, "TimeStamp", score["as_of"])
    add(root, "Priority", _PRIORITY.get(_called(score), "3"))
    add(root, "Category", payload["kind"])
    for name, value in _properties(score):
        entry = etree.SubElement(root, f"{{{NAMESPACE}}}WorkAlertProperty")
        add(entry, "ID", name)
        add(add(entry, "Value"), "ValueString", value)
    return etree.tostring(root, xml_declaration=True, encoding="UTF-8")


def add(parent: etree._Element, name: str, text: object = None) -> etree._Element:
    """Append an element of the standard's namespace, with its text; what XML cannot hold becomes blank."""
    element = etree.SubElement(parent, f"{{{NAMESPACE}}}{name}")
    if text is not None:
        element.text = str(text).translate(_NOT_XML)
    return element


def _called(score: _Json) -> str:
    """The call; of version 1, which has none, the decision."""
    return score.get("call") or score.get("decision") or "risk"


def message(score: _Json) -> str:
    """The call, its support and the first reason of a score in one line."""
    called = "no call yet" if score.get("call") == "none yet" else _called(score)
    causes = ", ".join(score.get("support_causes") or ())
    known = f" (support {score['support']}: {causes})" if causes else ""
    first = next((reason["sentence"] for reason in (score.get("reasons") or ())), "no single reason")
    risk = f"probability of failure {score['failure_probability']:.3f}"
    return f"Batch {score['batch_id']}: {called}{known}, {risk}. {first}"


def _properties(score: _Json) -> Iterator[tuple[str, object]]:
    yield "score_id", score["score_id"]
    yield "batch_id", score["batch_id"]
    yield "failure_probability", repr(score["failure_probability"])
    yield "model_sha256", score["model"]["sha256"]
    yield from ((name, score[name]) for name in ("call", "support", "decision") if score.get(name) is not None)
    if score.get("support_causes"):
        yield "support_causes", "; ".join(score["support_causes"])
    for number, reason in enumerate((score.get("reasons") or ()), start=1):
        yield f"reason_{number}", reason["sentence"]

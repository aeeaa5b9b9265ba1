"""Scores of a batch with their findings and reviews as a BatchML `BatchProductionRecord` (MESA B2MML 0701).

A score is an event of the batch, each of its findings an event that names it, each review a comment on it. The comment's
`ExternalReference` is the id of the deviation in the plant's own system. Elements stand in the order of the standard,
built by name. A release of a model belongs to no batch, and the standard has no form for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import quote

from lxml import etree
from sqlalchemy import Connection

from serving.events.b2mml import NAMESPACE, add, message
from serving.export.tables import Batch, Reviewed, batches_with_scores, findings_of, scores_with_reviews
from serving.ids import iso

_Json: TypeAlias = Mapping[str, Any]


def write_batches(connection: Connection, folder: Path, deviation: str | None) -> int:
    """Write a file for each batch with a finding or a review, `SITE.BATCH.xml` with both names percent-encoded.

    Args:
        connection: A transaction.
        folder: Where; files of the same names are replaced.
        deviation: Only scores with a review that names it; None: all.

    Returns:
        Number of files.
    """
    n = 0
    for batch in batches_with_scores(connection, deviation):
        of_batch = scores_with_reviews(connection, deviation, batch)
        told = [one for one in of_batch if one.reviews or findings_of(one.score)]
        if told:
            name = f"{quote(batch.site_id, safe='')}.{quote(batch.batch_id, safe='')}.xml"
            (folder / name).write_bytes(batch_record(batch, told))
            n += 1
    return n


def batch_record(batch: Batch, told: Sequence[Reviewed]) -> bytes:
    """XML of one batch: its site is the `EquipmentScope`.

    Args:
        batch: The batch.
        told: Its scores with their reviews, in order.
    """
    root = etree.Element(f"{{{NAMESPACE}}}BatchProductionRecord", nsmap={None: NAMESPACE})
    name = f"{batch.site_id}/{batch.batch_id}"
    add(root, "ID", name)
    _entry(root, name, "Batch Production Record")
    add(root, "EquipmentScope", batch.site_id)
    add(root, "BatchID", batch.batch_id)
    comments = [(one.score, review) for one in told for review in one.reviews]
    within = add(root, "Comments") if comments else root
    for score, review in comments:
        _comment(within, score, review)
    events = add(root, "Events")
    for one in told:
        _score_events(events, one.score)
    return etree.tostring(root, xml_declaration=True, encoding="UTF-8", pretty_print=True)


def _entry(
    parent: etree._Element, entry_id: str, kind: str, at: str = "", reference: object = None, text: object = None
) -> None:
    """The group that every part of a record begins with."""
    add(parent, "EntryID", entry_id)
    add(parent, "ObjectType", kind)
    for name, value in (("TimeStamp", at), ("ExternalReference", reference), ("Description", text)):
        if value:
            add(parent, name, value)


def _comment(parent: etree._Element, score: _Json, review: _Json) -> None:
    one = add(parent, "Comment")
    said = f"{review['decision']}; signed by {review['signer_name']}, meaning {review['meaning']}"
    _entry(one, review["review_id"], "Comment", iso(review["reviewed_us"]), review["deviation"], said)
    add(one, "RecordReference", score["score_id"])
    add(one, "CommentText", review["reason"])
    add(one, "PersonID", review["reviewer"])


def _score_events(parent: etree._Element, score: _Json) -> None:
    one = _event(parent, score["score_id"], score["as_of"], "Risk score", message(score))
    for name, value in _attributes(score):
        attribute = add(one, "UserAttribute")
        add(attribute, "AttributeID", name)
        add(add(attribute, "Value"), "ValueString", value)
    for number, finding in enumerate(findings_of(score), start=1):
        one = _event(parent, f"{score['score_id']}/{number}", score["as_of"], "Finding", finding["sentence"])
        add(one, "Category", finding["cause"])
        add(one, "AssociatedEventID", score["score_id"])


def _event(parent: etree._Element, entry_id: str, at: str, kind: str, text: object) -> etree._Element:
    one = add(parent, "Event")
    _entry(one, entry_id, "Event", at)
    add(one, "EventType", "Message")
    add(one, "EventSubType", "Other").set("OtherValue", kind)
    add(one, "MessageText", text)
    return one


def _attributes(score: _Json) -> Iterator[tuple[str, object]]:
    yield "failure_probability", repr(score["failure_probability"])
    yield from ((name, score[name]) for name in ("call", "support") if score.get(name) is not None)
    yield "scored_at", score["scored_at"]
    yield "body_sha256", score["body_sha256"]
    yield "model_sha256", score["model"]["sha256"]

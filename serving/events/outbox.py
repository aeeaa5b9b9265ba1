"""The outbox: events are stored in the transaction of their score, `serving.events.webhooks` delivers them afterwards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, insert

from features.canonical import canonical
from serving.access.principals import ALL_SITES
from serving.audit import chain
from serving.audit.chain import Actor
from serving.ids import iso, new_id
from serving.records.store import Head
from serving.records.tables import deliveries, events_out
from serving.settings import Webhook

CHANGES = ("call", "decision")  # of a score, each an event `<name>.changed`; that of the decision is deprecated


def emit(
    connection: Connection, now: Head, actor: Actor, hooks: Sequence[Webhook], kind: str, *, site_id: str,
    score: Mapping[str, object], at_us: int, before: str | None = None,
) -> None:  # fmt: skip
    """Store an event, its deliveries and its entry of the audit trail, in the transaction of the score; nothing if no webhook subscribes to it.

    Args:
        connection: The transaction.
        now: The head that it holds.
        actor: Of the score.
        hooks: All webhooks.
        kind: `score.created`, `call.changed`, or, deprecated, `decision.changed`.
        site_id: Site of the batch.
        score: The score as it is answered.
        at_us: Time of the event, microseconds UTC.
        before: What changed, as it was; None where no score said it before.
    """
    receivers = [h.name for h in hooks if kind in h.events and (ALL_SITES in h.sites or site_id in h.sites)]
    if not receivers:
        return
    event_id = new_id(at_us)
    payload: dict[str, object] = {"version": 1, "kind": kind, "at": iso(at_us), "score": score}
    name, _, changed = kind.partition(".")
    if changed == "changed":
        payload[f"{name}_before"] = before
    content = canonical(payload).decode()
    event = {"event_id": event_id, "kind": kind, "site_id": site_id, "payload": content, "made_us": at_us}
    delivery = {"event_id": event_id, "attempts": 0, "next_us": at_us, "delivered_us": None, "error": ""}
    connection.execute(insert(events_out), event)
    connection.execute(insert(deliveries), [delivery | {"webhook": name} for name in receivers])
    new = chain.event_digest(event) | {"receivers": receivers}
    chain.append(connection, now, actor, "event", f"event:{event_id}", at_us=at_us, new=new)

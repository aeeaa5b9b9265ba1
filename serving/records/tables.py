"""Tables of the records, the same in SQLite and PostgreSQL. Times are microseconds UTC; JSON is text, byte for byte.

Columns say what is stored; `serving/records/migrations` says how a database gets there, with the triggers that keep
`APPEND_ONLY` tables from being changed. A test compares the two.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)
_ID, _DIGEST = String(200), String(64)
# Parts of the rows that have an index of their own: as text, for a planner knows no part by a parameter.
OF_BATCHES, OF_LOTS, AROUND = "table_name = 'batches'", "table_name = 'materials'", "table_name <> 'observations'"


def _us(name: str, *, nullable: bool = False) -> Column:
    return Column(name, BigInteger, nullable=nullable)


rows = Table(
    "rows",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("batch_id", _ID, nullable=False),
    Column("site_id", _ID, nullable=False),
    Column("table_name", String(20), nullable=False),
    Column("key", Text, nullable=False),  # of the contract, as JSON; of a batch: its revision
    Column("content", Text, nullable=False),
    _us("recorded_us"),
    Column("request_id", _ID, nullable=False),
    UniqueConstraint("batch_id", "table_name", "key"),
    # readings are in none of these, and cost nothing: all batches; whose lot is it; what lies around a batch
    Index("ix_rows_batches", "batch_id", "seq", sqlite_where=text(OF_BATCHES), postgresql_where=text(OF_BATCHES)),
    Index("ix_rows_around", "seq", sqlite_where=text(AROUND), postgresql_where=text(AROUND)),
    Index("ix_rows_lot", "key", sqlite_where=text(OF_LOTS), postgresql_where=text(OF_LOTS)),
)

quarantine = Table(
    "quarantine",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("batch_id", _ID, nullable=False),
    Column("table_name", String(20), nullable=False),
    Column("code", String(80), nullable=False),
    Column("reason", Text, nullable=False),
    Column("content", Text, nullable=False),
    _us("recorded_us"),
    Column("request_id", _ID, nullable=False),
)

scores = Table(
    "scores",
    metadata,
    Column("score_id", String(36), primary_key=True),
    Column("batch_id", _ID, nullable=False),
    Column("site_id", _ID, nullable=False),
    _us("as_of_us"),
    _us("scored_us"),
    Column("rows_seq", BigInteger, nullable=False),  # the newest row that was taken in when it was made
    Column("inline_sha256", _DIGEST),  # the history it was made from, where that came with the request
    Column("model_sha256", _DIGEST, nullable=False),
    _us("model_stale_us", nullable=True),  # since when a newer release could not be used
    Column("body", Text, nullable=False),
    Column("body_sha256", _DIGEST, nullable=False),
    Column("supersedes", String(36), ForeignKey("scores.score_id")),
    Column("request_id", _ID, nullable=False),
    Column("principal", _ID, nullable=False),
    Column("code_sha256", _DIGEST),  # of the software that scored; None: before it was kept
    Index("ix_scores_batch", "batch_id", "as_of_us", "score_id"),
)

inline_histories = Table(
    "inline_histories",
    metadata,
    Column("sha256", _DIGEST, primary_key=True),
    Column("content", Text, nullable=False),
)

reviews = Table(
    "reviews",
    metadata,
    Column("review_id", String(36), primary_key=True),
    Column("score_id", String(36), ForeignKey("scores.score_id"), nullable=False, index=True),
    Column("decision", String(20), nullable=False),
    Column("reason", Text, nullable=False),
    Column("deviation", _ID),
    Column("reviewer", _ID, nullable=False),
    Column("score_sha256", _DIGEST, nullable=False),  # what was reviewed, to the byte
    _us("reviewed_us"),
    Column("request_id", _ID, nullable=False),
    Column("signer_name", _ID),  # as printed; None in the next three: signed before they were kept
    Column("meaning", String(20)),
    Column("signed_with", String(80)),  # which components of the signature were shown
)

answers = Table(
    "answers",
    metadata,
    Column("principal", _ID, primary_key=True),
    Column("key", _ID, primary_key=True),
    Column("request_sha256", _DIGEST, nullable=False),
    Column("status", Integer, nullable=False),
    Column("body", Text, nullable=False),
    _us("answered_us"),
    Index("ix_answers_answered_us", "answered_us"),
)

audit = Table(
    "audit",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    _us("at_us"),
    Column("who", _ID, nullable=False),
    Column("role", String(20), nullable=False),
    Column("action", String(40), nullable=False),
    Column("object", String(300), nullable=False),
    Column("old", Text),
    Column("new", Text),
    Column("why", Text, nullable=False),
    Column("request_id", _ID, nullable=False),
    Column("previous", _DIGEST, nullable=False),
    Column("hash", _DIGEST, nullable=False),
    Index("ix_audit_object", "object"),
)

head = Table(  # one row: the ends of the chain and of the rows; every writer locks it first
    "head",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("audit_seq", BigInteger, nullable=False),
    Column("audit_hash", _DIGEST, nullable=False),
    Column("rows_seq", BigInteger, nullable=False),
)

events_out = Table(
    "events_out",
    metadata,
    Column("event_id", String(36), primary_key=True),
    Column("kind", String(40), nullable=False),
    Column("site_id", _ID, nullable=False),
    Column("payload", Text, nullable=False),
    _us("made_us"),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("event_id", String(36), ForeignKey("events_out.event_id"), primary_key=True),
    Column("webhook", String(80), primary_key=True),
    Column("attempts", Integer, nullable=False),
    _us("next_us", nullable=True),  # None: nothing more to do
    _us("delivered_us", nullable=True),
    Column("error", String(200), nullable=False),
    Index("ix_deliveries_next", "next_us"),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("key_id", String(16), primary_key=True),
    Column("name", _ID, nullable=False),
    Column("kind", String(10), nullable=False),
    Column("role", String(20), nullable=False),
    Column("sites", Text, nullable=False),  # JSON list; ["*"]: all
    Column("secret_hash", Text, nullable=False),
    _us("made_us"),
    _us("expires_us", nullable=True),
    _us("revoked_us", nullable=True),
)

APPEND_ONLY = ("rows", "quarantine", "scores", "inline_histories", "reviews", "audit", "events_out")
NEVER_CHANGED = ("answers",)  # they may go when their time is over, and never say anything else
GENESIS = "0" * 64

"""Tables of the records, the same in SQLite and PostgreSQL. Times are microseconds UTC; JSON is text, byte for byte.

The migrations in `serving/records/migrations` create them, with triggers that refuse changes of `APPEND_ONLY` tables. A
test compares tables and migrations.
"""

from __future__ import annotations

import sqlalchemy as sa

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)
_ID, _DIGEST = sa.String(200), sa.String(64)
# Conditions of the partial indexes of rows: as text, because a planner cannot match a condition with a parameter.
OF_BATCHES, OF_LOTS, AROUND = "table_name = 'batches'", "table_name = 'materials'", "table_name <> 'observations'"


def _us(name: str, *, nullable: bool = False) -> sa.Column:
    return sa.Column(name, sa.BigInteger, nullable=nullable)


rows = sa.Table(
    "rows",
    metadata,
    sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("batch_id", _ID, nullable=False),
    sa.Column("site_id", _ID, nullable=False),
    sa.Column("table_name", sa.String(20), nullable=False),
    sa.Column("key", sa.Text, nullable=False),  # the contract's key as JSON; the revision of a batch
    sa.Column("content", sa.Text, nullable=False),
    _us("recorded_us"),
    sa.Column("request_id", _ID, nullable=False),
    sa.UniqueConstraint("batch_id", "table_name", "key"),
    # no reading is in these indexes: batches, owners of lots, rows around a batch
    sa.Index(
        "ix_rows_batches", "batch_id", "seq", sqlite_where=sa.text(OF_BATCHES), postgresql_where=sa.text(OF_BATCHES)
    ),
    sa.Index("ix_rows_around", "seq", sqlite_where=sa.text(AROUND), postgresql_where=sa.text(AROUND)),
    sa.Index("ix_rows_lot", "key", sqlite_where=sa.text(OF_LOTS), postgresql_where=sa.text(OF_LOTS)),
)

quarantine = sa.Table(
    "quarantine",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("batch_id", _ID, nullable=False),
    sa.Column("table_name", sa.String(20), nullable=False),
    sa.Column("code", sa.String(80), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("content", sa.Text, nullable=False),
    _us("recorded_us"),
    sa.Column("request_id", _ID, nullable=False),
)

scores = sa.Table(
    "scores",
    metadata,
    sa.Column("score_id", sa.String(36), primary_key=True),
    sa.Column("batch_id", _ID, nullable=False),
    sa.Column("site_id", _ID, nullable=False),
    _us("as_of_us"),
    _us("scored_us"),
    sa.Column("rows_seq", sa.BigInteger, nullable=False),  # number of the newest row that the score includes
    sa.Column("inline_sha256", _DIGEST),  # the history, if it came with the request
    sa.Column("model_sha256", _DIGEST, nullable=False),
    _us("model_stale_us", nullable=True),  # since when a newer release could not be used
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("body_sha256", _DIGEST, nullable=False),
    sa.Column("supersedes", sa.String(36), sa.ForeignKey("scores.score_id")),
    sa.Column("request_id", _ID, nullable=False),
    sa.Column("principal", _ID, nullable=False),
    sa.Column("code_sha256", _DIGEST),  # of the software that scored; None in early records
    sa.Index("ix_scores_batch", "batch_id", "as_of_us", "score_id"),
)

inline_histories = sa.Table(
    "inline_histories",
    metadata,
    sa.Column("sha256", _DIGEST, primary_key=True),
    sa.Column("content", sa.Text, nullable=False),
)

reviews = sa.Table(
    "reviews",
    metadata,
    sa.Column("review_id", sa.String(36), primary_key=True),
    sa.Column("score_id", sa.String(36), sa.ForeignKey("scores.score_id"), nullable=False, index=True),
    sa.Column("decision", sa.String(20), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("deviation", _ID),
    sa.Column("reviewer", _ID, nullable=False),
    sa.Column("score_sha256", _DIGEST, nullable=False),  # digest of the reviewed body
    _us("reviewed_us"),
    sa.Column("request_id", _ID, nullable=False),
    sa.Column("signer_name", _ID),  # as printed; None here and in the next two: early records
    sa.Column("meaning", sa.String(20)),
    sa.Column("signed_with", sa.String(80)),  # components of the signature
)

answers = sa.Table(
    "answers",
    metadata,
    sa.Column("principal", _ID, primary_key=True),
    sa.Column("key", _ID, primary_key=True),
    sa.Column("request_sha256", _DIGEST, nullable=False),
    sa.Column("status", sa.Integer, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    _us("answered_us"),
    sa.Index("ix_answers_answered_us", "answered_us"),
)

audit = sa.Table(
    "audit",
    metadata,
    sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
    _us("at_us"),
    sa.Column("who", _ID, nullable=False),
    sa.Column("role", sa.String(20), nullable=False),
    sa.Column("action", sa.String(40), nullable=False),
    sa.Column("object", sa.String(300), nullable=False),
    sa.Column("old", sa.Text),
    sa.Column("new", sa.Text),
    sa.Column("why", sa.Text, nullable=False),
    sa.Column("request_id", _ID, nullable=False),
    sa.Column("previous", _DIGEST, nullable=False),
    sa.Column("hash", _DIGEST, nullable=False),
    sa.Index("ix_audit_object", "object"),
)

head = sa.Table(  # one row, which every writer locks first
    "head",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("audit_seq", sa.BigInteger, nullable=False),
    sa.Column("audit_hash", _DIGEST, nullable=False),
    sa.Column("rows_seq", sa.BigInteger, nullable=False),
)

events_out = sa.Table(
    "events_out",
    metadata,
    sa.Column("event_id", sa.String(36), primary_key=True),
    sa.Column("kind", sa.String(40), nullable=False),
    sa.Column("site_id", _ID, nullable=False),
    sa.Column("payload", sa.Text, nullable=False),
    _us("made_us"),
)

deliveries = sa.Table(
    "deliveries",
    metadata,
    sa.Column("event_id", sa.String(36), sa.ForeignKey("events_out.event_id"), primary_key=True),
    sa.Column("webhook", sa.String(80), primary_key=True),
    sa.Column("attempts", sa.Integer, nullable=False),
    _us("next_us", nullable=True),  # None: delivered or given up
    _us("delivered_us", nullable=True),
    sa.Column("error", sa.String(200), nullable=False),
    sa.Index("ix_deliveries_next", "next_us"),
)

api_keys = sa.Table(
    "api_keys",
    metadata,
    sa.Column("key_id", sa.String(16), primary_key=True),
    sa.Column("name", _ID, nullable=False),
    sa.Column("kind", sa.String(10), nullable=False),
    sa.Column("role", sa.String(20), nullable=False),
    sa.Column("sites", sa.Text, nullable=False),  # JSON list; ["*"]: all
    sa.Column("secret_hash", sa.Text, nullable=False),
    _us("made_us"),
    _us("expires_us", nullable=True),
    _us("revoked_us", nullable=True),
    sa.Column("subject", _ID),  # identity of the person that the key belongs to; None: it signs no release
)


def _signature() -> tuple[sa.Column, ...]:
    """Who signed, as what, why and when; the same in both tables of signatures."""
    return (
        sa.Column("principal", _ID, nullable=False),
        sa.Column("subject", _ID, nullable=False),
        sa.Column("signer_name", _ID, nullable=False),
        sa.Column("meaning", sa.String(20), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        _us("at_us"),
        sa.Column("local_time", sa.String(40), nullable=False),  # ISO 8601 with offset
        sa.Column("zone", sa.String(80), nullable=False),
        sa.Column("signed_with", sa.String(80), nullable=False),
        sa.Column("request_id", _ID, nullable=False),
    )


release_actions = sa.Table(
    "release_actions",
    metadata,
    sa.Column("action_id", sa.String(36), primary_key=True),
    sa.Column("seq", sa.BigInteger, nullable=False, unique=True),  # number of its entry in the trail: their order
    sa.Column("release_id", _DIGEST, nullable=False, index=True),
    sa.Column("process_id", _ID, nullable=False),
    sa.Column("version", sa.String(80), nullable=False),
    sa.Column("action", sa.String(20), nullable=False),
    sa.Column("state", sa.String(20), nullable=False),  # after the action
    sa.Column("deviation", _ID),
    sa.Column("envelope", sa.Text),  # DSSE; only of `submit` and `approve`
    *_signature(),
    sa.Index("ix_release_actions_process", "process_id", "seq"),
)

signed_documents = sa.Table(
    "signed_documents",
    metadata,
    sa.Column("document_id", sa.String(36), primary_key=True),
    sa.Column("seq", sa.BigInteger, nullable=False, unique=True),
    sa.Column("kind", sa.String(20), nullable=False),
    sa.Column("process_id", _ID, nullable=False),
    sa.Column("sha256", _DIGEST, nullable=False),
    sa.Column("content", sa.Text, nullable=False),
    *_signature(),
    sa.Index("ix_signed_documents_process", "process_id", "kind", "seq"),
)

APPEND_ONLY = (
    "rows", "quarantine", "scores", "inline_histories", "reviews", "audit", "events_out", "release_actions",
    "signed_documents",
)  # fmt: skip
NEVER_CHANGED = ("answers",)  # expired rows may be deleted, none may be updated
GENESIS = "0" * 64

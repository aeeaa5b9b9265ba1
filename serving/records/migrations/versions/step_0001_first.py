"""First shape: rows, scores, reviews, answers, audit trail, events out, keys; triggers that keep records as they are."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_APPEND_ONLY = ("rows", "quarantine", "scores", "inline_histories", "reviews", "answers", "audit", "events_out")
_ID, _DIGEST = sa.String(200), sa.String(64)


def upgrade() -> None:
    """Make all tables, the head and the triggers."""
    _rows()
    _scores()
    head = _trail()
    _events()
    op.bulk_insert(head, [{"id": 1, "audit_seq": 0, "audit_hash": "0" * 64, "rows_seq": 0}])
    (_postgresql if op.get_bind().dialect.name == "postgresql" else _sqlite)()


def _text(name: str, kind: sa.types.TypeEngine | type[sa.types.TypeEngine], *, nullable: bool = False) -> sa.Column:
    return sa.Column(name, kind, nullable=nullable)


def _us(name: str, *, nullable: bool = False) -> sa.Column:
    return sa.Column(name, sa.BigInteger, nullable=nullable)


def _rows() -> None:
    op.create_table(
        "rows",
        sa.Column("seq", sa.BigInteger, autoincrement=False),
        _text("batch_id", _ID), _text("site_id", _ID), _text("table_name", sa.String(20)), _text("key", sa.Text),
        _text("content", sa.Text), _us("recorded_us"), _text("request_id", _ID),
        sa.PrimaryKeyConstraint("seq", name="pk_rows"),
        sa.UniqueConstraint("batch_id", "table_name", "key", name="uq_rows_batch_id"),
    )  # fmt: skip
    op.create_table(
        "quarantine",
        _text("id", sa.String(36)), _text("batch_id", _ID), _text("table_name", sa.String(20)), _text("code", sa.String(80)),
        _text("reason", sa.Text), _text("content", sa.Text), _us("recorded_us"), _text("request_id", _ID),
        sa.PrimaryKeyConstraint("id", name="pk_quarantine"),
    )  # fmt: skip


def _scores() -> None:
    op.create_table(
        "scores",
        _text("score_id", sa.String(36)), _text("batch_id", _ID), _text("site_id", _ID), _us("as_of_us"), _us("scored_us"),
        _us("rows_seq"), _text("inline_sha256", _DIGEST, nullable=True), _text("model_sha256", _DIGEST), _us("model_stale_us", nullable=True),
        _text("body", sa.Text), _text("body_sha256", _DIGEST), _text("supersedes", sa.String(36), nullable=True),
        _text("request_id", _ID), _text("principal", _ID),
        sa.PrimaryKeyConstraint("score_id", name="pk_scores"),
        sa.ForeignKeyConstraint(["supersedes"], ["scores.score_id"], name="fk_scores_supersedes"),
    )  # fmt: skip
    op.create_index("ix_scores_batch", "scores", ["batch_id", "as_of_us", "score_id"])
    op.create_table(
        "inline_histories",
        _text("sha256", _DIGEST), _text("content", sa.Text), sa.PrimaryKeyConstraint("sha256", name="pk_inline_histories"),
    )  # fmt: skip
    op.create_table(
        "reviews",
        _text("review_id", sa.String(36)), _text("score_id", sa.String(36)), _text("decision", sa.String(20)),
        _text("reason", sa.Text), _text("deviation", _ID, nullable=True), _text("reviewer", _ID),
        _text("score_sha256", _DIGEST), _us("reviewed_us"), _text("request_id", _ID),
        sa.PrimaryKeyConstraint("review_id", name="pk_reviews"),
        sa.ForeignKeyConstraint(["score_id"], ["scores.score_id"], name="fk_reviews_score_id"),
    )  # fmt: skip
    op.create_index("ix_reviews_score_id", "reviews", ["score_id"])


def _trail() -> sa.Table:
    op.create_table(
        "answers",
        _text("principal", _ID), _text("key", _ID), _text("request_sha256", _DIGEST), _text("status", sa.Integer),
        _text("body", sa.Text), _us("answered_us"),
        sa.PrimaryKeyConstraint("principal", "key", name="pk_answers"),
    )  # fmt: skip
    op.create_table(
        "audit",
        sa.Column("seq", sa.BigInteger, autoincrement=False),
        _us("at_us"), _text("who", _ID), _text("role", sa.String(20)), _text("action", sa.String(40)),
        _text("object", sa.String(300)), _text("old", sa.Text, nullable=True), _text("new", sa.Text, nullable=True),
        _text("why", sa.Text), _text("request_id", _ID), _text("previous", _DIGEST), _text("hash", _DIGEST),
        sa.PrimaryKeyConstraint("seq", name="pk_audit"),
    )  # fmt: skip
    op.create_table(
        "api_keys",
        _text("key_id", sa.String(16)), _text("name", _ID), _text("kind", sa.String(10)), _text("role", sa.String(20)),
        _text("sites", sa.Text), _text("secret_hash", sa.Text), _us("made_us"), _us("expires_us", nullable=True),
        _us("revoked_us", nullable=True),
        sa.PrimaryKeyConstraint("key_id", name="pk_api_keys"),
    )  # fmt: skip
    return op.create_table(
        "head",
        sa.Column("id", sa.Integer, autoincrement=False),
        _us("audit_seq"), _text("audit_hash", _DIGEST), _us("rows_seq"),
        sa.PrimaryKeyConstraint("id", name="pk_head"),
    )  # fmt: skip


def _events() -> None:
    op.create_table(
        "events_out",
        _text("event_id", sa.String(36)), _text("kind", sa.String(40)), _text("site_id", _ID), _text("payload", sa.Text),
        _us("made_us"), sa.PrimaryKeyConstraint("event_id", name="pk_events_out"),
    )  # fmt: skip
    op.create_table(
        "deliveries",
        _text("event_id", sa.String(36)), _text("webhook", sa.String(80)), _text("attempts", sa.Integer),
        _us("next_us", nullable=True), _us("delivered_us", nullable=True), _text("error", sa.String(200)),
        sa.PrimaryKeyConstraint("event_id", "webhook", name="pk_deliveries"),
        sa.ForeignKeyConstraint(["event_id"], ["events_out.event_id"], name="fk_deliveries_event_id"),
    )  # fmt: skip
    op.create_index("ix_deliveries_next", "deliveries", ["next_us"])


def _sqlite() -> None:
    for table in _APPEND_ONLY:
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
            )


def _postgresql() -> None:
    op.execute(
        "CREATE FUNCTION batchguard_append_only() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME; END $$"
    )
    for table in _APPEND_ONLY:
        op.execute(
            f"CREATE TRIGGER {table}_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION batchguard_append_only()"
        )

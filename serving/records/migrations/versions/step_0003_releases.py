"""Releases and signed documents, which are only ever added, and the person behind a key."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_ID, _DIGEST = sa.String(200), sa.String(64)
_TABLES = ("release_actions", "signed_documents")


def upgrade() -> None:
    """Add the column, both tables and their triggers."""
    op.add_column("api_keys", sa.Column("subject", _ID, nullable=True))
    _release_actions()
    _signed_documents()
    (_postgresql if op.get_bind().dialect.name == "postgresql" else _sqlite)()


def _text(name: str, kind: sa.types.TypeEngine | type[sa.types.TypeEngine], *, nullable: bool = False) -> sa.Column:
    return sa.Column(name, kind, nullable=nullable)


def _signature() -> tuple[sa.Column, ...]:
    return (
        _text("principal", _ID), _text("subject", _ID), _text("signer_name", _ID), _text("meaning", sa.String(20)),
        _text("reason", sa.Text), _text("at_us", sa.BigInteger), _text("local_time", sa.String(40)),
        _text("zone", sa.String(80)), _text("signed_with", sa.String(80)), _text("request_id", _ID),
    )  # fmt: skip


def _release_actions() -> None:
    op.create_table(
        "release_actions",
        _text("action_id", sa.String(36)), _text("seq", sa.BigInteger), _text("release_id", _DIGEST),
        _text("process_id", _ID), _text("version", sa.String(80)), _text("action", sa.String(20)),
        _text("state", sa.String(20)), _text("deviation", _ID, nullable=True), _text("envelope", sa.Text, nullable=True),
        *_signature(),
        sa.PrimaryKeyConstraint("action_id", name="pk_release_actions"),
        sa.UniqueConstraint("seq", name="uq_release_actions_seq"),
    )  # fmt: skip
    op.create_index("ix_release_actions_release_id", "release_actions", ["release_id"])
    op.create_index("ix_release_actions_process", "release_actions", ["process_id", "seq"])


def _signed_documents() -> None:
    op.create_table(
        "signed_documents",
        _text("document_id", sa.String(36)), _text("seq", sa.BigInteger), _text("kind", sa.String(20)),
        _text("process_id", _ID), _text("sha256", _DIGEST), _text("content", sa.Text),
        *_signature(),
        sa.PrimaryKeyConstraint("document_id", name="pk_signed_documents"),
        sa.UniqueConstraint("seq", name="uq_signed_documents_seq"),
    )  # fmt: skip
    op.create_index("ix_signed_documents_process", "signed_documents", ["process_id", "kind", "seq"])


def _sqlite() -> None:
    for table in _TABLES:
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
            )


def _postgresql() -> None:
    for table in _TABLES:
        op.execute(
            f"CREATE TRIGGER {table}_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION batchguard_append_only()"
        )

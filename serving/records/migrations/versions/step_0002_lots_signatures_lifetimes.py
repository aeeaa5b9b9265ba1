"""Plant-wide rows, signatures with their parts, the code that scored, and answers that may go when their time is over."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_ID, _DIGEST, _OF_LOTS = sa.String(200), sa.String(64), sa.text("table_name = 'materials'")
_OF_BATCHES = sa.text("table_name = 'batches'")
_AROUND = sa.text("table_name <> 'observations'")


def upgrade() -> None:
    """Add columns and indexes; let answers be deleted, but still not changed."""
    op.add_column("scores", sa.Column("code_sha256", _DIGEST, nullable=True))
    for name, kind in (("signer_name", _ID), ("meaning", sa.String(20)), ("signed_with", sa.String(80))):
        op.add_column("reviews", sa.Column(name, kind, nullable=True))
    op.create_index("ix_rows_lot", "rows", ["key"], sqlite_where=_OF_LOTS, postgresql_where=_OF_LOTS)
    op.create_index(
        "ix_rows_batches", "rows", ["batch_id", "seq"], sqlite_where=_OF_BATCHES, postgresql_where=_OF_BATCHES
    )
    op.create_index("ix_rows_around", "rows", ["seq"], sqlite_where=_AROUND, postgresql_where=_AROUND)
    op.create_index("ix_answers_answered_us", "answers", ["answered_us"])
    op.create_index("ix_audit_object", "audit", ["object"])
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP TRIGGER answers_kept ON answers")
        op.execute(
            "CREATE TRIGGER answers_kept BEFORE UPDATE OR TRUNCATE ON answers "
            "FOR EACH STATEMENT EXECUTE FUNCTION batchguard_append_only()"
        )
    else:
        op.execute("DROP TRIGGER answers_no_delete")

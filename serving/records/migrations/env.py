"""Alembic's way in: runs the steps on the connection that `serving.records.migrate` hands over."""

from alembic import context

from serving.records.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()

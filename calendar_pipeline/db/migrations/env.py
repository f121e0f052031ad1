"""Alembic's environment: one connection handed in by `calendar_pipeline.db.migrate`."""

from alembic import context

from calendar_pipeline.db.schema import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, transaction_per_migration=True)
with context.begin_transaction():
    context.run_migrations()

"""Alembic's entry: runs on the connection that shared.migrations opened."""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
context.run_migrations()

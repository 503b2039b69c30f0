"""How Alembic, which looks for a file of this name, comes to our connection, within its transaction."""

from alembic import context

from studies.store.schema import VERSION

context.configure(connection=context.config.attributes["connection"], version_table=VERSION.name)
context.run_migrations()

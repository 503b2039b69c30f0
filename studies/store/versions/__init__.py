"""What changed from one version of a database to the next: a file each, which Alembic finds and runs in order.

A file that was released stays as it is. It names tables and columns itself, as they were then, and imports nothing of
ours. `schema.LATEST` is the last one's number, and tests/databases holds a database of each version.
"""

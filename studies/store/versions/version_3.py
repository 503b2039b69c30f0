"""An epoch may have other metrics than ours: those of training of one's own are kept as JSON in `metrics`.

Ours may then be missing, so their columns take NULL. What is there stays as it is.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "3"
down_revision = "2"

OURS = ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate")


def upgrade() -> None:
    """Called by Alembic, within its transaction. SQLite has its table made anew and copied."""
    with op.batch_alter_table("alexsearch_epochs") as table:
        for name in OURS:
            table.alter_column(name, existing_type=sa.Float(), nullable=True)
        table.add_column(sa.Column("metrics", sa.Text(), nullable=True))

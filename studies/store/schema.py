"""Our tables beside Optuna's, in the same database. No foreign keys: a trial deleted elsewhere must not be held up."""

from __future__ import annotations

import sqlalchemy as sa

metadata = sa.MetaData()

LATEST = 3
"""The version of these tables, and of what is kept in Optuna's attributes; `studies.store.versions` led there."""

VERSION = sa.Table(
    "alexsearch_version",  # as Alembic makes and writes it: one row
    metadata,
    sa.Column("version_num", sa.String(32), primary_key=True),
)

# A place where one trial at a time is trained: a GPU, a share of one, or a CPU. The row lives as long as its worker.
SLOTS = sa.Table(
    "alexsearch_slots",
    metadata,
    sa.Column("slot_id", sa.String(32), primary_key=True),
    sa.Column("study_id", sa.Integer, nullable=False, index=True),
    sa.Column("trial_id", sa.Integer, unique=True),  # the trial it holds, at most one slot a trial
    sa.Column("host", sa.String(255), nullable=False),
    sa.Column("machine", sa.String(255), nullable=False),
    sa.Column("pid", sa.Integer, nullable=False),
    sa.Column("process_started", sa.Float, nullable=False),
    sa.Column("device", sa.String(255), nullable=False),
    sa.Column("epoch", sa.Integer, nullable=False, default=0),
    sa.Column("images_per_second", sa.Float, nullable=False, default=0.0),
    sa.Column("beats", sa.Integer, nullable=False, default=0),
    sa.Column("beat_at", sa.Float, nullable=False),  # seconds since 1970 by the database's clock
)

# What Optuna has no place for: all metrics of every epoch. Ours have columns of their own; those of training of one's
# own are a JSON object.
EPOCHS = sa.Table(
    "alexsearch_epochs",
    metadata,
    sa.Column("trial_id", sa.Integer, primary_key=True),
    sa.Column("epoch", sa.Integer, primary_key=True),
    sa.Column("loss", sa.Float),
    sa.Column("accuracy", sa.Float),
    sa.Column("val_loss", sa.Float),
    sa.Column("val_accuracy", sa.Float),
    sa.Column("learning_rate", sa.Float),
    sa.Column("seconds", sa.Float, nullable=False),
    sa.Column("metrics", sa.Text),
)

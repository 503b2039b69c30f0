"""The epochs of a trial, out of our own table."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from studies.store.schema import EPOCHS
from studies.store.shapes import is_number, is_whole
from studies.store.storage import Storage


def epoch_history(storage: Storage, trial_id: int) -> list[dict[str, Any]]:
    """All metrics of every epoch of a trial, from the first; the keys are the columns of `schema.EPOCHS`.

    A row that holds something else than finite numbers is left out: others write to the same database.
    """
    query = sa.select(EPOCHS).where(EPOCHS.c.trial_id == trial_id).order_by(EPOCHS.c.epoch)
    rows = storage.read(lambda session: session.execute(query).mappings().all())
    return [
        {key: value for key, value in row.items() if key != "trial_id"}
        for row in rows
        if is_whole(row["epoch"]) and all(map(is_number, row.values()))
    ]

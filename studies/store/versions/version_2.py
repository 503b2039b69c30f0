"""A failure is a kind and a text: what was the sentence `reason` becomes `failure`, `reason` and `crashes`.

"diverged: the loss became nan"                 failure "diverged", reason "the loss became nan"
"killed by signal 9; the last of 4 crashes"     failure "crashed", reason "killed by signal 9", crashes 4

Only in failed trials of studies that alexsearch made: they have the attribute `space`.
"""

from __future__ import annotations

import json
import re
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "2"
down_revision = None  # version 1 kept no number of its version

SENTENCE = re.compile(
    r"(?:(?P<kind>diverged|out-of-memory|data|disk|values|error): )?(?P<text>.*?)"
    r"(?:; the last of (?P<crashes>\d+) crashes)?",
    re.DOTALL,
)

TRIALS = sa.table("trials", sa.column("trial_id"), sa.column("study_id"), sa.column("state"))
STUDY_USER = sa.table("study_user_attributes", sa.column("study_id"), sa.column("key"))
TRIAL_USER = sa.table("trial_user_attributes", sa.column("trial_id"), sa.column("key"), sa.column("value_json"))


def upgrade() -> None:
    """Called by Alembic, within its transaction."""
    connection = op.get_bind()
    row, other = TRIAL_USER.c, TRIAL_USER.alias().c
    done = sa.exists().where(other.trial_id == row.trial_id, other.key.in_(["failure", "crashes"]))
    sentences = (
        sa.select(row.trial_id, row.value_json)
        .join(TRIALS, TRIALS.c.trial_id == row.trial_id)
        .join(STUDY_USER, sa.and_(STUDY_USER.c.study_id == TRIALS.c.study_id, STUDY_USER.c.key == "space"))
        .where(sa.cast(TRIALS.c.state, sa.String) == "FAIL", row.key == "reason", ~done)
    )
    for trial_id, sentence in connection.execute(sentences).all():
        for key, value in taken_apart(json.loads(sentence)).items():
            text = json.dumps(value)
            if key == "reason":
                where = (row.trial_id == trial_id, row.key == key)
                connection.execute(TRIAL_USER.update().where(*where).values(value_json=text))
            else:
                connection.execute(TRIAL_USER.insert().values(trial_id=trial_id, key=key, value_json=text))


def taken_apart(sentence: Any) -> dict[str, Any]:
    """The attributes that say what `sentence` says; none if it is not one of ours, which then stays as it is."""
    found = SENTENCE.fullmatch(sentence) if isinstance(sentence, str) else None
    if found is None or not (found["kind"] or found["crashes"]):
        return {}
    crashes = {"crashes": int(found["crashes"])} if found["crashes"] else {}
    return {"reason": found["text"], "failure": found["kind"] or "crashed", **crashes}

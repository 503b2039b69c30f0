"""Under which names a settled trial's artifacts are kept, before anybody has drawn them.

Optuna lets nobody add to a finished trial, and its caches would not look again: so the artifacts are named in the very
transaction that settles it. `studies.show.artifacts` draws them when somebody first asks for them.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from types import MappingProxyType

KINDS: Mapping[str, str] = MappingProxyType({"curves.png": "image/png", "epochs.csv": "text/csv"})
"""Name: MIME type."""
PREFIX = "artifacts:"
"""Of the system attributes in which Optuna keeps what an artifact is."""


def named_artifacts(trial_id: int) -> dict[str, str]:
    """The system attributes that give a trial its artifacts. Their ids end in the trial's own, by which it is found.

    They stay when a study is copied, and its trials get other ids: they are then found by these attributes.
    """
    attributes = {}
    for name, mimetype in KINDS.items():
        artifact_id = f"{str(uuid.uuid4())[:23]}-{trial_id:012x}"
        key, value = described(artifact_id, name, mimetype)
        attributes[key] = value
    return attributes


def described(artifact_id: str, name: str, mimetype: str) -> tuple[str, str]:
    """Key and value of the system attribute by which Optuna knows an artifact."""
    meta = {"artifact_id": artifact_id, "filename": name, "mimetype": mimetype, "encoding": None}
    return PREFIX + artifact_id, json.dumps(meta)

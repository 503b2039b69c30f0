"""A study as this alexsearch understands it: which version made it, and its space.

A study keeps the version that made it, for trials of two versions are no fair comparison: a default or a kernel may
have changed between them. Another patch version may join, since those mend and change no result. A study that was made
before versions were kept is joined by any, and keeps that one's: whether the trials that it has are its like can't be
told, but from then on no third one mixes in.
"""

from __future__ import annotations

import re

from search.base.mistakes import InputError
from search.base.provenance import alexsearch_version
from search.space.space import SearchSpace
from studies.record.catalog import VERSION, StudyRecord


def check_version(study: StudyRecord, ours: str) -> str | None:
    """What is to be said if only the patch versions differ; None if there is nothing to be said.

    Raises:
        InputError: another version made the study.
    """
    made = study.attributes.get(VERSION)
    was, now = _release(made), _release(ours)
    if was is None or now is None or made == ours:  # nobody kept it, or this one is not installed and has none
        return None
    if was == now:
        return f"alexsearch {made} made this study, and this is {ours}: only the patch version differs"
    raise InputError(
        f"study {study.shown!r} was made by alexsearch {made}, and this is {ours}: trials of both are not comparable. "
        f"Use alexsearch {was[0]}.{was[1]} on this host, or start another study with --study NAME."
    )


def stored_space(study: StudyRecord, ours: str | None = None) -> SearchSpace:
    """The space of a study of ours. Raises InputError if this alexsearch can't read it, since a later one made it."""
    try:
        return SearchSpace.from_dict(study.attributes["space"])
    except InputError as error:
        made = study.attributes.get(VERSION)
        by = f"alexsearch {made}" if _release(made) else "another alexsearch, or another program,"
        raise InputError(
            [f"study {study.shown!r}: {by} wrote its space, and this is {ours or alexsearch_version()}:"]
            + [f"  {line}" for line in str(error).splitlines()]
            + ["Update alexsearch on this host; nothing was changed."]
        ) from None


def _release(version: object) -> tuple[int, int] | None:
    """Major and minor; None if it is no version."""
    found = re.match(r"(\d{1,9})\.(\d{1,9})\b", version) if isinstance(version, str) else None
    return None if found is None else (int(found[1]), int(found[2]))

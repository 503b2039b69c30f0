"""The earlier studies that a study learns from: named when it is made, and kept with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from optuna.trial import FrozenTrial

from search.base.mistakes import InputError
from search.choosing.earlier import fitting
from search.run.request import RunRequest, View
from search.space.space import SearchSpace
from studies.record.catalog import StudyError, StudyRecord, all_studies, find_study
from studies.store.storage import Storage

LEARNS_FROM = "learns_from"
"""Attribute of a study: of each that it learns from, `name`, and `uid` if it is one of ours."""


def learned_from(request: RunRequest) -> list[dict[str, Any]]:
    """What --from names, as it is kept with the study.

    Raises:
        InputError: there is no such study, or it has another direction or nothing that fits.
    """
    found = []
    for name in request.learns_from:
        try:
            earlier = find_study(request.storage, name)
        except StudyError as error:
            raise InputError(f"--from: {error}") from None
        if name == request.space.study.name:
            raise InputError(f"--from {name}: is this study itself. Name an earlier one.")
        if [each.name.lower() for each in earlier.directions] != [request.space.direction]:
            raise InputError(
                f"--from {name}: study {earlier.shown!r} has another direction than {request.space.direction}."
            )
        if not fitting(request.space, request.storage.get_all_trials(earlier.study_id, deepcopy=False)):
            raise InputError(
                f"--from {name}: no finished trial of study {earlier.shown!r} has values for all that this space "
                "searches, inside of it. Leave --from out."
            )
        uid = earlier.attributes.get("uid")
        found.append({"name": earlier.name, **({"uid": uid} if isinstance(uid, str) else {})})
    return found


def check_learns_from(study: StudyRecord, found: list[dict[str, Any]]) -> None:
    """Raises InputError if the study learns from others than --from names, which may name none."""
    if found and study.attributes.get(LEARNS_FROM, []) != found:
        raise InputError(
            f"--from: study {study.shown!r} was begun with other earlier studies than these, or with none. What it "
            "learns from is fixed when it is made: leave --from out, or start another study with --study NAME."
        )


def earlier_trials(storage: Storage, study: StudyRecord, space: SearchSpace, view: View) -> list[FrozenTrial]:
    """Those that the study learns from, as far as they are still there and fit."""
    stored = study.attributes.get(LEARNS_FROM, [])
    lessons: list[FrozenTrial] = []
    for each in stored if isinstance(stored, list) else []:
        earlier = _found(each, all_studies(storage))
        if earlier is None:
            view.note("a study that this one learns from is gone: it goes on without its trials")
            continue
        trials = storage.get_all_trials(earlier.study_id, deepcopy=False)
        fit = fitting(space, trials)
        view.note(f"learns from {len(fit)} of {len(trials)} trials of study {earlier.shown}")
        lessons += fit
    for place, lesson in enumerate(lessons):
        lesson.number = -1 - place
    return lessons


def _found(kept: Any, studies: Sequence[StudyRecord]) -> StudyRecord | None:
    if not isinstance(kept, Mapping):
        return None
    if "uid" in kept:
        return next((study for study in studies if study.attributes.get("uid") == kept["uid"]), None)
    return next((study for study in studies if study.name == kept.get("name")), None)

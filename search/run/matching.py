"""Whether a study that is there asks what a run asks: the same space over the same data, and how much of it is left."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from optuna.study import StudyDirection

from model.config import BUNDLED_IMAGES, NetworkSpec
from search.base.file_store import files_url
from search.base.mistakes import InputError
from search.choosing.designs import most_trials
from search.run.keeping import check_same_files
from search.run.learning import LEARNS_FROM, check_learns_from
from search.run.request import RunRequest
from search.space.budget import MOST_TRIALS
from search.space.own import Program
from search.space.space import differences
from search.space.stored import check_version, stored_space
from search.training.messages import DataFound, ProgramFound
from studies.queue.queue import Queue
from studies.record.catalog import FILES, VERSION, StudyRecord, all_studies, keep_version, open_study
from studies.store.storage import Storage


def existing_study(request: RunRequest) -> StudyRecord | None:
    """The study as it is, once it is known to ask the same question.

    Raises:
        InputError: it asks another one.
    """
    name = request.space.study.name
    study = next((study for study in all_studies(request.storage) if study.name == name), None)
    if study is None:
        return None
    check_version(study, request.version)
    if not study.is_ours:
        if _is_blank(request.storage, study):
            return None
        raise InputError(f"study {name!r} {study.not_ours}. Choose another name with --study.")
    before = stored_space(study, request.version)
    changed = differences(before, request.space)
    way_out = "Take the space back to what it was"
    was, now = before.data.source, request.space.data.source
    if was != now and not {was, now}.isdisjoint(BUNDLED_IMAGES):  # else both may be paths to the same images
        changed.insert(0, f"[data] source: was {was}, is now {now}")
        way_out = f"Go on with it by --data {was}"
    if changed:
        raise InputError(
            [
                f"study {name!r} was started with another space: its digest was {before.digest()}, is now "
                f"{request.space.digest()}:"
            ]
            + [f"  {line}" for line in changed]
            + [f"{way_out}, or start another study with --study NAME."]
        )
    return study


def check_added(request: RunRequest, existing: StudyRecord | None) -> None:
    if not request.add:
        return
    total = Queue(request.storage, existing.study_id).counts().budget if existing else request.space.study.trials
    if total + request.add > MOST_TRIALS:
        raise InputError(
            f"--add {request.add}: the study has {total:,} trials, and may have {MOST_TRIALS:,}. Add fewer, or start "
            "another study with --study NAME."
        )


def _is_blank(storage: Storage, study: StudyRecord) -> bool:
    """Whether another worker is just making the study, or died while it did: `open_study` makes it whole."""
    if study.attributes or storage.get_n_trials(study.study_id):
        return False
    return storage.get_study_directions(study.study_id) in ([StudyDirection.MAXIMIZE], [StudyDirection.MINIMIZE])


def is_done(request: RunRequest, study: StudyRecord) -> bool:
    """Whether nothing is left to train. Other data is not "done": it is refused, once its fingerprint is known."""
    counts = Queue(request.storage, study.study_id).counts()
    if counts.waiting or counts.running:
        return False
    if request.space.data.source != study.attributes["space"].get("data", {}).get("source", request.space.data.source):
        return False
    if isinstance(request.own, Program) and request.own.fingerprint != study.attributes["data"]["fingerprint"]:
        return False
    total = request.space.study.trials
    return request.joins or counts.budget >= min(total, most_trials(request.space) or total)


def open_matching(request: RunRequest, data: DataFound | ProgramFound, earlier: list[dict[str, Any]]) -> StudyRecord:
    """Make the study, which learns from these earlier ones, or find it with the same space and data.

    Raises:
        InputError: it has other ones.
    """
    space = request.space
    largest = space.max_batch_size
    if largest and isinstance(data, DataFound) and largest > data.train_images:
        raise InputError(
            f"[space.batch_size]: {largest} is more than the {data.train_images} training images. "
            "Use smaller batches or more train_images."
        )
    attributes: dict[str, Any] = {"space": space.to_dict(), "data": data.model_dump(), VERSION: request.version}
    network = {"sha256": request.own.sha256} if isinstance(request.own, NetworkSpec) else None
    if network:
        attributes["network"] = network
    if earlier:
        attributes[LEARNS_FROM] = earlier
    if request.files:
        attributes[FILES] = files_url(request.files)
    study, made = open_study(request.storage, space.study.name, attributes)
    if not made:
        stored = study.attributes["data"]
        if stored["fingerprint"] != data.fingerprint and isinstance(data, ProgramFound):
            raise InputError(
                f"study {study.name!r} was started with another version of its training: {data.told_from(stored)}. "
                "Bring that version back, or start another study with --study NAME."
            )
        if stored["fingerprint"] != data.fingerprint:
            raise InputError(
                f"study {study.name!r} was started on other data than {space.data.source}: {data.told_from(stored)} "
                f"(the fingerprint was {stored['fingerprint']}, is now {data.fingerprint}). "
                "Bring its data back, or start another study with --study NAME."
            )
        if study.attributes.get("network") != network:
            was = str((study.attributes.get("network") or {}).get("sha256"))[:12]
            raise InputError(
                f"study {study.name!r} was started with another version of its network's file (its SHA-256 was "
                f"{was}..., is now {network['sha256'][:12] if network else None}...). Bring that version back, or "
                "start another study with --study NAME."
            )
        existing_study(request)
        check_learns_from(study, earlier)
        study = keep_version(request.storage, study, request.version)
        check_version(study, request.version)  # another may have kept its own a moment ago
        check_same_files(request.files, study)
        if request.files and not study.files:
            request.storage.set_study_user_attr(study.study_id, FILES, attributes[FILES])
            study = replace(study, attributes={**study.attributes, FILES: attributes[FILES]})
    return study

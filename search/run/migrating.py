"""Studies on their way to another database: which may go, what is there already, and what is said of each.

`studies.store.copying` copies one. Typed again, whatever was done is found and the rest is done.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from search.base.mistakes import InputError
from studies.queue.queue import Queue
from studies.record.catalog import StudyRecord, all_studies, find_study
from studies.store.contents import Content, content_of
from studies.store.copying import CopyError, copy_study
from studies.store.storage import Storage
from studies.store.urls import same_database
from studies.words import listed

Progress = Callable[[int, int], None]
"""Called with the rows that are copied, and all that are to be."""


@dataclass(frozen=True)
class Plan:
    """What is to be done, and what was."""

    missing: tuple[StudyRecord, ...]
    """To be copied"""
    there: tuple[tuple[StudyRecord, Content], ...]
    """Copied before, and the same in both"""
    changed: tuple[tuple[StudyRecord, str], ...]
    """Copied before, and not the same any more: what differs"""


@dataclass(frozen=True)
class Dead:
    """Slots of workers that are dead; what they held is to go back into the queue."""

    study: StudyRecord
    slots: tuple[str, ...]


def chosen(source: Storage, names: Sequence[str]) -> list[StudyRecord]:
    """The studies of these names, or all. Raises StudyError if one is not there, or none is."""
    if names:
        return [find_study(source, name) for name in dict.fromkeys(names)]
    return all_studies(source) or [find_study(source, None)]


def check_workers(source: Storage, studies: Sequence[StudyRecord]) -> list[Dead]:
    """The slots of dead workers, to be given to `release`.

    Raises:
        InputError: a worker that lives is at one of the studies: what it records next would be left behind.
    """
    lines, dead = [], []
    for study in studies:
        slots = Queue(source, study.study_id).slots()
        alive = [slot for slot in slots if not slot.stale]
        held = [f"process {slot.pid} on {slot.host}{_at(slot.trial)}" for slot in alive]
        if alive:
            lines.append(f"study {study.shown!r}: at work on it: {', '.join(sorted(set(held)))}.")
        if slots:
            dead.append(Dead(study, tuple(slot.slot_id for slot in slots if slot.stale)))
    if lines:
        raise InputError([*lines, "End that with `alexsearch stop --now --study NAME`, then type the same again."])
    return dead


def _at(trial: int | None) -> str:
    return "" if trial is None else f" (trial {trial})"


def release(source: Storage, dead: Sequence[Dead]) -> None:
    """Put what dead workers held back into the queue, as the next run there would."""
    for each in dead:
        Queue(source, each.study.study_id).reap(each.slots)


def plan(source: Storage, target: Storage, studies: Sequence[StudyRecord]) -> Plan:
    """What of these studies is in `target` already. Changes nothing.

    Raises:
        InputError: it is the same database, or has another study of a name.
    """
    if same_database(source.safe_url, target.safe_url):
        raise InputError(f"--to: {target.name} is the database that the studies are in. Name another.")
    missing, there, changed, lines = [], [], [], []
    present = all_studies(target)
    for study in studies:
        uid = study.attributes.get("uid")
        found = next((each for each in present if each.name == study.name), None)
        renamed = next((each for each in present if uid and each.attributes.get("uid") == uid), None)
        if found is None and renamed is None:
            missing.append(study)
        elif found is None and renamed is not None:
            lines.append(f"study {study.shown!r}: is there by the name of {renamed.shown!r}. Rename one of the two.")
        elif found is not None:
            here, copy = content_of(source, study.study_id), content_of(target, found.study_id)
            differences = here.told_from(copy)
            if not differences:
                there.append((study, here))
            elif uid and found.attributes.get("uid") == uid:
                changed.append((study, "; ".join(differences)))
            else:
                lines.append(
                    f"study {study.shown!r}: {target.name} has another one of that name. Rename or delete one of the "
                    "two, or say by --study which are to be copied."
                )
    if lines:
        raise InputError(lines)
    return Plan(tuple(missing), tuple(there), tuple(changed))


def migrate(source: Storage, target: Storage, study: StudyRecord, progress: Progress) -> Content:
    """Copy a study and read it back from both. Raises CopyError, which names the study, and StorageError."""
    try:
        return copy_study(source, target, study.study_id, progress)
    except (CopyError, KeyError) as error:
        why = "was deleted meanwhile" if isinstance(error, KeyError) else str(error)
        raise CopyError(f"study {study.shown!r} {why}. {target.name} keeps nothing of it.") from None


def told(content: Content) -> str:
    """ "20 trials, 140 epochs and 512 other rows, sha256 0f3e..." """
    trials, epochs = content.counts["trials"], content.counts["epochs"]
    others = sum(content.counts.values()) - trials - epochs
    counted = [f"{count:,} {word}{'s' * (count != 1)}" for count, word in ((trials, "trial"), (epochs, "epoch"))]
    return f"{listed([*counted, f'{others:,} other rows'])}, sha256 {content.digest}"


def running_elsewhere(source: Storage, study: StudyRecord) -> str:
    """What is said of running trials that no worker of ours has; empty without any."""
    running = Queue(source, study.study_id).counts().running
    if not running:
        return ""
    return (
        f"study {study.shown}: {running:,} running trial{'s' * (running != 1)} of another program: running in the copy "
        "too, where that program tells no result"
    )

"""The budget of a study is a queue: N trials are put in once, and workers only ever take waiting ones.

The contract, which holds across any number of processes, hosts and crashes:

- A trial is one row that moves WAITING -> RUNNING -> COMPLETE | PRUNED | FAIL, or from RUNNING back to WAITING when its
  worker gave it back or died, or when it pauses (`studies.queue.pausing`), or from FAIL to WAITING when somebody asks
  for it (`retry`), or from PRUNED (`thaw`). It stays the same trial: it keeps its number, its values and its epochs. So
  a study filled to N trials ends with N settled ones, no more and no fewer.
- Whoever runs a trial holds it through a *slot*: a row of ours that names the trial. Taking, recording, settling and
  giving back check in the same transaction that the slot still holds the trial; a worker that was taken for dead and
  wakes up finds it does not, is told so by `False`, and its late result changes nothing.
- Every call may be repeated: where the database went away before its answer came, repeating finds the work done.

Each transaction starts with a write, as `Storage.transaction` asks.
"""

from __future__ import annotations

import logging
import os
import socket
import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from optuna.trial import TrialState
from sqlalchemy import orm

from studies.queue import limits, pausing
from studies.queue.limits import STOP, STOPPED_BY, Limits
from studies.queue.process import machine, process_started
from studies.queue.standing import ATTEMPTS, RETRIES, Standing
from studies.store.artifact_names import named_artifacts
from studies.store.attributes import STUDY_SYSTEM, STUDY_USER, TRIAL_SYSTEM, TRIAL_USER
from studies.store.epochs import epoch_row
from studies.store.schema import EPOCHS, SLOTS
from studies.store.shapes import is_whole
from studies.store.storage import Storage
from studies.store.tables import (
    REPORTS,
    STUDIES,
    TRIALS,
    VALUES,
    hold_study,
    remove_study,
    upsert,
    utc_now,
    write_report,
    write_value,
)
from studies.words import failure_in_words, one_line

log = logging.getLogger(__name__)

GIVEN = "alexsearch:given"
"""System attribute of a study: the numbers of trials that somebody gave values, which are taken before all others."""
OF_A_FAILURE = ("failure", "reason", "crashes", "epochs_run", "seconds", "images_per_second")
"""User attributes of a trial that failed, which it loses when it is put back into the queue."""


@dataclass(frozen=True)
class Taken:
    """A trial that a slot holds."""

    trial_id: int
    number: int
    attempt: int
    """0 for the first run, and one more after each crash."""
    to_its_end: bool = False
    """Somebody asked for all its epochs: it neither pauses nor is pruned."""


class StudyGoneError(Exception):
    """The study was deleted, or is another one by now: SQLite gives the id of a deleted study to a new one."""


class Queue(Standing):
    """The queue of one study. May be shared by the threads of a process."""

    def __init__(self, storage: Storage, study_id: int, uid: str | None = None) -> None:
        """Whoever works on the study gives its `uid`: nothing is taken from, or recorded in, another of its id."""
        super().__init__(storage, study_id)
        self._uid = uid

    def fill(self, total: int, first: Sequence[Mapping[str, Any]] = ()) -> int:
        """Put waiting trials in until the study has `total` of them, and return how many were added.

        The first trials get the values of `first`, in order. If the study has `total` or more already, nothing is
        added.
        """

        def body(session: orm.Session) -> int:
            hold_study(session, self.study_id)
            self._check_study(session)
            remove_orphans(session)
            known = sa.select(sa.func.count(), sa.func.max(TRIALS.c.number)).where(TRIALS.c.study_id == self.study_id)
            present, last = session.execute(known).one()
            start = 0 if last is None else last + 1  # not `present`: a trial in between may have been deleted
            rows = [
                {"study_id": self.study_id, "number": number, "state": TrialState.WAITING}
                for number in range(start, start + total - present)
            ]
            if not rows:
                return 0
            session.execute(sa.insert(TRIALS), rows)
            added = sa.select(TRIALS.c.trial_id).where(TRIALS.c.study_id == self.study_id, TRIALS.c.number >= start)
            session.execute(sa.delete(EPOCHS).where(EPOCHS.c.trial_id.in_(added)))  # as in `take`
            if start == 0:
                ids = session.scalars(added.order_by(TRIALS.c.number).limit(len(first))).all()
                for trial_id, params in zip(ids, first, strict=False):
                    TRIAL_SYSTEM.write(session, trial_id, {"fixed_params": dict(params)})
            return len(rows)

        return self.storage.transaction(body)

    def enqueue(self, params: Mapping[str, Any]) -> int:
        """Put one more trial in, with these values of its own, and return its number. It is taken next.

        `params` are as Optuna holds them; what they leave out, the sampler chooses. Trials that were given values
        before, and wait, come first.
        """

        def body(session: orm.Session) -> int:
            hold_study(session, self.study_id)
            remove_orphans(session)
            of_study = TRIALS.c.study_id == self.study_id
            last = session.scalar(sa.select(sa.func.max(TRIALS.c.number)).where(of_study))
            number = 0 if last is None else last + 1
            row = {"study_id": self.study_id, "number": number, "state": TrialState.WAITING}
            session.execute(sa.insert(TRIALS).values(**row))
            trial_id = session.scalars(sa.select(TRIALS.c.trial_id).where(of_study, TRIALS.c.number == number)).one()
            session.execute(sa.delete(EPOCHS).where(EPOCHS.c.trial_id == trial_id))  # as in `take`
            TRIAL_SYSTEM.write(session, trial_id, {"fixed_params": dict(params)})
            unsettled = TRIALS.c.state.in_((TrialState.WAITING, TrialState.RUNNING))
            before = TRIALS.c.number.in_(self._given(session))
            left = session.scalars(sa.select(TRIALS.c.number).where(of_study, before, unsettled)).all()
            STUDY_SYSTEM.write(session, self.study_id, {GIVEN: [*sorted(left), number]})
            return number

        return self.storage.transaction(body)

    def join(self, device: str) -> str:
        """Add a slot of this process to the study and return its id, which no other slot ever had or will have."""
        slot_id = uuid.uuid4().hex
        row = {
            "slot_id": slot_id,
            "study_id": self.study_id,
            "host": socket.gethostname()[:255],
            "machine": machine(),
            "pid": os.getpid(),
            "process_started": process_started(os.getpid()) or 0.0,
            "device": device[:255],
            "beat_at": self._now(),
        }

        def body(session: orm.Session) -> None:
            session.execute(sa.delete(SLOTS).where(SLOTS.c.slot_id == slot_id))
            session.execute(sa.insert(SLOTS).values(**row))

        self.storage.transaction(body)
        return slot_id

    def leave(self, slot_id: str) -> None:
        """Remove the slot. A trial that it still holds goes back into the queue."""
        for _, told in self._release([slot_id], crashed=False, reason="its slot ended"):
            if told:
                log.info("%s", told)

    def take(self, slot_id: str, *, after: int = -1, wishes: Sequence[int | None] | None = None) -> Taken | None:
        """Take the waiting trial with the lowest number, if possible above `after`; those of `enqueue` first.

        Where trials pause, `wishes` are what is worth taking, best first: a paused trial's number, or None for one that
        has not begun. Trials that somebody asked for come before.

        None if none waits, or none that is wished for, or if the study is to stop. If it is to begin no trial since too
        little is expected of one (`enough`), paused ones are still to be had.

        Raises:
            LookupError: the slot is gone: it was taken for dead. Join anew.
            StudyGoneError: the study was deleted. There is nothing to join any more.
        """

        def body(session: orm.Session) -> Taken | None:
            is_there = self._beat(session, [slot_id], epoch=0, images_per_second=0.0)
            self._check_study(session)
            if not is_there:
                raise LookupError(f"slot {slot_id} is gone")
            held = session.scalar(sa.select(SLOTS.c.trial_id).where(SLOTS.c.slot_id == slot_id))
            if held is not None and self._holds(session, slot_id, held):
                number = session.scalar(sa.select(TRIALS.c.number).where(TRIALS.c.trial_id == held))
                return Taken(held, int(number or 0), _attempts(session, held), _to_its_end(session, held))
            trial_id = self._next(session, after, wishes)
            if trial_id is None:
                return None
            trial = session.execute(sa.select(TRIALS).where(TRIALS.c.trial_id == trial_id)).one()
            # SQLite gives the id of a deleted trial to a new one, and rows of ours may still name the old.
            session.execute(sa.update(SLOTS).where(SLOTS.c.trial_id == trial_id).values(trial_id=None))
            if trial.datetime_start is None:
                session.execute(sa.delete(EPOCHS).where(EPOCHS.c.trial_id == trial_id))
            else:
                pausing.note_thaw(session, trial_id)
            _set(session, trial_id, state=TrialState.RUNNING, datetime_start=utc_now())
            session.execute(sa.update(SLOTS).where(SLOTS.c.slot_id == slot_id).values(trial_id=trial_id))
            return Taken(trial_id, trial.number, _attempts(session, trial_id), _to_its_end(session, trial_id))

        return self.storage.transaction(body)

    def resume_at(self, slot_id: str, trial_id: int, epoch: int) -> bool:
        """Forget what was reported beyond `epoch`, the one training starts again from: it will be reported anew."""

        def body(session: orm.Session) -> bool:
            if not self._holds(session, slot_id, trial_id, epoch=epoch):
                return False
            session.execute(sa.delete(REPORTS).where(REPORTS.c.trial_id == trial_id, REPORTS.c.step > epoch))
            session.execute(sa.delete(EPOCHS).where(EPOCHS.c.trial_id == trial_id, EPOCHS.c.epoch > epoch))
            return True

        return self.storage.transaction(body)

    def record_epoch(
        self,
        slot_id: str,
        trial_id: int,
        metrics: Mapping[str, Any],
        images_per_second: float = 0.0,
        optimised: str = "val_accuracy",
    ) -> bool:
        """Record one epoch: its metrics by name, with `epoch` and `seconds`, the optimised one as Optuna's report.

        Returns:
            False if the slot no longer holds the trial: stop training it.
        """
        row = epoch_row(metrics)
        epoch = row["epoch"]

        def body(session: orm.Session) -> bool:
            if not self._holds(session, slot_id, trial_id, epoch=epoch, images_per_second=images_per_second):
                return False
            upsert(session, EPOCHS, ("trial_id", "epoch"), [{"trial_id": trial_id, **row}])
            write_report(session, trial_id, epoch, metrics[optimised])
            limits.enforce(session, self.study_id)
            return True

        return self.storage.transaction(body)

    def describe(self, slot_id: str, trial_id: int, attributes: Mapping[str, Any]) -> bool:
        """Set user attributes of a trial that the slot holds."""

        def body(session: orm.Session) -> bool:
            if not self._holds(session, slot_id, trial_id):
                return False
            TRIAL_USER.write(session, trial_id, attributes)
            return True

        return self.storage.transaction(body)

    def settle(
        self,
        slot_id: str,
        trial_id: int,
        state: TrialState,
        value: float | None,
        attributes: Mapping[str, Any],
    ) -> bool:
        """Finish the trial: COMPLETE or PRUNED with its value, or FAIL for good.

        Returns:
            False if the slot no longer holds the trial: somebody else has it, and this result is discarded.
        """

        def body(session: orm.Session) -> bool:
            if not self._holds(session, slot_id, trial_id):
                return self._settled_already(session, slot_id, trial_id, state, value)
            TRIAL_USER.write(session, trial_id, attributes)
            if attributes.get("epochs_run"):
                TRIAL_SYSTEM.write(session, trial_id, named_artifacts(trial_id))
            if value is not None:
                write_value(session, trial_id, value)
            _set(session, trial_id, state=state, datetime_complete=utc_now())
            session.execute(sa.update(SLOTS).where(SLOTS.c.slot_id == slot_id).values(trial_id=None, epoch=0))
            limits.enforce(session, self.study_id)
            return True

        return self.storage.transaction(body)

    def give_back(
        self, slot_id: str, trial_id: int, *, crashed: bool, failure: str = "crashed", reason: str = ""
    ) -> bool:
        """Put the trial back into the queue; after `RETRIES` crashes it has failed for good, of `failure`: `reason`.

        Returns:
            False if the slot no longer holds the trial.
        """

        def body(session: orm.Session) -> str | None:
            if not self._holds(session, slot_id, trial_id):
                return None
            session.execute(sa.update(SLOTS).where(SLOTS.c.slot_id == slot_id).values(trial_id=None, epoch=0))
            return self._requeue(session, trial_id, crashed=crashed, failure=failure, reason=reason)

        told = self.storage.transaction(body)
        if told is not None:
            log.info("%s", told)
        return told is not None

    def pause(self, slot_id: str, trial_id: int, epoch: int, attributes: Mapping[str, Any]) -> bool:
        """Put the trial back into the queue after this epoch, from which it may go on later.

        Returns:
            False if the slot no longer holds the trial.
        """

        def body(session: orm.Session) -> bool:
            if not self._holds(session, slot_id, trial_id):
                return self._settled_already(session, slot_id, trial_id, TrialState.WAITING, None)
            TRIAL_USER.write(session, trial_id, attributes)
            pausing.note_pause(session, trial_id, epoch, machine())
            _set(session, trial_id, state=TrialState.WAITING)
            session.execute(sa.update(SLOTS).where(SLOTS.c.slot_id == slot_id).values(trial_id=None, epoch=0))
            limits.enforce(session, self.study_id)
            return True

        return self.storage.transaction(body)

    def settle_paused(self, reasons: Mapping[int, str]) -> list[int]:
        """Settle paused trials, by their numbers, as pruned, each for a reason in words; those that were settled.

        Its value is what it reported last. One that has gone on meanwhile, or that somebody asked for, stays as it is.
        """

        def body(session: orm.Session) -> list[int]:
            hold_study(session, self.study_id)
            self._check_study(session)
            asked = {trial_id for (trial_id,) in session.execute(pausing.to_its_end(self.study_id).limit(None))}
            query = sa.select(TRIALS.c.trial_id, TRIALS.c.number).where(pausing.paused(self.study_id))
            found = session.execute(query.order_by(TRIALS.c.number).with_for_update(skip_locked=True)).all()
            settled = [each for each in found if each.number in reasons and each.trial_id not in asked]
            for trial_id, number in settled:
                value = pausing.last_report(session, trial_id)
                TRIAL_USER.write(session, trial_id, {"reason": reasons[number]})
                TRIAL_SYSTEM.write(session, trial_id, named_artifacts(trial_id))
                if value is not None:
                    write_value(session, trial_id, value)
                _set(session, trial_id, state=TrialState.PRUNED, datetime_complete=utc_now())
            if settled:
                limits.enforce(session, self.study_id)
            return [number for _, number in settled]

        return self.storage.transaction(body)

    def thaw(self, numbers: Collection[int]) -> list[int]:
        """Have those of the trials with these numbers that paused, or were pruned, be trained to their end, and soon.

        They go on from their checkpoints, if those are still there. Returns the numbers of those that wait for it now.
        Trials in other states stay as they are.
        """

        def body(session: orm.Session) -> list[int]:
            hold_study(session, self.study_id)
            query = sa.select(TRIALS.c.trial_id, TRIALS.c.number)
            query = query.where(pausing.unfinished(self.study_id), TRIALS.c.number.in_(numbers))
            found = session.execute(query.order_by(TRIALS.c.number).with_for_update()).all()
            for trial_id, _ in found:
                TRIAL_USER.remove(session, trial_id, "reason")
                session.execute(sa.delete(VALUES).where(VALUES.c.trial_id == trial_id))
                TRIAL_SYSTEM.write(session, trial_id, {pausing.TO_ITS_END: True})
                _set(session, trial_id, state=TrialState.WAITING, datetime_complete=None)
            return [number for _, number in found]

        return self.storage.transaction(body)

    def beat(self, slot_ids: Sequence[str]) -> None:
        """Give a sign of life for these slots."""
        self.storage.transaction(lambda session: self._beat(session, slot_ids))

    def reap(self, slot_ids: Iterable[str]) -> None:
        """Remove slots whose worker is dead; the trials that they held go back into the queue, one crash more each."""
        for slot, told in self._release(list(slot_ids), crashed=True, reason="the worker died"):
            log.warning("slot %s is taken for dead (%s, host %s, process %d); %s", *slot, told or "it held no trial")

    def request_stop(self, *, now: bool) -> None:
        """Have all workers of the study take no new trial, and `now`, give back those they run."""

        def body(session: orm.Session) -> None:
            hold_study(session, self.study_id)
            STUDY_SYSTEM.write(session, self.study_id, {STOP: "now" if now else "after"})

        self.storage.transaction(body)

    def begin(self, within: Limits | None = None) -> None:
        """Let trials be taken, again if the study was to stop, until they are settled or a limit is reached.

        None leaves the study its limits: if one is reached, it stops again at once.
        """

        def body(session: orm.Session) -> None:
            hold_study(session, self.study_id)
            limits.begin(session, self.study_id, within or limits.of_study(session, self.study_id))

        self.storage.transaction(body)

    def enough(self, expected_gain: float) -> bool:
        """Whether the study is to end since its sampler expects no more of the next trial; then no trial is taken."""
        return self.storage.transaction(lambda session: limits.enough(session, self.study_id, expected_gain))

    def uncount(self, trial_id: int, crashes: int) -> None:
        """Have a trial that crashed for no fault of its own count `crashes` crashes and no more.

        If it failed for good by the others, it waits again.
        """

        def body(session: orm.Session) -> None:
            hold_study(session, self.study_id)
            if _attempts(session, trial_id) <= crashes:
                return
            if (TRIAL_USER.read(session, trial_id, "crashes") or 0) > crashes:
                self._revive(session, TRIALS.c.trial_id == trial_id)
            TRIAL_SYSTEM.write(session, trial_id, {ATTEMPTS: crashes})

        self.storage.transaction(body)

    def retry(self, numbers: Collection[int]) -> None:
        """Put those of the trials with these numbers that failed for good back into the queue.

        Such a trial then is as one that was given back: its number, values, reports and epochs stay, so that training
        goes on from its checkpoint, if that is still there. Why it failed is forgotten, and its crashes are counted
        from none. Trials in other states stay as they are: a second call finds nothing to do.
        """

        def body(session: orm.Session) -> list[int]:
            hold_study(session, self.study_id)
            return self._revive(session, TRIALS.c.number.in_(numbers))

        for number in self.storage.transaction(body):
            log.info("trial %d, which had failed for good, went back into the queue", number)

    def _revive(self, session: orm.Session, which: sa.ColumnElement[bool]) -> list[int]:
        """Put the failed trials for which `which` holds back, as if they had never crashed; their numbers."""
        failed = sa.select(TRIALS.c.trial_id, TRIALS.c.number).where(
            TRIALS.c.study_id == self.study_id, TRIALS.c.state == TrialState.FAIL, which
        )
        found = session.execute(failed.order_by(TRIALS.c.number).with_for_update()).all()
        for trial_id, _ in found:
            TRIAL_USER.remove(session, trial_id, *OF_A_FAILURE)
            TRIAL_SYSTEM.remove(session, trial_id, ATTEMPTS)
            _set(session, trial_id, state=TrialState.WAITING, datetime_complete=None)
        return [number for _, number in found]

    def _is_the_study(self, session: orm.Session) -> bool:
        return self._uid is None or STUDY_USER.read(session, self.study_id, "uid") == self._uid

    def _check_study(self, session: orm.Session) -> None:
        if not self._is_the_study(session):
            raise StudyGoneError(f"the study with the id {self.study_id} was deleted")

    def _given(self, session: orm.Session) -> list[int]:
        """The numbers of `enqueue`'s trials."""
        given = STUDY_SYSTEM.read(session, self.study_id, GIVEN)
        return [number for number in given if is_whole(number)] if isinstance(given, list) else []

    def _next(self, session: orm.Session, after: int, wishes: Sequence[int | None] | None) -> int | None:
        """The id of the trial that is to be taken, held for the caller."""
        if (stop := self._stop(session)) is not None:
            if stop == "now" or wishes is None or STUDY_SYSTEM.read(session, self.study_id, STOPPED_BY) is None:
                return None
            wishes = [number for number in wishes if number is not pausing.NEW]
        new = self._first_waiting(session, after)
        if wishes is None:
            found = session.scalar(new)
            return None if found is None else int(found)
        asked = session.scalar(pausing.to_its_end(self.study_id).with_for_update(skip_locked=True))
        if asked is not None:
            return int(asked)
        if (given := self._given(session)) and (
            (found := session.scalar(new.where(TRIALS.c.number.in_(given), ~pausing.has_reported()))) is not None
        ):
            return int(found)
        pausing.note_next(session, self.study_id, wishes)
        return pausing.first_wanted(session, self.study_id, wishes, new)

    def _first_waiting(self, session: orm.Session, after: int) -> sa.Select[Any]:
        waiting = TRIALS.c.state == TrialState.WAITING
        query = sa.select(TRIALS.c.trial_id).where(TRIALS.c.study_id == self.study_id, waiting)
        if given := [number for number in self._given(session) if number != after]:
            query = query.order_by(TRIALS.c.number.not_in(given))
        # Postgres: a row that another worker is taking right now is passed over instead of waited for.
        return query.order_by(TRIALS.c.number <= after, TRIALS.c.number).limit(1).with_for_update(skip_locked=True)

    def _beat(self, session: orm.Session, slot_ids: Sequence[str], **values: Any) -> bool:
        beat = sa.update(SLOTS).where(SLOTS.c.slot_id.in_(slot_ids))
        result = session.execute(beat.values(beats=SLOTS.c.beats + 1, beat_at=self._now(), **values))
        return bool(getattr(result, "rowcount", 0))

    def _holds(self, session: orm.Session, slot_id: str, trial_id: int, **values: Any) -> bool:
        """Beat, and tell whether the slot still holds the trial and the trial still runs."""
        held = sa.update(SLOTS).where(SLOTS.c.slot_id == slot_id, SLOTS.c.trial_id == trial_id)
        result = session.execute(held.values(beats=SLOTS.c.beats + 1, beat_at=self._now(), **values))
        if not getattr(result, "rowcount", 0) or not self._is_the_study(session):
            return False
        # Somebody may have deleted the trial, or told its result, from the dashboard.
        state = session.scalar(sa.select(TRIALS.c.state).where(TRIALS.c.trial_id == trial_id).with_for_update())
        if state == TrialState.RUNNING:
            return True
        session.execute(sa.update(SLOTS).where(SLOTS.c.slot_id == slot_id).values(trial_id=None, epoch=0))
        return False

    def _settled_already(
        self, session: orm.Session, slot_id: str, trial_id: int, state: TrialState, value: float | None
    ) -> bool:
        """Whether this very slot settled the trial before: its answer was lost on the way, and it asks again."""
        found = session.scalar(sa.select(TRIALS.c.state).where(TRIALS.c.trial_id == trial_id))
        slot = session.scalar(sa.select(SLOTS.c.slot_id).where(SLOTS.c.slot_id == slot_id, SLOTS.c.trial_id.is_(None)))
        if slot is None or found != state:
            return False
        stored = session.scalar(sa.select(VALUES.c.value).where(VALUES.c.trial_id == trial_id))
        return value is None or stored == value

    def _release(
        self, slot_ids: Sequence[str], *, crashed: bool, reason: str
    ) -> list[tuple[Sequence[Any], str | None]]:
        """The slots that were removed (id, device, host, pid), each with what became of its trial, in words."""
        columns = (SLOTS.c.slot_id, SLOTS.c.device, SLOTS.c.host, SLOTS.c.pid, SLOTS.c.trial_id)

        def body(session: orm.Session) -> list[tuple[Sequence[Any], str | None]]:
            gone = session.execute(sa.delete(SLOTS).where(SLOTS.c.slot_id.in_(slot_ids)).returning(*columns)).all()
            return [
                (slot, self._requeue(session, trial_id, crashed=crashed, failure="crashed", reason=reason))
                for *slot, trial_id in gone
            ]

        return self.storage.transaction(body) if slot_ids else []

    def _requeue(
        self, session: orm.Session, trial_id: int | None, *, crashed: bool, failure: str, reason: str
    ) -> str | None:
        """Put the trial back, or have it fail for good, and say so in words; None if it does not run."""
        running = (TRIALS.c.trial_id == trial_id, TRIALS.c.state == TrialState.RUNNING)
        number = session.scalar(sa.select(TRIALS.c.number).where(*running).with_for_update())
        if trial_id is None or number is None:
            return None
        attempts = _attempts(session, trial_id) + crashed
        if crashed:
            TRIAL_SYSTEM.write(session, trial_id, {ATTEMPTS: attempts})
        if attempts > RETRIES:
            TRIAL_USER.write(session, trial_id, {"failure": failure, "reason": reason, "crashes": attempts})
            _set(session, trial_id, state=TrialState.FAIL, datetime_complete=utc_now())
            return f"trial {number} failed for good: {one_line(failure_in_words(failure, reason, attempts))}"
        _set(session, trial_id, state=TrialState.WAITING)
        why = f"crash {attempts}: {failure_in_words(failure, reason)}" if crashed else reason
        return f"trial {number} went back into the queue, {one_line(why or 'its slot lets go of it')}"


def remove_orphans(session: orm.Session) -> None:
    """Forget the epochs and slots of trials and studies that somebody deleted."""
    session.execute(sa.delete(EPOCHS).where(EPOCHS.c.trial_id.not_in(sa.select(TRIALS.c.trial_id))))
    session.execute(sa.delete(SLOTS).where(SLOTS.c.study_id.not_in(sa.select(STUDIES.c.study_id))))


def delete_study(storage: Storage, study_id: int) -> None:
    """Delete a study in one transaction, another program's too: all that Optuna keeps of it, and our slots and epochs.

    Workers that are at it find their trials gone, and end. Where it is gone already, nothing is left to do.
    """

    def body(session: orm.Session) -> None:
        hold_study(session, study_id)
        remove_study(session, study_id)
        remove_orphans(session)

    storage.transaction(body)


def _attempts(session: orm.Session, trial_id: int) -> int:
    attempts = TRIAL_SYSTEM.read(session, trial_id, ATTEMPTS)
    return attempts if is_whole(attempts) else 0


def _to_its_end(session: orm.Session, trial_id: int) -> bool:
    return TRIAL_SYSTEM.read(session, trial_id, pausing.TO_ITS_END) is True


def _set(session: orm.Session, trial_id: int, **values: Any) -> None:
    session.execute(sa.update(TRIALS).where(TRIALS.c.trial_id == trial_id).values(**values))

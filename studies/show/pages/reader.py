"""What the pages know of studies and trials: read through one cache, and worded alike."""

from __future__ import annotations

from dataclasses import dataclass

from optuna.trial import FrozenTrial, TrialState

from studies.queue.standing import ATTEMPTS
from studies.record import cost
from studies.record.catalog import StudyError, StudyRecord, all_studies, top_trials
from studies.record.curves import value_of
from studies.record.published import PAPER_SCORE, stands_beside
from studies.record.retrained import Retrained, read
from studies.show.filters import plain
from studies.store.cache import AllTrials
from studies.store.storage import Storage
from studies.words import duration, failure_of, one_line, state_word


@dataclass(frozen=True)
class Best:
    """The best complete trial, and by how much."""

    number: int
    value: float
    is_baseline: bool
    over_baseline: float | None
    """None if no baseline is complete, or if it is the best itself."""
    over_paper: float | None
    """None if network or images are not the paper's."""
    retrained: Retrained | None
    """What training it again came to, if somebody did."""


@dataclass(frozen=True)
class TrialRow:
    """One trial as a line of a table."""

    number: int
    state: str
    value: float | None
    """A complete one's value, another's last reported one."""
    epochs: str
    took: str
    settings: tuple[tuple[str, str], ...]
    """What was searched, and what this trial got."""
    reason: str
    attempts: int
    """How many of its runs ended in a crash."""


class Reader:
    """The studies of a database. Shared by the threads of the server."""

    def __init__(self, storage: Storage, cached: AllTrials) -> None:
        self.storage = storage
        self._cached = cached

    def study(self, study_id: int) -> StudyRecord:
        """Raises StudyError if there is none."""
        for study in all_studies(self.storage):
            if study.study_id == study_id:
                return study
        raise StudyError("There is no such study: it was deleted, or never was.")

    def trials(self, study: StudyRecord) -> list[FrozenTrial]:
        """All trials of the study, by number. Others see them too: don't change them."""
        return self._cached.get_all_trials(study.study_id, deepcopy=False)

    def trial(self, study: StudyRecord, number: int) -> FrozenTrial:
        """One trial, without reading the others. Raises StudyError if there is none."""
        try:
            trial_id = self._cached.get_trial_id_from_study_id_trial_number(study.study_id, number)
            return self._cached.get_trial(trial_id)
        except (KeyError, OverflowError):
            raise StudyError(f"Study {study.shown} has no trial {number}.") from None

    def best(self, study: StudyRecord) -> tuple[Best, FrozenTrial] | None:
        """The best trial; None if none is complete, or if the study, another program's, has several objectives."""
        top = top_trials(self.storage, study, 1)
        if not top or top[0].value is None:
            return None
        value, baseline = top[0].value, self.baseline(study)
        is_baseline = baseline is not None and top[0].number == 0
        return Best(
            number=top[0].number,
            value=value,
            is_baseline=is_baseline,
            over_baseline=None if is_baseline or baseline is None else value - baseline,
            over_paper=value - PAPER_SCORE if has_paper(study) else None,
            retrained=read(study).get(top[0].number),
        ), top[0]

    def baseline(self, study: StudyRecord) -> float | None:
        """The value of the configuration to beat, which was tried first; None if there is none, or none yet."""
        if not study.is_ours or not study.attributes["space"].get("baseline"):
            return None
        try:
            first = self.trial(study, 0)
        except StudyError:  # nothing is in its queue yet
            return None
        return first.value if first.state is TrialState.COMPLETE else None


def has_paper(study: StudyRecord) -> bool:
    """Whether the paper's numbers may stand beside this study's."""
    return study.is_ours and stands_beside(study.attributes)


def last_value(trial: FrozenTrial) -> float | None:
    """A complete trial's value, another's last reported one; None if a trial has several values."""
    return None if trial.values is not None and len(trial.values) > 1 else value_of(trial)


def planned_epochs(trial: FrozenTrial) -> int | None:
    """How many epochs its configuration has; None if another program made it, or it has not started."""
    return cost.planned_epochs(trial.user_attrs.get("config"))


def settings_of(trial: FrozenTrial) -> tuple[tuple[str, str], ...]:
    """What the sampler chose; for a trial that waits with given values, these."""
    chosen = trial.params or trial.system_attrs.get("fixed_params", {})
    return tuple((one_line(name), plain(value)) for name, value in chosen.items())


def row_of(trial: FrozenTrial) -> TrialRow:
    done, planned = len(trial.intermediate_values), planned_epochs(trial)
    seconds = trial.user_attrs.get("seconds")
    return TrialRow(
        number=trial.number,
        state=state_word(trial),
        value=last_value(trial),
        epochs=(f"{done} of {planned}" if planned else str(done)) if done else "",
        took=duration(seconds) if isinstance(seconds, (int, float)) else "",
        settings=settings_of(trial),
        reason=failure_of(trial.user_attrs),
        attempts=int(trial.system_attrs.get(ATTEMPTS, 0)),
    )

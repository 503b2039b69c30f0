"""What a study has found, in one value: what note, report, pages and the Python interface all say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from studies.queue.queue import Queue
from studies.queue.standing import Counts
from studies.record.catalog import StudyRecord
from studies.record.cost import Ledger, ledger
from studies.record.curves import best_of, value_of
from studies.record.metric import Metric, Trains, trains
from studies.record.published import is_of_paper, stands_beside
from studies.record.retrained import Retrained, read
from studies.store.storage import Storage
from studies.words import images, is_searched, listed, parameter

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


@dataclass(frozen=True)
class Findings:
    """What a study of ours has come to."""

    study: StudyRecord
    trials: Sequence[FrozenTrial]
    """By number; those that wait may be missing."""
    counts: Counts
    best: FrozenTrial | None
    """The complete trial with the best value."""
    baseline: FrozenTrial | None
    """The trial of the configuration that is to be beaten, once it is complete."""
    ledger: Ledger
    verified: Retrained | None
    """What retraining the best trial came to; if it was not retrained, of the trial that was retrained last."""

    @property
    def data(self) -> Mapping[str, Any]:
        data: Mapping[str, Any] = self.study.attributes["data"]
        return data

    @property
    def metric(self) -> Metric:
        return self.study.metric

    @property
    def trains(self) -> Trains:
        return trains(self.study.attributes)

    @property
    def is_own(self) -> bool:
        """Whether the training is the user's own: there are no images that we know of."""
        return self.trains.kind == "own"

    @property
    def of_paper(self) -> bool:
        """Whether the paper's numbers are about this network and these images."""
        return is_of_paper(self.study.attributes)

    @property
    def beside_paper(self) -> bool:
        """Whether the paper's curve may be drawn beside this study's."""
        return stands_beside(self.study.attributes)

    @property
    def gain_over_baseline(self) -> float | None:
        """The best value less the baseline's: of a metric that is minimised, a gain is below zero."""
        if self.best is None or self.baseline is None:
            return None
        return (value_of(self.best) or 0.0) - (value_of(self.baseline) or 0.0)

    @property
    def space(self) -> Mapping[str, Any]:
        space: Mapping[str, Any] = self.study.attributes["space"].get("space", {})
        return space

    @property
    def question(self) -> str:
        searched = [name for name, stored in self.space.items() if is_searched(stored)]
        what = "the network" if self.trains.kind == "alexnet" else self.trains.text
        if not searched:
            return f"Which {self.metric.title} does {what} reach?"
        give = "give" if len(searched) > 1 else "gives"
        return f"Which {listed(searched)} {give} {what} its {self.metric.best_word} {self.metric.title}?"

    @property
    def images(self) -> str:
        """The data in words: "45,000 training and 5,000 validation images of cifar10"; else what is trained."""
        return images(self.data)

    @property
    def space_lines(self) -> list[tuple[str, str]]:
        """Each searched parameter and what it may be, in words, and on one line what is fixed."""
        lines = [(name, parameter(stored)) for name, stored in self.space.items() if is_searched(stored)]
        fixed = [f"{name} {parameter(stored)}" for name, stored in self.space.items() if not is_searched(stored)]
        return [*lines, ("fixed", ", ".join(fixed))] if fixed else lines


def findings_of(storage: Storage, study: StudyRecord, trials: Sequence[FrozenTrial] | None = None) -> Findings:
    """What `study` has come to so far. A caller that has the `trials` already spares reading them."""
    if trials is None:
        trials = storage.get_all_trials(study.study_id, deepcopy=False)
    known = sorted(trials, key=lambda trial: trial.number)
    best = best_of(known, smallest=study.metric.smaller_is_better)
    first = known[0] if known and known[0].number == 0 and study.attributes["space"].get("baseline") else None
    retrained = read(study)
    own = retrained.get(best.number) if best else None
    return Findings(
        study=study,
        trials=known,
        counts=Queue(storage, study.study_id).counts(),
        best=best,
        baseline=first if first is not None and first.state.name == "COMPLETE" else None,
        ledger=ledger(storage, study.study_id),
        verified=own or max(retrained.values(), key=lambda each: each.finished, default=None),
    )

"""What became of a study's trials when they were trained again: kept with the study, so that all its pages can say it.

A search's best value is the highest of many noisy ones, so it is too good; how much too good, fresh trainings tell.
Four user attributes of the study hold it:

retrained   {trial number: record}, measured on the test images by networks trained on all training images
reproduced  {trial number: record}, measured on the search's validation images by networks trained on its split
stretched   {"7, test, 100 epochs": record}, either of both over other epochs than the trial's: it says nothing of it
verified    what `alexsearch verify` concluded from its last comparison of the study's best trials
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import fmean, stdev
from typing import Any, Literal, TypeVar

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import orm

from studies.record.catalog import StudyRecord
from studies.record.metric import ACCURACY, Metric, trains
from studies.record.published import PAPER_SCORE
from studies.store.attributes import STUDY_USER
from studies.store.storage import Storage
from studies.store.tables import hold_study

CONFIDENCE = 0.95
SIGNIFICANT = 0.05
SPARSE = ("metric", "stretched")

Split = Literal["test", "validation"]
T = TypeVar("T")


@dataclass(frozen=True)
class Retrained:
    """What one trial's configuration came to when it was trained again, once a seed."""

    trial: int
    """Its number in the study."""
    searched: float
    """The value that the search had recorded for it."""
    split: Split
    """What it was measured on: the test images (or whatever a training of one's own tests on), or the search's own
    validation images."""
    seeds: tuple[int, ...]
    scores: tuple[float, ...]
    """What each seed came to."""
    mean: float
    spread: float | None
    """Sample standard deviation over the seeds; None with one seed."""
    interval: tuple[float, float] | None
    """95% confidence interval of the mean by Student's t; None with one seed."""
    images: int
    """How many images each network was trained on; 0 if that is not known."""
    finished: str
    """UTC, ISO 8601."""
    folder: str | None = None
    """Where models, metrics and the page are, on the machine that made them."""
    report: float | None = None
    """The report's score, where the images are CIFAR-10's test images; None otherwise."""
    metric: Metric | None = None
    """What was measured; None for the accuracy of a network on images."""
    stretched: int | None = None
    """To how many epochs the trial's schedule was stretched; None if it was trained as in the search."""

    @property
    def measure(self) -> Metric:
        """What was measured."""
        return self.metric or ACCURACY

    @property
    def optimism(self) -> float:
        """How much better the search thought it than it is; below zero if it thought it worse."""
        return self.measure.ahead(self.searched, self.mean)

    @property
    def gain(self) -> float | None:
        """How much better than the report; None if nothing is to be compared."""
        return None if self.report is None else self.mean - self.report

    def in_words(self) -> str:
        """ "searched 0.7712, retrained 0.7654 +- 0.0031 (5 seeds), optimism 0.0058, report 0.7081, gain 0.0573"."""
        shown = self.measure.shown
        spread = "" if self.spread is None else f" +- {shown(self.spread)}"
        seeds = f"{len(self.seeds)} seed{'s' * (len(self.seeds) > 1)}"
        words = [f"searched {shown(self.searched)}", f"retrained {shown(self.mean)}{spread} ({seeds})"]
        # The search never trained it so long: what lies between both is no optimism of the search's.
        stretched = f"stretched to {self.stretched} epochs"
        words.append(stretched if self.stretched else f"optimism {shown(self.optimism)}")
        if self.report is not None:
            words += [f"report {self.report:.4f}", f"gain {self.gain:.4f}"]
        return ", ".join(words)


@dataclass(frozen=True)
class Verified:
    """What `alexsearch verify` concluded: which of the best trials is the best on fresh seeds, and how surely."""

    candidates: tuple[int, ...]
    """Trial numbers, the best on fresh seeds first; their records are in `reproduced`."""
    picked: int
    second: int | None
    """None if only one trial could be compared."""
    p_value: float | None
    """Two-sided, of Welch's t-test between the scores of the first and the second; None if there is no test."""
    told_apart: bool
    """Whether `p_value` is below `SIGNIFICANT`."""
    finished: str
    """UTC, ISO 8601."""
    folder: str | None = None


def summarised(
    *,
    trial: int,
    searched: float,
    split: Split,
    scores: Mapping[int, float],
    images: int,
    finished: str,
    folder: str | None = None,
    is_cifar10: bool = False,
    metric: Metric | None = None,
    stretched: int | None = None,
) -> Retrained:
    """The record of one retraining; `scores` are the values by seed. Raises ValueError without any.

    `is_cifar10` says whether it is the paper's network on the paper's images.
    """
    if not scores:
        raise ValueError("there is no score to sum up")
    values = tuple(scores.values())
    return Retrained(
        trial=trial,
        searched=searched,
        split=split,
        seeds=tuple(scores),
        scores=values,
        mean=fmean(values),
        spread=stdev(values) if len(values) > 1 else None,
        interval=confidence_interval(values),
        images=images,
        finished=finished,
        folder=folder,
        report=PAPER_SCORE if is_cifar10 and split == "test" else None,
        metric=metric,
        stretched=stretched,
    )


def confidence_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Where the mean of what `values` were drawn from lies with 95% confidence, by Student's t; None for one value.

    Student (1908), "The probable error of a mean", Biometrika 6: mean -+ t(0.975, n - 1) s / sqrt(n).
    """
    half = _student_t(len(values)) * stdev(values) / len(values) ** 0.5 if len(values) > 1 else None
    return None if half is None else (fmean(values) - half, fmean(values) + half)


def next_seed_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Where one more value drawn like `values` lies with 95% probability; None for one value.

    The usual prediction interval of a normal sample: mean -+ t(0.975, n - 1) s sqrt(1 + 1/n).
    """
    half = _student_t(len(values)) * stdev(values) * (1 + 1 / len(values)) ** 0.5 if len(values) > 1 else None
    return None if half is None else (fmean(values) - half, fmean(values) + half)


def welch(first: Sequence[float], second: Sequence[float]) -> float | None:
    """How likely scores so far apart are where both were drawn around one mean: two-sided p of Welch's t-test.

    None if there is no test: a sample of one, or two without any spread. Welch (1947), "The generalization of
    'Student's' problem when several different population variances are involved", Biometrika 34. Unpaired, because two
    configurations share nothing by sharing a seed: their batches differ.
    """
    if min(len(first), len(second)) < 2 or stdev(first) == stdev(second) == 0:
        return None
    from scipy import stats

    return float(stats.ttest_ind(first, second, equal_var=False).pvalue)


def _student_t(count: int) -> float:
    from scipy import stats  # half a second to import, and `status` needs none of it

    return float(stats.t.ppf((1 + CONFIDENCE) / 2, count - 1))


def reproduces(one: Retrained) -> tuple[bool | None, str]:
    """Whether the searched score is one that a fresh seed would give, and the answer in words; None: can't be told.

    For a record on the validation split: same images, same measure, other seeds. The question is put to the interval
    that one more seed falls into with 95% probability. Selection favours the upper end, so a score inside it may still
    be optimistic: by how much, `optimism` says.
    """
    within, shown = next_seed_interval(one.scores), one.measure.shown
    searched = shown(one.searched)
    if within is None:
        return None, (
            f"One seed can't tell: it came to {shown(one.mean)}, the search had {searched}. Use two seeds or more."
        )
    low, high = within
    if low == high and one.searched != low:
        return (
            None,
            f"All {len(one.seeds)} seeds came to {shown(low)}, the search had {searched}: no spread to judge by.",
        )
    expected = f"what a fresh seed gives, {shown(low)} to {shown(high)} (95%, {len(one.seeds)} seeds)"
    lucky = "lucky" if one.measure.better(one.searched, one.mean) else "unlucky"
    if one.searched > high:
        return False, f"No: the search's {searched} is more than {expected}. It was {lucky}."
    if one.searched < low:
        return False, f"No: the search's {searched} is less than {expected}. It was {lucky}."
    return True, f"Yes: the search's {searched} lies within {expected}."


def record(storage: Storage, study: StudyRecord, retrained: Retrained) -> None:
    """Keep a trial's retraining with its study, in place of an earlier one on the same split, as far stretched.

    Raises:
        StorageError: the database stayed away.
    """
    key, name = "retrained" if retrained.split == "test" else "reproduced", str(retrained.trial)
    if retrained.stretched is not None:
        key, name = "stretched", f"{retrained.trial}, {retrained.split}, {retrained.stretched} epochs"
    # What most retrainings lack is not kept, as it was before there was any.
    kept = {field: each for field, each in asdict(retrained).items() if field not in SPARSE or each is not None}
    _update(storage, study, key, lambda old: {**(old if isinstance(old, Mapping) else {}), name: kept})


def record_verified(storage: Storage, study: StudyRecord, verified: Verified) -> None:
    """Keep what a comparison of the best trials came to, in place of an earlier one. Raises StorageError."""
    _update(storage, study, "verified", lambda _old: asdict(verified))


def read(study: StudyRecord) -> dict[int, Retrained]:
    """By trial number, what retraining came to: on the test images where it was measured there, else on validation's.

    What is stored is checked, and left out where something else than alexsearch has written it.
    """
    return {**reproduced(study), **_records(study, "retrained")}


def reproduced(study: StudyRecord) -> dict[int, Retrained]:
    """By trial number, what retraining on the search's own split came to."""
    return _records(study, "reproduced")


def stretched(study: StudyRecord) -> list[Retrained]:
    """What retraining over other epochs than the trials' came to."""
    return _checked_all(study, "stretched")


def verified(study: StudyRecord) -> Verified | None:
    """What the last `alexsearch verify` concluded; None if there was none."""
    return _checked(study.attributes.get("verified"), Verified)


def _records(study: StudyRecord, key: str) -> dict[int, Retrained]:
    return {one.trial: one for one in _checked_all(study, key)}


def _checked_all(study: StudyRecord, key: str) -> list[Retrained]:
    stored = study.attributes.get(key)
    records = stored.values() if isinstance(stored, Mapping) else []
    found = [one for each in records if (one := _checked(each, Retrained)) is not None]
    if trains(study.attributes).kind != "alexnet":  # the paper's score is nothing that another network has to beat
        found = [replace(one, report=None) for one in found]
    return sorted(found, key=lambda one: one.trial)


def _checked(stored: object, kind: type[T]) -> T | None:
    try:
        return TypeAdapter(kind).validate_python(stored)
    except ValidationError:
        return None


def _update(storage: Storage, study: StudyRecord, key: str, change: Callable[[Any], Any]) -> None:
    """Change one user attribute of the study in one transaction: two retrainings may end at the same time."""

    def body(session: orm.Session) -> None:
        hold_study(session, study.study_id)
        STUDY_USER.write(session, study.study_id, {key: change(STUDY_USER.read(session, study.study_id, key))})

    storage.transaction(body)

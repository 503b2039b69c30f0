"""Which of a study's best trials is the best, and how good it is: on fresh seeds, then once on the test set.

The highest of many noisy scores is too high, and its trial need not be the best (the winner's curse). So the few best
are trained again with seeds that no trial of the search had, on the search's own split, and the best mean is picked.
Picking is all that the validation images are used for here; only the picked trial is trained on all training images,
and only its networks meet the test set.

    OUT/trial-00007/     each candidate's seeds: what `search.retraining.retrain` leaves, without networks
    OUT/picked-00007/    the picked trial's retraining, whole; its page says how it was chosen
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial

from model.config import TrainConfig, TrainError
from model.schedule import stretched
from search.base.mistakes import InputError
from search.base.provenance import utc
from search.retraining.jobs import Means
from search.retraining.own import metric_of, refuse_changed, score_of
from search.retraining.recipe import OwnRecipe, Recipe
from search.retraining.recipes import recipe_of
from search.retraining.records import KeptJob, Record, RecordingWorkshop, claimed
from search.retraining.results import Images, stretched_to, stretching
from search.retraining.retrain import Outcome, apart, check_stretches, open_workshop, retrain, seed_jobs, written_back
from search.retraining.view import SILENT, Candidate, View
from studies.record.catalog import StudyRecord, best_trial, find_study, top_trials
from studies.record.retrained import SIGNIFICANT, Verified, read, record, record_verified, summarised, welch
from studies.record.retrained import stretched as stretched_records
from studies.store.storage import Storage
from studies.words import duration

PICKED_FROM = 1000
"""The first fresh seed of the picked trial's retraining: candidates are compared on those below."""


@dataclass(frozen=True)
class Verification:
    """What a comparison of the best trials came to."""

    candidates: tuple[Candidate, ...]
    """The best on fresh seeds first, those that diverged last."""
    verified: Verified
    text: str
    """In words: which is the best, and how surely."""
    outcome: Outcome
    """Of the picked one, on all training images and the test set."""


def verify_study(
    storage: Storage,
    name: str | None,
    *,
    top: int,
    seeds: int,
    out: Path | None,
    means: Means,
    epochs: int | None = None,
    force: bool = False,
    view: View = SILENT,
) -> Verification:
    """Compare the best `top` trials of a study on `seeds` fresh seeds each, and retrain the best of them.

    With `epochs`, all of them are stretched to so many: which is the best then may be another. What is concluded is
    then not kept as the study's.

    Raises:
        StudyError: no such study, or no complete trial in it.
        InputError: a setting is wrong, the images are not the study's, or `out` holds something else (not with
            `force`).
        DataError: the data can't be used.
        model.config.TrainError: a training failed, or every candidate diverged.
        StorageError: the database stayed away.
    """
    study = find_study(storage, name)
    if not study.is_ours:
        raise InputError(
            f"study {study.shown!r} {study.not_ours}, so it has no trials to train again. "
            "Name one of ours with --study: `alexsearch studies` lists them."
        )
    trials = _distinct(storage, study, top, epochs)
    recipes = [recipe_of(storage, study, trial) for trial in trials]
    check_stretches(recipes[0], epochs)
    means.home.check_writable()
    out = out or apart(means.home.verify(study.folder, study.attributes["uid"]), epochs)
    with claimed(out, force=force):
        shop, images = open_workshop(recipes[0], "validation", means, view)
        if isinstance(recipes[0], OwnRecipe):
            refuse_changed(recipes[0], shop.own)
        else:
            refuse_changed(recipes[0], shop.own)
            _check_images(study, recipes, images)
        for found in images.notes:
            view.note(found)
        finally_ = "once more" if isinstance(recipes[0], OwnRecipe) else "on all training images"
        view.note(_plan(study, trials, seeds, epochs, finally_))
        for recipe in recipes if epochs else ():
            view.note(f"trial {recipe.trial}: stretched {stretching(recipe, epochs or recipe.config.epochs)}")
        compared = _compare(recipes, seeds, out, shop, images, epochs)
        for candidate in compared:
            if candidate.retrained:
                record(storage, study, candidate.retrained)
        verified, text = _conclusion(compared, out)
        text += _opened_before(study, verified.picked)
        view.compared(compared, verified)
        view.note(text)
        picked = compared[0].recipe
        shop, images = open_workshop(picked, "test", means, view)
        # Not the seeds it was picked by, and not the search's own; the same ones for any number of seeds.
        jobs = seed_jobs(picked, seeds, out / f"picked-{picked.trial:05d}", fresh_from=PICKED_FROM, epochs=epochs)
        comparison = {**asdict(verified), "text": text, "candidates": [_row(candidate) for candidate in compared]}
        outcome = retrain(picked, jobs, shop, images, comparison)
    if epochs is None:
        record_verified(storage, study, verified)
    return Verification(compared, verified, text, written_back(picked, outcome, means))


def _distinct(storage: Storage, study: StudyRecord, top: int, epochs: int | None) -> list[FrozenTrial]:
    """The best `top` complete trials, of those that differ in nothing but the seed the best one."""
    best_trial(storage, study)  # says what is missing if there is none
    chosen: dict[str, FrozenTrial] = {}
    for trial in top_trials(storage, study, 4 * top):
        values = trial.user_attrs.get("config", {})
        if epochs and "schedule" in values:
            values = stretched(TrainConfig.model_validate(values), epochs).model_dump()
        config = {key: value for key, value in values.items() if key != "seed"}
        chosen.setdefault(repr(sorted(config.items())), trial)
    return list(chosen.values())[:top]


def _check_images(study: StudyRecord, recipes: Sequence[Recipe], images: Images) -> None:
    from model.images import no_test_set

    if not images.has_test:
        raise no_test_set(images.source)
    if any(recipe.data_fingerprint != images.fingerprint for recipe in recipes):
        raise InputError(
            f"{images.source} is not the data of study {study.shown!r}: other pixels or labels. Its trials can only be "
            "compared on its own images: say where they are with --data."
        )


def _plan(study: StudyRecord, trials: Sequence[FrozenTrial], seeds: int, epochs: int | None, finally_: str) -> str:
    numbers = ", ".join(str(trial.number) for trial in trials)
    times = [epochs / trial.user_attrs["config"]["epochs"] if epochs else 1 for trial in trials]
    seconds = [float(trial.user_attrs.get("seconds", 0.0)) for trial in trials]
    took = sum(each * more for each, more in zip(seconds, times, strict=True)) * seeds
    return (
        f"study {study.shown}: trials {numbers} on {seeds} fresh seed{'s' * (seeds > 1)} each, about {duration(took)} "
        f"of training if it goes as in the search; then the best {finally_}"
    )


def _compare(
    recipes: Sequence[Recipe],
    seeds: int,
    out: Path,
    shop: RecordingWorkshop,
    images: Images,
    epochs: int | None,
) -> tuple[Candidate, ...]:
    """Train all candidates on the search's split; the best mean first. Raises TrainError if all diverged."""
    jobs: list[list[KeptJob]] = [
        seed_jobs(recipe, seeds, out / f"trial-{recipe.trial:05d}", fresh_from=0, keeps_models=False, epochs=epochs)
        for recipe in recipes
    ]
    records = iter(shop.train_kept([job for of_one in jobs for job in of_one]))
    candidates = [
        _candidate(recipe, [next(records) for _ in of_one], of_one, images)
        for recipe, of_one in zip(recipes, jobs, strict=True)
    ]
    if not any(candidate.retrained for candidate in candidates):
        raise TrainError(f"none of the trials can be trained again: {candidates[0].failure}")
    sign = 1 if metric_of(recipes[0]).smaller_is_better else -1
    return tuple(sorted(candidates, key=lambda one: sign * one.retrained.mean if one.retrained else math.inf))


def _candidate(recipe: Recipe, records: Sequence[Record], jobs: Sequence[KeptJob], images: Images) -> Candidate:
    for job, trained in zip(jobs, records, strict=True):
        if trained.failure:
            return Candidate(recipe, None, f"seed {job.config.seed} {trained.failure}")
    metric = metric_of(recipe)
    scores = {trained.config.seed: score_of(trained, metric.name, "validation") or 0.0 for trained in records}
    return Candidate(
        recipe,
        summarised(
            trial=recipe.trial,
            searched=recipe.value,
            split="validation",
            scores=scores,
            images=images.train,
            finished=utc(),
            folder=str(jobs[0].folder.resolve()),
            metric=metric if isinstance(recipe, OwnRecipe) else None,
            stretched=stretched_to(recipe, jobs[0].config.epochs),
        ),
    )


def _conclusion(candidates: Sequence[Candidate], out: Path) -> tuple[Verified, str]:
    """Which is the best, and whether it can be told from the next."""
    compared = [candidate.retrained for candidate in candidates if candidate.retrained]
    first, second = compared[0], compared[1] if len(compared) > 1 else None
    p_value = welch(first.scores, second.scores) if second else None
    verified = Verified(
        candidates=tuple(one.trial for one in compared),
        picked=first.trial,
        second=second.trial if second else None,
        p_value=p_value,
        told_apart=p_value is not None and p_value < SIGNIFICANT,
        finished=utc(),
        folder=str(out.resolve()),
    )
    text = f"Trial {first.trial} is picked"
    if second is None:
        return verified, f"{text}: there was no other to compare it with."
    seeds = f"{len(first.seeds)} fresh seeds each"
    if p_value is None:
        return verified, (
            f"{text}, but whether it is better than trial {second.trial} can't be told from one seed each, or from "
            "seeds that all came to the same score."
        )
    test = f"Welch's t-test, {seeds}, p = {p_value:.2g}"
    if verified.told_apart:
        return verified, f"{text}: it can be told from trial {second.trial}, the second ({test})."
    return verified, (
        f"{text}, but it can't be told from trial {second.trial}, the second ({test}): either may be the better one. "
        "More seeds tell more."
    )


def _opened_before(study: StudyRecord, picked: int) -> str:
    """What must be said if the test set was opened for another trial before: it is no fresh judge any more."""
    retrained = [*read(study).values(), *stretched_records(study)]
    others = sorted({one.trial for one in retrained if one.split == "test" and one.trial != picked})
    if not others:
        return ""
    trials = f"trial{'s' * (len(others) > 1)} {', '.join(map(str, others))}"
    return f" The test set was opened for {trials} of this study before: do not choose between them by its scores."


def _row(candidate: Candidate) -> Mapping[str, Any]:
    one = candidate.retrained
    return {
        "trial": candidate.recipe.trial,
        "searched": candidate.recipe.value,
        "mean": one.mean if one else None,
        "spread": one.spread if one else None,
        "scores": one.scores if one else (),
        "failure": candidate.failure,
    }

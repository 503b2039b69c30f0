"""A trial trained again from what is stored with it, and compared epoch by epoch with what was recorded.

Everything random derives from the trial's seed, so that on the same CPU, in float32, with the same number of threads,
versions and data the same numbers come out, bit for bit. Elsewhere sums are taken in another order, and rounding grows
from step to step: what comes out then is held against `TOLERANCE`.

Of training of one's own nobody here knows what may differ: how far off it is, is told, and only what is equal in every
bit is reproduced.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from model.config import DataSpec, DivergedError, EpochMetrics, Failure, TrainConfig
from search.base.configs import short
from search.base.mistakes import InputError
from search.base.provenance import provenance
from search.retraining.jobs import Client, Means, Workshop
from search.retraining.own import own_of_recipe, refuse_changed
from search.retraining.recipe import OwnRecipe, Recipe
from search.retraining.recipes import recipe_of
from search.retraining.view import SILENT, Happening, Job, Trained, View
from search.space.own import OwnEpoch
from search.training.messages import Epoch, ProgramFound, Ready
from studies.record.catalog import find_study, trial_by_number
from studies.store.storage import Storage
from studies.words import duration

METRICS: Final = ("loss", "accuracy", "val_loss", "val_accuracy")
TOLERANCE: Final = {"loss": 0.1, "accuracy": 0.04, "val_loss": 1.2, "val_accuracy": 0.1}
"""How far an epoch's metric may lie off if not every bit can agree: half as much again as the furthest apart that
trainings were seen to end up which differ in nothing but rounding. Measured on real CIFAR-10, 2,000 images, 4 epochs,
at learning rates 0.001, 0.01 and 0.1 (`tests/benchmarks/replay_tolerance.py`, 2 shared cores of an AMD EPYC with
AVX512-BF16, 2026-11-24): float32 with 1 and 2 threads and with AVX2 only: loss 0.058, accuracy 0.023, val_loss 0.65,
val_accuracy 0.068; bfloat16 with 1 and 2 threads, 1,000 images and 3 epochs: 0.069, 0.025, 0.81 and 0.030. val_loss is
that loose because of the rate 0.1; at the others it stayed within 0.05. Two orders of summation are 1% of a gradient
apart after one step already, so that no more than the same kind of curve can be asked of another machine."""
NOT_RECORDED: Final = "not recorded"


@dataclass(frozen=True)
class Difference:
    """Something that is not as it was when the trial ran."""

    what: str
    recorded: str
    here: str


@dataclass(frozen=True)
class Here:
    """What this replay runs on and with."""

    device: str
    kind: str
    """cpu or gpu"""
    threads: int | None
    data_fingerprint: str
    versions: Mapping[str, str]
    git_commit: str | None


def replay_trial(storage: Storage, name: str | None, number: int, means: Means, view: View = SILENT) -> dict[str, Any]:
    """Train trial `number` again and compare; `alexsearch replay --help` documents the keys.

    Raises:
        StudyError: no such study or trial, or it is not finished.
        InputError: alexsearch did not train it, or its epochs are not recorded.
        DataError: the data can't be used.
        model.config.TrainError: the training failed.
    """
    study = find_study(storage, name)
    trial = trial_by_number(storage, study, number)
    recipe = recipe_of(storage, study, trial)
    if not recipe.history:
        raise InputError(f"trial {number} of study {study.shown!r} has no epoch recorded: there is nothing to compare.")
    means.home.check_writable()
    replaying = _Replaying(study.shown, recipe, trial.user_attrs, view)
    own = own_of_recipe(recipe, means)
    refuse_changed(recipe, own)
    data = DataSpec() if isinstance(recipe, OwnRecipe) else recipe.data
    shop = Workshop(
        means=replace(means, workers=1),
        data=data.model_copy(update={"source": means.source or data.source}),
        own=own,
        validation="held-out",
        log=lambda place: means.home.log(study.name, f"replay-{place.name}"),
        view=view,
        threads=trial.user_attrs.get("threads"),
    )
    shop.train([Job(f"trial {number}", recipe.config)], replaying)
    return {
        "study": study.name,
        "trial": number,
        **verdict_of(replaying.compared, replaying.demanded),
        "tolerance": tolerance_of(recipe),
        "differences": [asdict(difference) for difference in replaying.differences],
        "device": replaying.here.device,
        "precision": recipe.config.precision if isinstance(recipe.config, TrainConfig) else None,
        "threads": replaying.here.threads,
        "epochs": replaying.compared,
    }


class _Replaying(Client):
    """Compares the epochs as they come."""

    here: Here
    differences: Sequence[Difference]
    demanded: str

    def __init__(self, study: str, recipe: Recipe, stored: Mapping[str, Any], view: View) -> None:
        self._study, self._recipe, self._stored, self._view = study, recipe, stored, view
        self.compared: list[dict[str, Any]] = []

    def opened(self, ready: Ready) -> None:
        device, ours = ready.device, provenance()
        versions = ours["versions"]
        if isinstance(ready.data, ProgramFound):
            versions = {"alexsearch": versions["alexsearch"], **ready.data.versions}
        self.here = Here(device.name, device.kind, device.threads, ready.data.fingerprint, versions, ours["git_commit"])
        self.differences = differences_of(self._recipe, self._stored, self.here)
        self.demanded = demanded_of(self._recipe, self.here, self.differences)
        if not self.compared:  # else another process goes on where one crashed
            _introduce(self._view, self._study, self._recipe, self.here, self.differences, self.demanded)

    def told(self, job: Job, happening: Happening) -> None:
        del job
        match happening:
            case Epoch(metrics=metrics) if len(self.compared) < metrics.epoch <= len(self._recipe.history):
                recorded = self._recipe.history[metrics.epoch - 1]
                self.compared.append(compare_epoch(recorded, metrics, tolerance_of(self._recipe)))
                self._view.note(_line(self.compared[-1]))
            case Trained(failure=Failure(text=text)):
                raise DivergedError(text)

    def goes_on(self, job: Job, epoch: int) -> bool:
        del job
        return epoch < len(self._recipe.history)


def differences_of(recipe: Recipe, stored: Mapping[str, Any], here: Here) -> list[Difference]:
    """All that is known to be other than when the trial ran, and what was not recorded.

    `stored` are the trial's attributes, for what its recipe does not hold.
    """

    def found() -> Iterator[tuple[str, Any, Any]]:
        yield "device", recipe.device, here.device
        if here.kind == "cpu":
            yield "threads", stored.get("threads"), here.threads
        yield "data fingerprint", recipe.data_fingerprint, here.data_fingerprint
        for package in sorted(recipe.versions.keys() | here.versions.keys()):
            yield package, recipe.versions.get(package), here.versions.get(package)
        changed = str(here.git_commit).endswith("-dirty")
        yield "git commit", recipe.git_commit, f"{here.git_commit}, changed since" if changed else here.git_commit
        if resumed := stored.get("resumed_after"):
            yield "training", f"in several goes, the last from epoch {resumed + 1} on", "in one go"

    return [
        Difference(what, str(recorded or NOT_RECORDED), str(now or NOT_RECORDED))
        for what, recorded, now in found()
        if recorded != now
    ]


def demanded_of(recipe: Recipe, here: Here, differences: Sequence[Difference]) -> str:
    """ "bit-equal" on a CPU, in float32, if nothing differs; else "within tolerance"."""
    if isinstance(recipe, OwnRecipe):
        return "bit-equal"
    is_exact = here.kind == "cpu" and recipe.config.precision == "float32" and not differences
    return "bit-equal" if is_exact else "within tolerance"


def tolerance_of(recipe: Recipe) -> Mapping[str, float]:
    """How far each metric may lie off: of training of one's own, not at all."""
    if isinstance(recipe, OwnRecipe):
        return {name: 0.0 for epoch in recipe.curve.epochs for name in epoch.values}
    return TOLERANCE


def compare_epoch(
    recorded: EpochMetrics | OwnEpoch, again: EpochMetrics | OwnEpoch, tolerance: Mapping[str, float] = TOLERANCE
) -> dict[str, Any]:
    """An epoch's metrics, then and now: whether each is equal in every bit, and whether within `tolerance`.

    What only one of the two has is not compared.
    """
    first, second = recorded.named(), again.named()
    names = [name for name in tolerance if name in first and name in second]
    then, now = ({name: epoch[name] for name in names} for epoch in (first, second))
    apart = {name: abs(then[name] - now[name]) for name in names}
    return {
        "epoch": recorded.epoch,
        "recorded": then,
        "again": now,
        "equal": then == now,
        "within": all(apart[name] <= tolerance[name] for name in names),
        "apart": apart,
    }


def verdict_of(compared: Sequence[Mapping[str, Any]], demanded: str) -> dict[str, Any]:
    """Whether a replay reproduced its trial, where `demanded` is "bit-equal" or "within tolerance"."""
    equal, within = (all(epoch[key] for epoch in compared) for key in ("equal", "within"))
    unequal = [epoch["epoch"] for epoch in compared if not epoch["equal"]]
    return {
        "reproduced": equal or (within and demanded == "within tolerance"),
        "verdict": "bit-equal" if equal else "within tolerance" if within else "different",
        "demanded": demanded,
        "first_unequal_epoch": unequal[0] if unequal else None,
        "largest_difference": {
            name: max(epoch["apart"][name] for epoch in compared if name in epoch["apart"])
            for name in dict.fromkeys(name for epoch in compared for name in epoch["apart"])
        },
    }


def _introduce(
    view: View, study: str, recipe: Recipe, here: Here, differences: Sequence[Difference], demanded: str
) -> None:
    took = sum(epoch.seconds for epoch in recipe.history)
    view.note(
        f"trial {recipe.trial} of study {study}: {short(recipe.config.model_dump())}; its {len(recipe.history)} epochs "
        f"took {duration(took)}"
    )
    precision = f", {recipe.config.precision}" if isinstance(recipe.config, TrainConfig) else ""
    view.note(f"again on {here.device}, {here.threads} threads{precision}")
    for difference in differences:
        view.note(f"differs: {difference.what}: then {difference.recorded}, now {difference.here}", "yellow")
    if isinstance(recipe, OwnRecipe):
        view.note("how far off it is, is told: what its code promises is not known here")
    elif demanded == "bit-equal":
        view.note("nothing differs, on a CPU in float32: every bit must be the same")
    else:
        view.note(f"demanded: within {', '.join(f'{TOLERANCE[name]:g} ({name})' for name in METRICS)}")


def _line(epoch: Mapping[str, Any]) -> str:
    now = ", ".join(f"{name} {value:.4f}" for name, value in epoch["again"].items())
    if epoch["equal"]:
        return f"epoch {epoch['epoch']}: {now}: bit-equal"
    furthest = max(epoch["apart"], key=lambda name: epoch["apart"][name] / (TOLERANCE.get(name) or 1.0))
    return f"epoch {epoch['epoch']}: {now}: {furthest} {epoch['apart'][furthest]:.2g} apart"

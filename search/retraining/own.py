"""Training of one's own, run again: what `retrain`, `verify`, `replay` and `audit` have instead of images and networks.

    OUT/recipe.toml            a copy of the recipe
    OUT/seed-0/                what the function saved last, its network most likely
    OUT/seed-0.json ...        what each seed reported
    OUT/metrics.json, .csv     the scores; curves.csv a row an epoch; index.html a page of all this

`retrain` sets `trial.final`: train on everything, then report the test's score, `test_accuracy` where the study's
metric is `val_accuracy`. What reports no such number is measured by the study's metric.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from model.config import DataSpec, NetworkSpec, TrainError
from model.files import write_text
from search.base.mistakes import InputError
from search.base.provenance import provenance
from search.base.toml import as_shown
from search.retraining.jobs import Means
from search.retraining.recipe import NetworkRecipe, OwnRecipe, Recipe
from search.retraining.records import KeptJob, Record, RecordingWorkshop, Split
from search.retraining.results import Images, Measured, csv_text
from search.retraining.view import View
from search.space.own import Program
from search.space.own_files import Own, network_of, program_of
from studies.record.metric import Metric
from studies.record.retrained import Retrained, reproduces


def own_of_recipe(recipe: Recipe, means: Means) -> Own | None:
    """What a recipe trains of one's own, found on this host; None for the AlexNet. Raises InputError."""
    if isinstance(recipe, OwnRecipe):
        names, epochs = tuple(recipe.config.params), recipe.train.epochs
        return program_of(recipe.train, names, means.folders, has_epochs=epochs is not None)
    if isinstance(recipe, NetworkRecipe):
        return network_of(recipe.model.network, tuple(recipe.config.network or {}), means.folders)
    return None


def changed_since(recipe: Recipe, own: Own | None) -> str:
    """That the file is not the one that the search had, in words; empty if it is."""
    if isinstance(recipe, OwnRecipe) and isinstance(own, Program):
        called, then, now = recipe.train.called, recipe.data_fingerprint, own.fingerprint
    elif isinstance(recipe, NetworkRecipe) and isinstance(own, NetworkSpec):
        called, then, now = recipe.model.network, recipe.network_sha256, own.sha256
    else:
        return ""
    if then == now:
        return ""
    return f"{called} has changed since the search (its SHA-256 was {then[:12]}..., is now {now[:12]}...)."


def metric_of(recipe: Recipe) -> Metric:
    """What the search optimised."""
    return Metric(recipe.metric, recipe.train.direction) if isinstance(recipe, OwnRecipe) else Metric()


def test_name(metric: str) -> str:
    """What the score on a test set is called: `test_accuracy` of `val_accuracy`, `test_rmse` of `rmse`."""
    return "test_" + metric.removeprefix("val_")


def open_own_workshop(recipe: OwnRecipe, split: Split, means: Means, view: View) -> tuple[RecordingWorkshop, Images]:
    """Find the training's file, and where to run it.

    Raises:
        InputError: it is not there, or there are no such GPUs.
    """
    means.places(1)
    own = own_of_recipe(recipe, means)
    assert isinstance(own, Program)  # noqa: S101 - for the type checker
    changed = changed_since(recipe, own)
    images = Images(
        source=recipe.train.called,
        fingerprint=own.fingerprint,
        train=0,
        searched=0,
        available=0,
        classes=(),
        notes=(changed,) if changed else (),
    )
    shop = RecordingWorkshop(
        means=means,
        data=DataSpec(),
        validation="held-out",
        log=lambda place: means.home.log(recipe.study, f"retrain-{place.name}"),
        view=view,
        own=own,
        final=split == "test",
        split=split,
        fingerprint=own.fingerprint,
    )
    return shop, images


def measured_by_reports(
    recipe: OwnRecipe, jobs: Sequence[KeptJob], records: Sequence[Record], split: Split
) -> list[Measured]:
    """What each seed reported last. Raises TrainError if it is no score."""
    networks = []
    for job, record in zip(jobs, records, strict=True):
        score = score_of(record, recipe.metric, split)
        if score is None:
            wanted = test_name(recipe.metric)
            raise TrainError(f"{job.name} reported neither {wanted} nor {recipe.metric} in its last epoch.")
        networks.append(Measured(record.config.seed, job.saved, record, score))
    return networks


def score_of(record: Record, metric: str, split: Split) -> float | None:
    """The last epoch's score; None if it reported none."""
    last = record.history[-1].named()
    score: float | None = last.get(test_name(metric), last.get(metric)) if split == "test" else last.get(metric)
    return score


def own_document(
    recipe: OwnRecipe,
    retrained: Retrained,
    networks: Sequence[Measured],
    images: Images,
    comparison: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """What metrics.json holds."""
    ours, metric = provenance(), metric_of(recipe)
    best = metric.best(network.score for network in networks)
    reproduced, answer = reproduces(retrained) if retrained.split == "validation" else (None, "")
    wanted = test_name(metric.name)
    told = list(images.notes)
    if recipe.edited:
        told.append("The recipe was edited since its export: its searched score was measured with other values.")
    if retrained.split == "test" and any(wanted not in each.record.history[-1].named() for each in networks):
        told.append(f"It reported no {wanted} at its end (trial.final is true), so {metric.name} stands in for it.")
    return {
        "study": recipe.study,
        "trial": recipe.trial,
        "trains": recipe.train.called,
        "metric": metric.name,
        "direction": metric.direction,
        "split": retrained.split,
        "words": retrained.in_words(),
        "searched": recipe.value,
        "mean": retrained.mean,
        "spread": retrained.spread,
        "interval": retrained.interval,
        "optimism": retrained.optimism,
        "reproduces": {"answer": reproduced, "text": answer} if answer else None,
        "told": told,
        "best_seed": next(index for index, network in enumerate(networks) if network.score == best),
        "seeds": [
            {
                "seed": network.seed,
                "value": network.score,
                "saved": network.saved.name if network.saved.exists() else None,
                "seconds": sum(epoch.seconds for epoch in network.record.history),
                "history": [epoch.named() for epoch in network.record.history],
            }
            for network in networks
        ],
        "search_history": [epoch.named() for epoch in recipe.history],
        "comparison": comparison,
        "config": recipe.config.params,
        "epochs": recipe.config.epochs,
        "fingerprint": images.fingerprint,
        "device": ", ".join(sorted({network.record.device for network in networks})),
        "search_device": recipe.device,
        "versions": ours["versions"],
        "search_versions": recipe.versions,
        "finished": retrained.finished,
    }


def write_own_results(document: Mapping[str, Any], out: Path) -> None:
    """Write all that `document` has to say into `out`, each file whole or not at all. Raises OSError."""
    import json

    from studies.show.own_retraining_page import own_retraining_page

    seeds = document["seeds"]
    names = list(dict.fromkeys(name for seed in seeds for row in seed["history"] for name in row))
    names = ["epoch", *(name for name in names if name not in ("epoch", "seconds")), "seconds"]
    rows = [[seed["seed"], *(row.get(name) for name in names)] for seed in seeds for row in seed["history"]]
    scores = [[seed["seed"], seed["value"], index == document["best_seed"], seed["seconds"]]
              for index, seed in enumerate(seeds)]  # fmt: skip
    try:
        write_text(out / "metrics.json", json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
        write_text(out / "metrics.csv", csv_text([["seed", document["metric"], "best", "seconds"], *scores]))
        write_text(out / "curves.csv", csv_text([["seed", *names], *rows]))
        write_text(out / "index.html", own_retraining_page(document))
    except OSError as error:
        raise OSError(
            error.errno,
            f"{as_shown(out)}: the results can't be written ({error.strerror}). What was trained is kept: make room "
            "and run the same command again.",
        ) from error


def refuse_changed(recipe: Recipe, own: Own | None) -> None:
    """Raises InputError if the file is not the one that the search had."""
    if changed := changed_since(recipe, own):
        raise InputError(f"{changed} Bring that version back, or say with --code where it is.")

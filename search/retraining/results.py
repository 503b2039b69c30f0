"""What a retraining leaves in its folder, made of its networks: metrics, curves, figures and a page.

metrics.json        all of it, as numbers; metrics.csv a row a seed, curves.csv a row an epoch
loss, accuracy, score, class_accuracy, confusion     figures, .png and .svg each
index.html          one page of all this, which needs no other file
best.keras          a copy of the best seed's network
"""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model.config import EpochMetrics
from model.files import write_text, written_aside
from model.schedule import depends_on_epochs, stretched
from search.base.provenance import provenance, utc
from search.base.toml import as_shown, as_toml
from search.retraining.recipe import Recipe
from search.retraining.records import Record, Split
from studies.record.metric import Metric
from studies.record.published import CIFAR10_SHAPE
from studies.record.retrained import Retrained, reproduces, summarised

if TYPE_CHECKING:
    from model.evaluate import Evaluation

MANY_MORE = 1.5
"""From so many times the search's training images on, the score of more images is no measure of its optimism."""


@dataclass(frozen=True)
class Measured:
    """One seed's training, and what it came to."""

    seed: int
    saved: Path
    """The network; or the folder of what a training of one's own saved last."""
    record: Record
    score: float
    """On the test images; or as the search measures it, on its validation images after the last epoch."""


@dataclass(frozen=True)
class Network(Measured):
    """One seed's network, trained and measured by us."""

    evaluation: Evaluation
    """Of the saved network, in float32."""


@dataclass(frozen=True)
class Images:
    """What the networks were trained on."""

    source: str
    fingerprint: str
    train: int
    """How many images each was trained on."""
    searched: int
    """How many they were in the search."""
    available: int
    """All training images of the source, those held out included."""
    classes: tuple[str, ...]
    shape: tuple[int, int, int] = (32, 32, 3)
    """Of each image."""
    has_test: bool = True
    """Whether the source has a test set."""
    notes: tuple[str, ...] = ()
    """How the source was understood, for people."""

    network_changed: bool = False
    """Whether the file of a network of one's own has changed since the search."""
    is_alexnet: bool = True

    @property
    def is_cifar10(self) -> bool:
        """Whether the paper's network is trained on the paper's images."""
        return self.is_alexnet and (self.available, len(self.classes)) == CIFAR10_SHAPE


def summed_up(
    recipe: Recipe,
    split: Split,
    networks: Sequence[Measured],
    images: Images,
    out: Path,
    metric: Metric | None = None,
) -> Retrained:
    """What the networks came to, as it is kept with the study."""
    return summarised(
        trial=recipe.trial,
        searched=recipe.value,
        split=split,
        scores={network.seed: network.score for network in networks},
        images=images.train,
        finished=utc(),
        folder=str(out.resolve()),
        is_cifar10=images.is_cifar10,
        metric=metric,
        stretched=stretched_to(recipe, networks[0].record.config.epochs),
    )


def stretched_to(recipe: Recipe, epochs: int) -> int | None:
    """The epochs of a training if they are not the recipe's, None if they are."""
    return epochs if epochs != recipe.config.epochs else None


def stretching(recipe: Recipe, epochs: int) -> str:
    """What was stretched of a recipe: "from 15 to 100 epochs: step_epochs 5 to 33, warmup_epochs 1 to 7"."""
    before, after = recipe.config.model_dump(), stretched(recipe.config, epochs).model_dump()
    scaled = [
        f"{name} {as_toml(before[name])} to {as_toml(after[name])}"
        for name in ("step_epochs", "warmup_epochs")
        if before[name] != after[name]
    ]
    if depends_on_epochs(recipe.config.schedule):
        scaled.append(f"the {recipe.config.schedule} schedule reaches over all of them")
    return f"from {recipe.config.epochs} to {epochs} epochs" + (f": {', '.join(scaled)}" if scaled else "")


def told_of(recipe: Recipe, retrained: Retrained, images: Images, comparison: Mapping[str, Any] | None) -> list[str]:
    """What somebody who reads the score must know beside it."""
    told = []
    if images.network_changed:
        told.append("The file of the network has changed since the search: its score was measured with another one.")
    if retrained.stretched:
        told.append(
            f"Stretched {stretching(recipe, retrained.stretched)}. The searched score was measured with "
            f"{recipe.config.epochs}: what lies between both is no optimism of the search's."
        )
    if recipe.edited:
        told.append("The recipe was edited since its export: its searched score was measured with other values.")
    if images.fingerprint != recipe.data_fingerprint:
        told.append(f"{images.source} is not the data of the search: other pixels or labels.")
    if retrained.split == "test" and not retrained.stretched and images.train > MANY_MORE * images.searched:
        there = "`alexsearch retrain --validate` measures it on the search's own images."
        if comparison:
            mean = next(row["mean"] for row in comparison["candidates"] if row["trial"] == recipe.trial)
            there = f"On the search's own images it was {recipe.value - mean:+.4f}."
        told.append(
            f"Trained on {images.train:,} images, in the search on {images.searched:,}: that raises the score, so "
            f"the optimism is hidden. {there}"
        )
    return told


def metrics_document(
    recipe: Recipe,
    retrained: Retrained,
    networks: Sequence[Network],
    images: Images,
    comparison: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What metrics.json holds. `comparison` is what `search.retraining.verify` found, if it picked this trial."""
    ours, best = provenance(), max(networks, key=lambda network: network.score)
    asked = retrained.split == "validation" and not retrained.stretched
    reproduced, answer = reproduces(retrained) if asked else (None, "")
    return {
        "study": recipe.study,
        "trial": recipe.trial,
        "split": retrained.split,
        "words": retrained.in_words(),
        "searched": recipe.value,
        "mean": retrained.mean,
        "spread": retrained.spread,
        "interval": retrained.interval,
        "optimism": retrained.optimism,
        "report": retrained.report,
        "gain": retrained.gain,
        "reproduces": {"answer": reproduced, "text": answer} if answer else None,
        "told": told_of(recipe, retrained, images, comparison),
        "best_seed": networks.index(best),
        "classes": images.classes,
        "measured_images": networks[0].evaluation.count,
        "train_images": images.train,
        "search_train_images": images.searched,
        "on_cifar10": images.is_cifar10,
        **({"network_changed": True} if images.network_changed else {}),
        "seeds": [_seed_document(network) for network in networks],
        "search_history": [metrics.model_dump(exclude_none=True) for metrics in recipe.history],
        "comparison": comparison,
        "config": best.record.config.model_dump(exclude_none=True, exclude={"seed"}),
        "stretched_from": recipe.config.epochs if retrained.stretched else None,
        "data": {"source": images.source, "fingerprint": images.fingerprint},
        "device": ", ".join(sorted({network.record.device for network in networks})),
        "search_device": recipe.device,
        "versions": ours["versions"],
        "search_versions": recipe.versions,
        "git_commit": ours["git_commit"],
        "finished": retrained.finished,
    }


def _seed_document(network: Network) -> dict[str, Any]:
    names = network.evaluation.class_names
    return {
        "seed": network.seed,
        "model": network.saved.name,
        "accuracy": network.score,
        "loss": network.evaluation.loss,
        "class_accuracy": dict(zip(names, network.evaluation.class_accuracy, strict=True)),
        "confusion": network.evaluation.confusion,
        "seconds": sum(metrics.seconds for metrics in network.record.history),
        "history": [metrics.model_dump(exclude_none=True) for metrics in network.record.history],
    }


def write_results(document: Mapping[str, Any], out: Path) -> None:
    """Write all that `document` (of `metrics_document`) has to say into `out`, each file whole or not at all.

    Raises:
        OSError: worded with the folder; what was there before is still whole.
    """
    from studies.show.retraining_page import retraining_page

    try:
        write_text(out / "metrics.json", json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
        write_text(out / "metrics.csv", _metrics_csv(document))
        write_text(out / "curves.csv", _curves_csv(document))
        _draw(document, out)
        write_text(out / "index.html", retraining_page(document))
        with written_aside(out / "best.keras") as temporary:
            shutil.copyfile(out / document["seeds"][document["best_seed"]]["model"], temporary)
    except OSError as error:
        raise OSError(
            error.errno,
            f"{as_shown(out)}: the results can't be written ({error.strerror}). The trained networks are kept: make "
            "room and run the same command again.",
        ) from error


def _metrics_csv(document: Mapping[str, Any]) -> str:
    seeds, names = document["seeds"], document["classes"]
    head = ["seed", "model", "best", "accuracy", "loss", "seconds", *(f"accuracy of {name}" for name in names)]
    rows = [
        [seed["seed"], seed["model"], index == document["best_seed"], seed["accuracy"], seed["loss"], seed["seconds"]]
        + [seed["class_accuracy"][name] for name in names]
        for index, seed in enumerate(seeds)
    ]
    return csv_text([head, *rows])


def _curves_csv(document: Mapping[str, Any]) -> str:
    keys = list(EpochMetrics.model_fields)
    rows = [[seed["seed"], *(row.get(key) for key in keys)] for seed in document["seeds"] for row in seed["history"]]
    return csv_text([["seed", *keys], *rows])


def csv_text(rows: Sequence[Sequence[Any]]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    return buffer.getvalue()


def _draw(document: Mapping[str, Any], out: Path) -> None:
    import numpy as np

    from studies.draw.retraining_pictures import (
        Score,
        class_accuracy_picture,
        confusion_picture,
        score_picture,
        training_pictures,
    )

    seeds, names, measured = document["seeds"], document["classes"], document["split"]
    on_test = measured == "test"
    title = f"study {document['study']}, trial {document['trial']}, {'retrained' if on_test else 'trained again'}"
    scores = [Score(seed["seed"], seed["accuracy"], seed["loss"]) for seed in seeds]
    histories = [_history(seed["history"]) for seed in seeds]
    searched = _history(document["search_history"])
    paper = document["on_cifar10"]
    training_pictures(histories, out, title=title, searched=searched, scores=scores if on_test else (), paper=paper)
    score_picture(scores, out, title=title, paper=paper and on_test, measured=measured)
    by_class = [[seed["class_accuracy"][name] or 0.0 for name in names] for seed in seeds]
    class_accuracy_picture(by_class, names, out, title=title, measured=measured)
    confusion_picture(np.sum([seed["confusion"] for seed in seeds], axis=0), names, out, title=title)


def _history(rows: Sequence[Mapping[str, Any]]) -> list[EpochMetrics]:
    return [EpochMetrics.model_validate(row) for row in rows]

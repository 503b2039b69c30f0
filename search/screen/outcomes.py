"""What trainings beside the queue came to, and what a trained model says, printed for people."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from rich.console import Console
from rich.text import Text

from search.base.terminal import Output, plain_table
from search.base.toml import as_shown
from search.retraining.retrain import Outcome
from search.retraining.verify import Verification
from search.retraining.view import View
from search.screen.progress import Bars
from studies.words import duration

T = TypeVar("T")


def shown(output: Output, work: Callable[[View], T], show: Callable[[Console, T], None]) -> T:
    """Do `work` with its progress on `output`, then `show` what it came to."""
    with Bars(output) as view:
        done = work(view)
    show(output, done)
    return done


def print_verified(console: Console, found: Verification, where: str = "") -> None:
    """What the picked trial's score came to; how it was picked was told on the way."""
    print_retrained(console, found.outcome, where)


def print_retrained(console: Console, outcome: Outcome, where: str = "") -> None:
    """Say plainly what the search's score came to on images that nobody chose by.

    `where` holds the options that the next command needs, with a blank before each.
    """
    document, retrained = outcome.document, outcome.retrained
    console.print()
    console.print(retrained.in_words(), soft_wrap=True)
    if retrained.interval:
        low, high = retrained.interval
        shown = retrained.measure.shown
        console.print(f"the mean lies between {shown(low)} and {shown(high)} (95%, Student's t)")
    else:
        console.print("one seed has no spread and no interval: use --seeds 3 or more to have them")
    if "data" in document:
        console.print(
            f"measured on {document['measured_images']:,} {retrained.split} images of {document['data']['source']}"
        )
    if document["reproduces"]:
        console.print(f"does it reproduce? {document['reproduces']['text']}", soft_wrap=True)
    for told in document["told"]:
        console.print(Text(told, style="yellow"), soft_wrap=True)
    if "data" not in document:  # a training of one's own
        page = as_shown(outcome.folder / "index.html")
        console.print(f"page, metrics, curves and what each seed saved: {page}", soft_wrap=True)
        console.print(outcome.written, soft_wrap=True)
        return
    best = document["seeds"][document["best_seed"]]
    console.print(f"by class, seed {best['seed']}:" if len(document["seeds"]) > 1 else "by class:")
    _print_classes(console, best["class_accuracy"], "no image")
    console.print(f"page, models, metrics and figures: {as_shown(outcome.folder / 'index.html')}", soft_wrap=True)
    console.print(outcome.written, soft_wrap=True)
    source = str(document["data"]["source"])
    where += "" if source == "cifar10" else f" --data {shlex.quote(source)}"
    model = shlex.quote(as_shown(outcome.folder / "best.keras"))
    console.print(f"next: alexsearch evaluate {model}{where}", soft_wrap=True)


def print_evaluation(console: Console, document: Mapping[str, Any]) -> None:
    """What `search.retraining.using.evaluate_model` found."""
    console.print(f"{document['model']} on {document['images']} test images of {document['data']}:", soft_wrap=True)
    console.print(f"accuracy {document['accuracy']:.4f}, loss {document['loss']:.4f}")
    for note in document["notes"]:
        console.print(note, soft_wrap=True)
    _print_classes(console, document["classes"], "no test image")


def _print_classes(console: Console, classes: Mapping[str, float | None], without: str) -> None:
    for name, accuracy in classes.items():
        console.print(f"  {name:12} {without if accuracy is None else f'{accuracy:.4f}'}", soft_wrap=True)


def print_predictions(console: Console, document: Mapping[str, Any], top: int) -> None:
    """What `search.retraining.using.predict_images` saw: a line a picture, with its `top` most probable classes."""
    width = max(len(seen["image"]) for seen in document["images"])
    for seen in document["images"]:
        shown = [f"{name} {probability:.4f}" for name, probability in list(seen["classes"].items())[:top]]
        console.print(f"{seen['image']:{width}}  {', '.join(shown)}", soft_wrap=True)


def print_conversion(console: Console, document: Mapping[str, Any]) -> None:
    """What `search.retraining.using.convert_model` wrote."""
    checked_on = document["checked_on"]
    where = checked_on if checked_on == "made-up images" else f"test images of {checked_on}"
    console.print(f"{document['output']}: {document['bytes'] / 1e6:.1f} MB", soft_wrap=True)
    console.print(
        f"the same classes as {document['model']} on {document['images']} {where} ({document['classes_seen']} classes "
        f"among them), probabilities at most {document['largest_difference']:.1e} apart",
        soft_wrap=True,
    )


def print_replayed(console: Console, document: Mapping[str, Any]) -> None:
    """Whether `search.retraining.replay.replay_trial` reproduced its trial."""
    count = len(document["epochs"])
    epochs = f"{count} epoch{'s' * (count > 1)}"
    since = f"unequal from epoch {document['first_unequal_epoch']} on"
    if document["verdict"] == "bit-equal":
        text = f"reproduced: all metrics of {epochs} are equal, bit for bit"
    elif document["reproduced"]:
        text = f"reproduced: {epochs} within tolerance ({since})"
    elif document["verdict"] == "within tolerance":
        text = (
            f"NOT reproduced: {since}, though within tolerance; nothing is known to differ, so every bit should agree"
        )
    elif any(document["tolerance"].values()):
        text = f"NOT reproduced: {since}, further apart than the tolerance"
    else:  # a training of one's own
        apart = ", ".join(f"{name} {value:.3g}" for name, value in document["largest_difference"].items())
        text = f"not bit for bit: {since}, at most so far apart: {apart}"
    console.print(text)


def print_audit(console: Console, document: Mapping[str, Any]) -> None:
    """What `search.retraining.audit.audit_study` found."""
    table = plain_table()
    for column in ("trial", "pruned after", "value then", "at its end", ""):
        table.add_column(column)
    for trial in document["audited"]:
        then, end = ("-" if value is None else f"{value:.4f}" for value in (trial["value_when_pruned"], trial["value"]))
        verdict = "better than the best" if trial["better_than_best"] else "among the best tenth"
        table.add_row(
            str(trial["number"]),
            f"{trial['pruned_after']} of {trial['planned']}",
            then,
            end,
            verdict if trial["among_best_tenth"] else "rightly pruned",
        )
    console.print(table)
    audited = len(document["audited"])
    console.print(
        f"{audited} of {document['pruned']} pruned trials were trained to their end. Wrongly pruned:", soft_wrap=True
    )
    more = "less" if document["direction"] == "minimize" else "more"
    for key, words in (
        ("wrong", f"would be among the best tenth ({document['best_tenth']:.4f} or {more})"),
        ("better", f"would be better than the best ({document['best']:.4f})"),
    ):
        low, high = document[f"{key}_interval"]
        share = document[key] / audited if audited else 0.0
        console.print(f"  {document[key]} {words}: {share:.0%}, 95% interval {low:.0%} to {high:.0%}", soft_wrap=True)


def print_seed_report(console: Console, document: Mapping[str, Any], folder: str) -> None:
    """What `search.retraining.seed_report.reproduce_paper` came to, in `folder`."""
    count, seconds = len(document["history"]), sum(epoch["seconds"] for epoch in document["history"])
    console.print(f"{count} epochs in {duration(seconds)}")
    console.print(f"best epoch  {document['best_accuracy']:.4f}, epoch {document['best_epoch']}")
    console.print(f"last epoch  {document['last_accuracy']:.4f}")
    if document["report_score"] is not None:
        console.print(f"report      {document['report_score']:.4f}, its best of 50 epochs")
    console.print(f"figures 10 to 12 are loss.png, accuracy.png and score.png in {folder}", soft_wrap=True)

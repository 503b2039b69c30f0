"""Studies in words: durations, values, spaces, and why a trial ended as it did."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

STATE_WORDS: Mapping[str, str] = MappingProxyType(
    {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed", "RUNNING": "running", "WAITING": "waiting"}
)

PAUSED = "paused"


def state_word(trial: FrozenTrial) -> str:
    """A trial's state as people call it; one that waits and has reported something is "paused"."""
    if trial.state.name == "WAITING" and trial.intermediate_values:
        return PAUSED
    return STATE_WORDS[trial.state.name]


_FAILURES: Mapping[str, str] = MappingProxyType(
    {
        "diverged": "Its loss or score stopped being a finite number: with these values training runs away. It is "
        "not repeated, and the sampler learns to avoid them.",
        "out-of-memory": "Network and batch did not fit into the device's memory: it would fail again, so it is not "
        "repeated. Smaller batches, or fewer trials on a GPU, fit.",
        "data": "The images did not fit the configuration: it would fail again, so it is not repeated.",
        "crashed": "It was repeated each time, and its training process died again: that need not be the trial's own "
        "fault.",
    }
)

FOREIGN = "made by another program"

NO_STUDY_NAMES = ("alexsearch.db", "data", "artifacts", "tensorflow.log", "seed-report")
"""What lies in a home beside the studies' folders: no study of ours may be called so."""


def check_study_name(name: str) -> None:
    """Raises ValueError, "must ...", if no study of ours may be called so."""
    if not re.fullmatch(r"[A-Za-z0-9_]([A-Za-z0-9 ._-]*[A-Za-z0-9_-])?", name):
        raise ValueError(
            "must be letters a to z, digits, spaces and . _ - only, and start and end with a letter or digit "
            "(it becomes the name of a folder)"
        )
    if name.lower() in NO_STUDY_NAMES:
        raise ValueError(f"must not be one of {', '.join(NO_STUDY_NAMES)}, which lie beside the folders of the studies")
    if len(name) > 100:
        raise ValueError("must be of 100 characters at most")


def duration(seconds: float) -> str:
    """Seconds as people say them: "8 s", "3 min 20 s", "2 h 05 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def number(value: Any) -> str:
    """A value as it is read: three digits that count, or a whole number, a list as "10, 20", a text on one line."""
    if isinstance(value, bool) or value is None:
        return str(value)
    if isinstance(value, float):
        return f"{value:.0f}" if 999.5 <= abs(value) < 1e6 else f"{value:.3g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(number, value))
    return one_line(str(value))


WRITTEN_BY = "written by alexsearch"
"""Stands in the head of the pages and pictures that we write to a file of the user's choice."""


def one_line(text: str) -> str:
    """Without line breaks and control codes, which another program's names and an error's text may hold."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def listed(words: Sequence[str], last: str = "and") -> str:
    """ "a", "a and b", "a, b and c"."""
    return f" {last} ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def parameter(stored: Any) -> str:
    """One entry of a stored space's `space` table: "0.001 to 0.1, log", "16, 32 or 64", "0.1".

    One that only exists with certain values of others says so: "0 to 0.99, where optimizer is sgd".
    """
    if isinstance(stored, Mapping) and (when := stored.get("when")):
        needs = [f"{one_line(name)} is {_choices(values)}" for name, values in when.items()]
        return f"{parameter({**stored, 'when': None})}, where {listed(needs)}"
    if isinstance(stored, Mapping) and "value" in stored:
        return number(stored["value"])
    if isinstance(stored, Mapping) and "choices" in stored:
        return _choices(stored["choices"])
    if isinstance(stored, Mapping) and "low" in stored:
        steps = f", in steps of {number(stored['step'])}" if stored.get("step") else ""
        return f"{number(stored['low'])} to {number(stored['high'])}{', log' if stored.get('log') else ''}{steps}"
    return number(stored)


def _choices(values: Any) -> str:
    """ "16, 32 or 64"."""
    each = values if isinstance(values, (list, tuple)) else [values]
    return listed([f"[{number(one)}]" if isinstance(one, (list, tuple)) else number(one) for one in each], "or")


def is_searched(stored: Any) -> bool:
    """Whether an entry of a stored space leaves something to choose."""
    return isinstance(stored, Mapping) and "value" not in stored


def settings(params: Mapping[str, Any]) -> str:
    """Hyperparameters with their values: "batch_size 32, learning_rate 0.02"."""
    return ", ".join(f"{one_line(key)} {number(value)}" for key, value in params.items())


def settings_in(config: Mapping[str, Any]) -> dict[str, Any]:
    """A trial's stored configuration as one flat table.

    What a user named, as `params` of a training or in `network`, comes first, and wins over a key of ours.
    """
    tables = {key: config[key] for key in ("params", "network") if isinstance(config.get(key), Mapping)}
    named = {str(key): value for table in tables.values() for key, value in table.items()}
    return named | {key: each for key, each in config.items() if key not in named and key not in tables}


def images(data: Mapping[str, Any]) -> str:
    """What a study stores of its data: "45,000 training and 5,000 validation images of cifar10".

    A training of one's own has no images that we know of: "train.py:train".
    """
    if "train_images" not in data:
        return one_line(str(data["source"]))
    counted = f"{data['train_images']:,} training and {data['validation_images']:,} validation images"
    return f"{counted} of {one_line(str(data['source']))}"


def spent(device_seconds: float, saved_seconds: float, pauses: int = 0) -> str:
    """What a study cost: "2 min 10 s of device time; pruning saved about 40 s (24%); 12 pauses"."""
    share = f"{saved_seconds / (device_seconds + saved_seconds):.0%}" if saved_seconds else ""
    saved = f"; pruning saved about {duration(saved_seconds)} ({share})" if saved_seconds else ""
    paused = f"; {pauses:,} pause{'s' * (pauses != 1)}" if pauses else ""
    return f"{duration(device_seconds)} of device time{saved}{paused}"


def told_to_stop(how: str, running: int) -> str:
    """What a request to stop means, as `Queue.stop_requested` gives it, while so many trials run."""
    then = "go back into the queue with their checkpoints" if how == "now" else "are trained to their end"
    return "told to stop: no trial is taken any more" + (f", and those that run {then}" if running else "")


def failure_in_words(kind: str, text: str, crashes: int = 0) -> str:
    """Why a trial failed: "diverged: the loss became nan"; and of one that crashed so often, its last crash."""
    told = text if kind == "crashed" else f"{kind}: {text}"
    return f"{told}; the last of {crashes} crashes" if crashes else told


def failure_of(stored: Mapping[str, Any]) -> str:
    """The failure that a trial's user attributes hold, in words on one line; empty if they hold none."""
    reason = one_line(str(stored.get("reason") or ""))
    if not reason or "failure" not in stored:
        return reason
    return failure_in_words(one_line(str(stored["failure"])), reason, stored.get("crashes", 0))


def why(trial: FrozenTrial, shown: Callable[[float], str] = "{:.4f}".format) -> str:
    """Why a trial ended as it did, in whole sentences; empty for one that has not ended. `shown` writes its value."""
    stored = trial.user_attrs
    epochs, planned = stored.get("epochs_run"), stored.get("config", {}).get("epochs")
    match trial.state.name:
        case "COMPLETE" if epochs == 1:
            return "Trained to its end."  # it may be one without epochs
        case "COMPLETE":
            return f"Trained to its last epoch, the {ordinal(epochs)}." if epochs else "Trained to its last epoch."
        case "PRUNED":
            of = f" of {planned}" if planned else ""
            at = f" at {shown(trial.value)}" if trial.value is not None else ""
            after = f" after epoch {epochs}{of}{at}" if epochs else ""
            if stored.get("pauses"):
                return f"Paused{after} and not gone on with: {failure_of(stored) or 'others were worth more'}."
            return f"Stopped{after}: the pruner held it against the trials before it and saw no hope for it."
        case "FAIL":
            reason = failure_of(stored)
            kind = "crashed" if stored.get("crashes") else stored.get("failure")
            meant = _FAILURES.get(str(kind), "What it ran into need not be its own fault.")
            return f"{reason[:1].upper()}{reason[1:].rstrip('.')}. {meant}" if reason else "No reason was recorded."
    return ""


def ordinal(count: int) -> str:
    """ "1st", "2nd", "12th"."""
    ending = {1: "st", 2: "nd", 3: "rd"}.get(count % 10 if count % 100 // 10 != 1 else 0, "th")
    return f"{count}{ending}"

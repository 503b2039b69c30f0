"""What optuna-dashboard shows of a study of ours beside its numbers: notes, and a few figures kept in the study.

`refresh_notes` brings them up to date; whoever changes what they say calls it. It writes

- the study's note. What somebody wrote below our last line of it stays;
- a note for each settled trial that has none yet, in studies of at most `NOTED_TRIALS`: optuna-dashboard looks through
  all attributes of the study for every trial, at every poll;
- four figures under fixed ids. Each is one attribute: optuna-dashboard's own pieces of 2,045 characters would be a
  dozen a figure.

All in one transaction, and what has not changed is not written. The keys are optuna-dashboard's (its `_note.py` and
`_custom_plot_data.py`); its API writes each in a transaction of its own. Names, reasons and paths are escaped:
Markdown they may look like is shown, not obeyed.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from optuna.storages._rdb import models
from sqlalchemy import orm

from studies.queue.queue import Queue
from studies.record.catalog import StudyRecord, described
from studies.record.findings import Findings, findings_of
from studies.record.published import REPORT_SCORE
from studies.store.storage import Storage
from studies.words import STATE_WORDS, duration, number, one_line, why

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

NOTED_TRIALS = 300
DRAWN_TRIALS = 500
"""In a kept figure: they travel with every poll of a page."""
DRAWN_POINTS = 3_000
LAST_LINE = "*Kept up to date by alexsearch. What you write below this line stays.*"
FIGURE_IDS = ("learning-curves", "seconds", "pruning", "lanes")

_NOTE, _PLOT = "dashboard:", "dashboard:plot_data:"


def refresh_notes(storage: Storage, study: StudyRecord, trials: Sequence[FrozenTrial] | None = None) -> None:
    """Bring the note, the trials' notes and the figures of a study of ours up to date.

    `trials` spares reading them, where the caller has those that have started. Another program's study is left alone.
    """
    if not study.is_ours:
        return
    study = replace(study, attributes=storage.get_study_user_attrs(study.study_id))  # retrained since, perhaps
    found = findings_of(storage, study, trials)
    body = study_note(found)
    figures = {f"{_PLOT}alexsearch-{name}:0": text for name, text in _figures(found).items()}
    notes = {}
    if found.counts.budget <= NOTED_TRIALS:
        settled = [trial for trial in found.trials if trial.state.is_finished()]
        notes = {f"{_NOTE}{trial._trial_id}:note_": trial_note(trial) for trial in settled}
    attribute = models.StudySystemAttributeModel

    def write(session: orm.Session) -> None:
        Queue(storage, study.study_id).lock_study(session)
        query = sa.select(attribute).where(attribute.study_id == study.study_id, attribute.key.startswith(_NOTE))
        rows: dict[str, Any] = {str(row.key): row for row in session.scalars(query)}

        def put(key: str, value: Any) -> None:
            text = json.dumps(value)
            if key not in rows:
                session.add(attribute(study_id=study.study_id, key=key, value_json=text))
            elif rows[key].value_json != text:
                rows[key].value_json = text

        stored = {key: json.loads(row.value_json) for key, row in rows.items()}
        shown = _note_of(stored)
        wanted = _with_what_was_added(body, shown)
        if wanted != shown:
            put(f"{_NOTE}note_ver", int(stored.get(f"{_NOTE}note_ver", 0)) + 1)
            for piece in range(1, len(_pieces(stored))):
                put(f"{_NOTE}note_str:{piece}", "")
            put(f"{_NOTE}note_str:0", wanted)
        for key, text in notes.items():
            if f"{key}ver" not in stored:
                put(f"{key}ver", 1)
                put(f"{key}str:0", text)
        for key, text in figures.items():
            put(key, text)

    storage.transaction(write)


def study_note(found: Findings) -> str:
    """The study's note, in Markdown."""
    rows = [("best", _best(found)), ("gain", _gain(found)), ("verified", _verified(found)), ("report", _report(found))]
    rows += [("budget", escaped(described(found.counts))), ("cost", _cost(found)), ("data", escaped(found.images))]
    rows += [(escaped(name), escaped(words)) for name, words in found.space_lines]
    study = shlex.quote(found.study.shown)
    commands = [f"alexsearch report --study {study} -o report.html", f"alexsearch export --study {study} -o best.toml"]
    lines = [f"## {escaped(found.question)}", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {text} |" for name, text in rows if text]
    lines += ["", "```", *commands, "alexsearch retrain best.toml", "```", "", LAST_LINE]
    return "\n".join(lines)


def trial_note(trial: FrozenTrial) -> str:
    """A settled trial's note, in Markdown: what became of it, why, and all values it ran with."""
    stored = trial.user_attrs
    value = f" at **{trial.value:.4f}**" if trial.state.name == "COMPLETE" and trial.value is not None else ""
    lines = [f"**{STATE_WORDS[trial.state.name].capitalize()}**{value}. {escaped(why(trial))}"]
    if isinstance(stored.get("seconds"), (int, float)):
        where = f" on {stored['device']}, host {stored.get('host', 'unknown')}" if stored.get("device") else ""
        lines += ["", escaped(f"It took {duration(stored['seconds'])}{where}.")]
    config = stored.get("config")
    if isinstance(config, Mapping):
        lines += ["", "| setting | value |", "|---|---|"]
        lines += [f"| {escaped(str(key))} | {escaped(number(value))} |" for key, value in config.items()]
    return "\n".join(lines)


def escaped(text: str) -> str:
    """`text` as Markdown that shows it as it is, on one line: no emphasis, no cell of a table, no HTML comes of it."""
    return re.sub(r"([\\`*\[\]<>&|~$]|(?<![^\W_])_|_(?![^\W_]))", lambda match: f"&#{ord(match[1])};", one_line(text))


def _best(found: Findings) -> str:
    if found.best is None:
        return "no trial is complete yet"
    values = ", ".join(f"{key} {number(value)}" for key, value in found.best.params.items())
    return f"**{found.best.value:.4f}** validation accuracy, trial {found.best.number}: {escaped(values)}"


def _gain(found: Findings) -> str:
    gain, baseline = found.gain_over_baseline, found.baseline
    if gain is None or baseline is None:
        return ""
    return f"**{gain:+.4f}** over the baseline's {baseline.value:.4f} (trial {baseline.number})"


def _verified(found: Findings) -> str:
    verified = found.verified
    if verified is None:
        return ""
    seeds = f"{len(verified.seeds)} seeds" if len(verified.seeds) > 1 else "1 seed"
    spread = f" ± {verified.spread:.4f}" if verified.spread is not None else ""
    where = f"{verified.split} images, trial {verified.trial} trained anew"
    return f"**{verified.mean:.4f}**{spread} on the {where}, {seeds}"


def _report(found: Findings) -> str:
    if not found.on_cifar10:
        return ""
    if found.verified is not None and found.verified.gain is not None:
        return f"{REPORT_SCORE:.4f} on the test images in 2022: **{found.verified.gain:+.4f}** over it"
    return f"{REPORT_SCORE:.4f} on the test images in 2022; `alexsearch retrain` tells what the best comes to there"


def _cost(found: Findings) -> str:
    saved = f"; pruning saved about {duration(found.ledger.saved_seconds)}" if found.ledger.saved_seconds else ""
    return escaped(f"{duration(found.ledger.device_seconds)} of device time{saved}")


def _figures(found: Findings) -> dict[str, str]:
    """The figures that are kept, as JSON."""
    from studies.draw.study_figures import FIGURES, learning_curves

    chosen = _chosen(found)
    note = f" ({len(chosen):,} of {len(found.trials):,} trials)" if len(chosen) < len(found.trials) else ""
    kept = {}
    for name in FIGURE_IDS:
        if name == "learning-curves":
            figure = learning_curves(chosen, report=found.beside_report, most_points=DRAWN_POINTS)
        else:
            figure = FIGURES[name](chosen, report=found.beside_report)
        figure.layout.title.text += note
        kept[name] = figure.to_json()
    return kept


def _chosen(found: Findings) -> Sequence[FrozenTrial]:
    """The last trials, and the best."""
    chosen = list(found.trials[-DRAWN_TRIALS:])
    return chosen if found.best is None or found.best in chosen else [found.best, *chosen[1:]]


def _pieces(stored: Mapping[str, Any]) -> list[str]:
    keys = [key for key in stored if key.startswith(f"{_NOTE}note_str:")]
    return [str(stored[key]) for key in sorted(keys, key=lambda key: int(key.rpartition(":")[2]))]


def _note_of(stored: Mapping[str, Any]) -> str:
    return "".join(_pieces(stored)) if f"{_NOTE}note_ver" in stored else ""


def _with_what_was_added(body: str, shown: str) -> str:
    """`body` and what somebody wrote: below our last line, or in place of everything we had."""
    _, line, below = shown.partition(LAST_LINE)
    added = below if line else shown
    return f"{body}\n\n{added.strip()}" if added.strip() else body

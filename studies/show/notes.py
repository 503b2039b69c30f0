"""What optuna-dashboard shows of a study of ours beside its own figures, for those who open nothing else.

`refresh_notes` brings it up to date; whoever changes what it says calls it. It writes

- the study's note: what was asked, the best, how sure that is, what it cost, what to type next. What somebody wrote
  below our last line stays;
- two figures that optuna-dashboard does not draw, under fixed ids: what each slot ran and when, and what a
  device-second bought. Each is one attribute: optuna-dashboard's own pieces of 2,045 characters would be a dozen.

All in one transaction, and what has not changed is not written. The keys are optuna-dashboard's (its `_note.py` and
`_custom_plot_data.py`); its API writes each in a transaction of its own. Names and paths are escaped: what looks like
Markdown in them is shown as it is.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import orm

from studies.record.catalog import StudyRecord, all_studies, described
from studies.record.findings import Findings, findings_of
from studies.record.published import PAPER_SCORE
from studies.store.attributes import STUDY_SYSTEM
from studies.store.shapes import is_whole
from studies.store.storage import Storage
from studies.store.tables import hold_study
from studies.words import one_line, settings, spent

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

DRAWN_TRIALS = 500
"""In a kept figure: it travels with every poll of a page."""
LAST_LINE = "*Kept up to date by alexsearch. What you write below this line stays.*"
FIGURES_KEPT = ("lanes", "seconds")

_NOTE, _PLOT = "dashboard:note_", "dashboard:plot_data:alexsearch-"


def refresh_notes(storage: Storage, study: StudyRecord, trials: Sequence[FrozenTrial] | None = None) -> None:
    """Bring the note and the figures of a study of ours up to date.

    A caller that has the started `trials` already spares reading them. Another program's study is left alone.
    """
    if not study.is_ours:
        return
    now = next((each for each in all_studies(storage) if each.is_same(study)), None)  # retrained since, or renamed
    if now is None or not now.is_ours:
        return
    found = findings_of(storage, now, trials)
    body = study_note(found)
    figures = {f"{_PLOT}{name}:0": text for name, text in _figures(found).items()}

    def write(session: orm.Session) -> None:
        hold_study(session, study.study_id)
        stored = STUDY_SYSTEM.read_all(session, study.study_id, "dashboard:")
        wanted: dict[str, Any] = dict(figures)
        shown = _note_of(stored)
        if (note := _with_what_was_added(body, shown)) != shown:
            wanted |= {f"{_NOTE}str:{piece}": "" for piece in range(1, len(_pieces(stored)))}
            version: Any = stored.get(f"{_NOTE}ver")
            wanted |= {f"{_NOTE}str:0": note, f"{_NOTE}ver": version + 1 if is_whole(version) else 1}
        changed = {key: value for key, value in wanted.items() if key not in stored or stored[key] != value}
        STUDY_SYSTEM.write(session, study.study_id, changed)
        earlier = [key for key in stored if key.startswith(_PLOT) and key not in figures]
        STUDY_SYSTEM.remove(session, study.study_id, *earlier)

    storage.transaction(write)


def study_note(found: Findings) -> str:
    """The study's note, in Markdown."""
    rows = [("best", _best(found)), ("gain", _gain(found)), ("verified", _verified(found)), ("report", _paper(found))]
    took = spent(found.ledger.device_seconds, found.ledger.saved_seconds, found.ledger.pauses)
    rows += [("budget", escaped(described(found.counts))), ("cost", escaped(took))]
    rows += [("training" if found.is_own else "data", escaped(found.images))]
    rows += [("network", escaped(found.trains.text))] if found.trains.kind == "network" else []
    rows += [(escaped(name), escaped(words)) for name, words in found.space_lines]
    study = shlex.quote(found.study.shown)
    commands = [f"alexsearch report --study {study} -o report.html", f"alexsearch export --study {study} -o best.toml"]
    lines = [f"## {escaped(found.question)}", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {text} |" for name, text in rows if text]
    lines += ["", "```", *commands, "alexsearch retrain best.toml", "```", "", LAST_LINE]
    return "\n".join(lines)


def escaped(text: str) -> str:
    """`text` as Markdown that shows it as it is, on one line: no emphasis, no cell of a table, no HTML comes of it."""
    return re.sub(r"([\\`*\[\]<>&|~$]|(?<![^\W_])_|_(?![^\W_]))", lambda match: f"&#{ord(match[1])};", one_line(text))


def _best(found: Findings) -> str:
    if found.best is None:
        return "no trial is complete yet"
    settled = f"{escaped(found.metric.title)}, trial {found.best.number}: {escaped(settings(found.best.params))}"
    return f"**{found.metric.shown(found.best.value or 0.0)}** {settled}"


def _gain(found: Findings) -> str:
    gain, baseline = found.gain_over_baseline, found.baseline
    if gain is None or baseline is None:
        return ""
    metric = found.metric
    than = f"{'against' if metric.smaller_is_better else 'over'} the baseline's {metric.shown(baseline.value or 0.0)}"
    return f"**{metric.difference(gain)}** {than} (trial {baseline.number})"


def _verified(found: Findings) -> str:
    verified = found.verified
    if verified is None:
        return ""
    seeds = f"{len(verified.seeds)} seeds" if len(verified.seeds) > 1 else "1 seed"
    shown = found.metric.shown
    spread = f" ± {shown(verified.spread)}" if verified.spread is not None else ""
    on = "" if found.is_own else f" on the {verified.split} images"
    return f"**{shown(verified.mean)}**{spread}{on}, trial {verified.trial} trained anew, {seeds}"


def _paper(found: Findings) -> str:
    if not found.of_paper:
        return ""
    if found.verified is not None and found.verified.gain is not None:
        return f"{PAPER_SCORE:.4f} on the test images in 2022: **{found.verified.gain:+.4f}** over it"
    return f"{PAPER_SCORE:.4f} on the test images in 2022; `alexsearch retrain` tells what the best comes to there"


def _figures(found: Findings) -> dict[str, str]:
    """The kept figures as JSON, drawn of the last trials and the best."""
    from studies.draw.study_figures import figure_of

    chosen = list(found.trials[-DRAWN_TRIALS:])
    if found.best is not None and found.best not in chosen:
        chosen[0] = found.best
    note = f" ({len(chosen):,} of {len(found.trials):,} trials)" if len(chosen) < len(found.trials) else ""
    figures = {name: figure_of(replace(found, trials=chosen), name) for name in FIGURES_KEPT}
    for figure in figures.values():
        figure.layout.title.text += note
    return {name: str(figure.to_json()) for name, figure in figures.items()}


def _pieces(stored: Mapping[str, Any]) -> list[str]:
    keys = [key for key in stored if re.fullmatch(f"{_NOTE}str:[0-9]{{1,6}}", key)]
    return [str(stored[key]) for key in sorted(keys, key=lambda key: int(key.rpartition(":")[2]))]


def _note_of(stored: Mapping[str, Any]) -> str:
    return "".join(_pieces(stored)) if f"{_NOTE}ver" in stored else ""


def _with_what_was_added(body: str, shown: str) -> str:
    """`body` and what somebody wrote: below our last line, or in place of everything we had."""
    _, line, below = shown.partition(LAST_LINE)
    added = below if line else shown
    return f"{body}\n\n{added.strip()}" if added.strip() else body

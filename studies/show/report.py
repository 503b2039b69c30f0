"""A study as one HTML page that opens anywhere: no network, no server, nothing beside it.

`report_html` says what was asked, what was found and how sure that is, what it cost, and how to run it again. The page
holds plotly.js once (4.8 MB) and the figures as JSON. Whatever came from a study goes through Jinja's escaping; a
policy in the page's head lets no script load or send anything.
"""

from __future__ import annotations

import html
import importlib.metadata
import math
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from studies.record.catalog import described
from studies.record.curves import value_of
from studies.record.findings import Findings
from studies.record.published import PAPER_SCORE
from studies.record.retrained import verified
from studies.show.templates import embedded, render
from studies.words import STATE_WORDS, duration, number, one_line, settings_in, state_word, why

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial
    from plotly.graph_objects import Figure

MOST_POINTS = 20_000
"""Of learning curves: with 1,000 trials the page stays under 6 MB."""
SHOWN_FAILURES = 20


def report_html(found: Findings, *, space_toml: str, created: datetime | None = None) -> str:
    """The page. `space_toml` is the study's space as a file that `alexsearch run` takes."""
    figures = _figures(found)
    best, space_file = found.best, f"{found.study.name}.toml"
    failed = [trial for trial in found.trials if trial.state.name == "FAIL"]
    columns, rows = _table(found)
    return render(
        "report.html",
        name=found.study.shown,
        found=found,
        described=described(found.counts),
        span=_span(found.trials),
        tiles=_tiles(found),
        best=best,
        settings=[(key, number(value)) for key, value in _settings(best).items()],
        answer=_answer(found),
        titles={name: title for name, (title, _) in figures.items()},
        cost=_cost(found),
        costs=_costs(found),
        failures=[(trial.number, why(trial, found.metric.shown)) for trial in failed[-SHOWN_FAILURES:]],
        more_failures=max(0, len(failed) - SHOWN_FAILURES),
        columns=columns,
        rows=rows,
        space_file=space_file,
        space_toml=space_toml,
        commands=[
            f"alexsearch run {shlex.quote(space_file)}",
            f"alexsearch export --study {shlex.quote(found.study.shown)} -o best.toml",
            "alexsearch retrain best.toml --seeds 3",
        ],
        provenance=_provenance(found),
        version=importlib.metadata.version("alexsearch"),
        created=f"{created or datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        **embedded({name: figure for name, (_, figure) in figures.items()}),
    )


def _figures(found: Findings) -> dict[str, tuple[str, Figure]]:
    """Each figure, and its title, which the page has as a heading."""
    from studies.draw.study_figures import FIGURES, figure_of

    drawn = {}
    for name in FIGURES:
        figure = figure_of(found, name, most_points=MOST_POINTS)
        title = html.unescape(figure.layout.title.text)  # escaped for plotly; the page does it itself
        figure.update_layout(title=None, margin={"t": 72 if name == "parallel-coordinates" else 24})
        drawn[name] = (title, figure)
    return drawn


def _tiles(found: Findings) -> list[dict[str, str]]:
    best, retrained, ledger, metric = found.best, found.verified, found.ledger, found.metric
    tiles = [_tile(f"best {metric.title}", metric.shown(best.value or 0.0), f"trial {best.number}") if best else
             _tile(f"best {metric.title}", "-", "no trial is complete yet")]  # fmt: skip
    if retrained is not None:
        spread = f"± {metric.shown(retrained.spread)}, " if retrained.spread is not None else ""
        seeds = f"{len(retrained.seeds)} seed{'s' * (len(retrained.seeds) > 1)}, trial {retrained.trial}"
        on = "trained anew" if found.is_own else f"verified on the {retrained.split} images"
        tiles.append(_tile(on, metric.shown(retrained.mean), spread + seeds))
    elif best:
        on = "trained anew" if found.is_own else "verified on the test images"
        tiles.append(_tile(on, "not yet", "alexsearch retrain does it"))
    if (gain := found.gain_over_baseline) is not None and found.baseline is not None:
        name = "against the baseline" if metric.smaller_is_better else "gain over the baseline"
        its = f"its {metric.shown(found.baseline.value or 0.0)}, trial 0"
        tiles.append(_tile(name, metric.difference(gain), its, metric.ahead(gain, 0.0)))
    if found.of_paper and retrained is not None and retrained.gain is not None:
        tiles.append(_tile("gain over the report", f"{retrained.gain:+.4f}", f"its {PAPER_SCORE}", retrained.gain))
    elif found.of_paper:
        tiles.append(_tile("the report, 2022", f"{PAPER_SCORE:.4f}", "on the test images"))
    settled = found.counts.settled
    tiles.append(_tile("trials settled", f"{settled:,} of {found.counts.budget:,}", f"{found.counts.pruned:,} pruned"))
    saved = f"pruning saved about {duration(ledger.saved_seconds)}" if ledger.saved_seconds else "nothing was pruned"
    tiles.append(_tile("device time", duration(ledger.device_seconds), saved))
    return tiles


def _tile(name: str, value: str, note: str, gain: float = 0.0) -> dict[str, str]:
    return {
        "name": name,
        "value": value,
        "note": note.strip(),
        "sign": "up" if gain > 0 else "down" if gain < 0 else "",
    }


def _settings(trial: FrozenTrial | None) -> Mapping[str, Any]:
    if trial is None:
        return {}
    return settings_in(trial.user_attrs.get("config", trial.params))


def _answer(found: Findings) -> list[str]:
    """How sure the answer is, in sentences."""
    best, retrained, texts = found.best, found.verified, []
    if best is None:
        return []
    complete, shown = found.counts.complete, found.metric.shown
    if retrained is None and found.is_own:
        texts.append(
            f"It is the {found.metric.best_word} of {complete} values, and so a little too good to be expected again. "
            "The command alexsearch retrain trains this configuration anew on other seeds."
        )
    elif retrained is None:
        texts.append(
            f"It is the highest of {complete} validation scores, and so a little too good to be expected again. "
            "The command alexsearch retrain trains this configuration anew on all training images and measures it on "
            "the test images, which no part of the search has seen."
        )
    else:
        seeds = f"{len(retrained.seeds)} seeds" if len(retrained.seeds) > 1 else "one seed"
        trained_on = "" if found.is_own else f" on {retrained.images:,} images"
        measured_on = "" if found.is_own else f" on the {retrained.split} images"
        text = f"Trial {retrained.trial}, trained anew with {seeds}{trained_on}, came to "
        text += f"{shown(retrained.mean)}{measured_on}"
        if retrained.interval:
            low, high = map(shown, retrained.interval)
            text += f", with a 95% confidence interval from {low} to {high}"
        optimism = found.metric.difference(retrained.optimism)
        text += f". The search had thought {shown(retrained.searched)}: {optimism} of optimism."
        texts.append(text)
        if retrained.gain is not None:
            texts.append(f"The report of 2022 had {PAPER_SCORE:.4f} on the same images: {retrained.gain:+.4f}.")
    if (compared := verified(found.study)) is not None and compared.second is not None:
        sure = "can be told apart" if compared.told_apart else "can't be told apart"
        p_value = f", p = {compared.p_value:.3g}" if compared.p_value is not None else ""
        texts.append(
            f"On fresh seeds trial {compared.picked} was the best of the {len(compared.candidates)} compared; it and "
            f"the next, trial {compared.second}, {sure} (Welch's t-test{p_value})."
        )
    return texts


def _cost(found: Findings) -> str:
    spent, saved = found.ledger.device_seconds, found.ledger.saved_seconds
    if not spent:
        return "Nothing is in the account yet: no trial has run an epoch to its end."
    text = f"The devices trained for {duration(spent)}, validation included."
    if saved:
        text += f" Pruning saved about {duration(saved)}, {saved / (spent + saved):.0%} of what it would have been: an "
        text += "estimate, each pruned trial's epochs that were not run at the mean of its own."
    return text


def _costs(found: Findings) -> list[dict[str, str]]:
    counts: Counter[str] = Counter()
    seconds: Counter[str] = Counter()
    for trial in found.trials:
        if (cost := found.ledger.by_trial.get(trial.number)) is not None:
            counts[trial.state.name] += 1
            seconds[trial.state.name] += cost.seconds  # type: ignore[assignment]  # a Counter of floats
    total = found.ledger.device_seconds
    return [
        {
            "state": STATE_WORDS[state],
            "count": f"{counts[state]:,}",
            "seconds": duration(spent),
            "share": f"{spent / total:.0%}",
        }
        for state, spent in seconds.most_common()
        if total
    ]


def _span(trials: Sequence[FrozenTrial]) -> str:
    starts = [trial.datetime_start for trial in trials if trial.datetime_start]
    ends = [trial.datetime_complete for trial in trials if trial.datetime_complete]
    if not (starts and ends):
        return ""
    first, last = min(starts), max(ends)
    return f"From {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M}"


def _table(found: Findings) -> tuple[list[dict[str, Any]], list[list[dict[str, Any]]]]:
    """Columns and rows of all trials that have started; a cell's key sorts, where its text would not."""
    trials = [trial for trial in found.trials if state_word(trial) != "waiting"]
    names = list(dict.fromkeys(name for trial in trials for name in trial.params))
    metric = found.metric
    columns = [{"name": name, "number": True} for name in ("trial", one_line(metric.name), "epochs run", "took")]
    columns.insert(1, {"name": "state", "number": False})
    columns += [{"name": one_line(name), "number": False} for name in names]
    columns.append({"name": "where", "number": False})
    rows = []
    for trial in trials:
        stored, state = trial.user_attrs, state_word(trial)
        value, cost = value_of(trial), found.ledger.by_trial.get(trial.number)
        epochs, planned = stored.get("epochs_run", len(trial.intermediate_values)), _settings(trial).get("epochs")
        seconds = cost.seconds if cost else None
        row = [
            _cell(str(trial.number), "number"),
            _cell(state, f"state {state}"),
            _cell("" if value is None else metric.shown(value), "number"),
            _cell(f"{epochs}/{planned}" if planned else str(epochs), "number", epochs),
            _cell("" if seconds is None else duration(seconds), "number", "" if seconds is None else round(seconds, 1)),
        ]
        for name in names:
            given = trial.params.get(name, "")
            number_given = isinstance(given, float) and math.isfinite(given)
            row.append(_cell(number(given) if name in trial.params else "", "", given if number_given else None))
        row.append(_cell(one_line(" ".join(str(stored[key]) for key in ("host", "slot") if key in stored))))
        rows.append(row)
    return columns, rows


def _cell(text: str, kind: str = "", key: Any = None) -> dict[str, Any]:
    return {"text": text, "kind": kind, "key": key}


def _provenance(found: Findings) -> list[tuple[str, str]]:
    """What it ran on: versions and devices, of the best trial, or of the last that says."""
    known = [trial for trial in found.trials if "versions" in trial.user_attrs]
    told = found.best if found.best in known else known[-1] if known else None
    if told is None:
        return []
    stored = told.user_attrs
    devices = sorted({one_line(str(trial.user_attrs.get("device", ""))) for trial in known} - {""})
    facts = [("data fingerprint", stored.get("data_fingerprint")), ("devices", ", ".join(devices))]
    facts += [("versions", ", ".join(f"{name} {version}" for name, version in stored["versions"].items()))]
    facts += [("commit", stored.get("git_commit"))]
    return [(name, one_line(str(value))) for name, value in facts if value]

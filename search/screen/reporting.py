"""A study's report as a file: the whole as one HTML page, or one of its figures as a picture."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model.files import written_aside
from search.base.mistakes import InputError
from search.base.overwriting import check_file
from search.base.toml import as_toml, toml_key
from studies.record.catalog import StudyRecord, find_study
from studies.record.findings import findings_of
from studies.store.storage import Storage
from studies.words import WRITTEN_BY

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

WIDTH, HEIGHT, SCALE = 960, 540, 2
"""Of a figure as a picture, in pixels; a PNG has SCALE times as many."""
NEEDS_KALEIDO = (
    "needs plotly's own exporter, which is not installed: pip install kaleido. It draws with Chrome or Chromium, which "
    "must be installed too. The HTML report needs neither."
)


def write_report(storage: Storage, name: str | None, output: Path, *, force: bool = False) -> StudyRecord:
    """Write a study's report as one HTML file; "-" is standard output. Another program's file only with `force`.

    Raises:
        StudyError: no such study.
        InputError: another program made it, or `output` can't be written.
    """
    from studies.show.report import report_html

    study = _own_study(storage, name)
    # It is made to be mailed: where the data lies on this machine is nobody's business.
    attributes = {**study.attributes}
    for table in ("data", "space"):
        attributes[table] = _without_folder(attributes[table])
    told = replace(study, attributes=attributes)
    page = report_html(replace(findings_of(storage, study), study=told), space_toml=space_toml(attributes["space"]))
    _write(output, page.encode(), force=force)
    return study


def write_picture(storage: Storage, name: str | None, output: Path, kind: str, *, force: bool = False) -> StudyRecord:
    """Write a study as one picture, "png" or "svg": the curves of all trials, and the best as the budget was spent.

    Raises:
        StudyError: no such study.
        InputError: another program made it, no trial has reported yet, or `output` can't be written.
    """
    from studies.draw.picture import as_bytes, plain
    from studies.draw.study_picture import study_picture

    study = _own_study(storage, name)
    found = findings_of(storage, study)
    images = study.attributes["data"].get("train_images")
    what = f"of {plain(found.trains.text)}" if images is None else f"on {images:,} training images"
    title = f"{study.name}: {found.counts.settled} trials {what}"
    baseline = found.baseline.value if found.baseline else None
    try:
        drawn = study_picture(found.trials, found.metric, title=title, baseline=baseline, paper=found.beside_paper)
    except ValueError as error:
        raise InputError(f"study {study.shown!r}: {error}.") from None
    _write(output, as_bytes(drawn, kind), force=force)
    return study


def study_figure(storage: Storage, name: str | None, which: str) -> Figure:
    """One figure of a study, as plotly's.

    Raises:
        StudyError: no such study.
        InputError: another program made it, or there is no such figure.
    """
    from studies.draw.study_figures import FIGURES, figure_of

    if which not in FIGURES:
        raise InputError(f'there is no figure "{which}". There are: {", ".join(FIGURES)}.')
    return figure_of(findings_of(storage, _own_study(storage, name)), which)


def write_figure(figure: Figure, output: Path, kind: str, *, force: bool = False) -> None:
    """Write a figure as a page of its own, "html", or as a picture on white: "png", "svg" or "pdf".

    Raises:
        InputError: plotly's exporter is not here, or `output` can't be written.
    """
    if kind == "html":
        page = figure.to_html(include_plotlyjs=True, config={"displaylogo": False})
        marked = page.replace("<head>", f'<head><meta name="generator" content="{WRITTEN_BY}">', 1)
        _write(output, marked.encode(), force=force)
        return
    if importlib.util.find_spec("kaleido") is None:
        raise InputError(f"a {kind} file {NEEDS_KALEIDO}")
    figure.update_layout(paper_bgcolor="white", plot_bgcolor="white")
    try:
        picture = figure.to_image(format=kind, width=WIDTH, height=HEIGHT, scale=SCALE)
    except Exception as error:  # whatever its browser ran into
        raise InputError(f"a {kind} file: plotly's exporter failed: {' '.join(str(error).split())[:300]}") from error
    _write(output, picture, force=force)


def space_toml(space: Mapping[str, Any]) -> str:
    """A stored space as the file that it came from, or might have: `alexsearch run` takes it.

    Without hooks: a study stores none, and what somebody else has written there is not to be run.
    """
    lines: list[str] = []
    for name, given in space.items():
        if name == "hooks":
            continue
        for table in given if isinstance(given, list) else [given]:
            lines.append(f"[[{name}]]" if isinstance(given, list) else f"[{name}]")
            lines += [*(f"{toml_key(key)} = {as_toml(_short(value))}" for key, value in table.items()), ""]
    return "\n".join(lines)


def _without_folder(stored: Mapping[str, Any]) -> dict[str, Any]:
    """What a study stores of its data, or its space, with the name alone of a file or folder.

    What is trained keeps a path that is relative: it lies beside the space file.
    """
    if tables := {name: table for name in ("data", "train", "model") if isinstance(table := stored.get(name), Mapping)}:
        return {**stored, **{name: _without_folder(table) for name, table in tables.items()}}
    kept = {**stored, "source": Path(str(stored["source"])).name} if "source" in stored else dict(stored)
    for key in ("function", "network", "python"):
        if key in kept:
            kept[key] = _relative(str(kept[key]))
    if isinstance(kept.get("command"), list):
        kept["command"] = [_relative(str(word)) for word in kept["command"]]
    return kept


def _relative(path: str) -> str:
    return Path(path).name if Path(path).is_absolute() else path


def _short(value: Any) -> Any:
    """A range without the `log = false` that it has anyway, and its condition behind it."""
    if not isinstance(value, Mapping):
        return value
    kept = {key: inner for key, inner in value.items() if key != "when" and (key, inner) != ("log", False)}
    return {**kept, "when": value["when"]} if "when" in value else kept


def _own_study(storage: Storage, name: str | None) -> StudyRecord:
    study = find_study(storage, name)
    if not study.is_ours:
        raise InputError(
            f"study {study.shown!r} {study.not_ours}, so a report would not know what was asked. "
            "Look at it in `alexsearch dashboard`."
        )
    return study


def _write(output: Path, content: bytes, *, force: bool) -> None:
    if str(output) == "-":
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
        return
    check_file(output, force=force)
    if output.is_dir():
        raise InputError(f"{output}: is a folder. Name a file in it, e.g. {output / 'report.html'}.")
    try:
        with written_aside(output) as aside:
            aside.write_bytes(content)
    except OSError as error:
        raise InputError(f"{output}: can't be written ({error.strerror}). Name a file in another folder.") from error

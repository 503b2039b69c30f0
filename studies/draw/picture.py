"""How our matplotlib pictures look and how they get onto the disk.

Colours are Okabe and Ito's, which stay apart for the colour-blind; states differ in their markers as well. pyplot, and
with it any global figure or display, is never imported, and matplotlib only when something is drawn (0.3 s).
"""

from __future__ import annotations

import contextlib
import functools
import io
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from studies.words import PAUSED, STATE_WORDS, WRITTEN_BY

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

P = ParamSpec("P")
T = TypeVar("T")

BLUE, ORANGE, GREEN, RED, PINK, SKY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9"
INK, GREY = "#222222", "#8A8A8A"
LOOKS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "PRUNED": (ORANGE, "o"),
        "WAITING": (SKY, "d"),
        "RUNNING": (GREY, ">"),
        "COMPLETE": (BLUE, "s"),
        "FAIL": (PINK, "X"),
    }
)
"""The colour and marker of each state, in the order of drawing: the few failures lie on top of the many that went well.
"""


DRAWN_WORDS: Mapping[str, str] = MappingProxyType({**STATE_WORDS, "WAITING": PAUSED})
"""What is said of a state in a picture: of the trials that wait, only those that paused have something to be drawn."""


def in_our_style(draw: Callable[P, T]) -> Callable[P, T]:
    """`draw` by matplotlib's own defaults, whatever a `matplotlibrc` in the working folder or a home says.

    What a Python program has set before is left as it was.
    """

    @functools.wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> T:
        import matplotlib as mpl

        with mpl.rc_context():
            mpl.rcdefaults()
            return draw(*args, **kwargs)

    return drawn


def new_picture(width: float, height: float, columns: int = 1) -> tuple[Figure, Any]:
    """A figure of `width` by `height` inches with one Axes, or an array of them, in the style all pictures share."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    figure = Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1), facecolor="white")
    axes = figure.subplots(1, columns)
    for each in [axes] if columns == 1 else axes:
        each.spines[["top", "right"]].set_visible(False)
        each.spines[["left", "bottom"]].set_color(GREY)
        each.grid(color="#E4E4E4", linewidth=0.8)
        each.set_axisbelow(True)
        each.tick_params(colors=INK, labelsize=10)
        each.xaxis.label.set_size(11)
        each.yaxis.label.set_size(11)
        each.title.set_size(12)
    return figure, axes


def plain(text: str) -> str:
    """A text from a database as matplotlib shows it: a dollar would begin a formula."""
    return text.replace("$", r"\$")


def percent(axes: Axes, which: str = "y", decimals: int = 0) -> None:
    from matplotlib.ticker import PercentFormatter

    axis = axes.yaxis if which == "y" else axes.xaxis
    axis.set_major_formatter(PercentFormatter(1.0, decimals=decimals))


def whole_epochs(axes: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    low, high = axes.get_xlim()
    if high - low < 1:  # one epoch only: no fractions of one around it
        axes.set_xlim(low - 0.5, high + 0.5)


def legend_below(figure: Figure) -> None:
    """The legend below the axes, where it can't cover the data."""
    figure.legend(loc="outside lower center", ncols=2, fontsize=9, frameon=False)


def save_both(figure: Figure, stem: Path) -> list[Path]:
    return [save(figure, stem.with_name(f"{stem.name}.{kind}")) for kind in ("png", "svg")]


@in_our_style
def as_bytes(figure: Figure, kind: str) -> bytes:
    """The picture as a file's content, "png" or "svg". The same data gives the same bytes: no date, no random ids."""
    import matplotlib as mpl

    content = io.BytesIO()
    metadata = {"Date": None, "Creator": WRITTEN_BY} if kind == "svg" else {"Software": WRITTEN_BY}
    with mpl.rc_context({"svg.hashsalt": "alexsearch", "svg.fonttype": "path"}):
        figure.savefig(content, format=kind, dpi=160, metadata=metadata)
    return content.getvalue()


def save(figure: Figure, path: Path) -> Path:
    """Writes the picture aside and renames it, so that nobody ever sees half of one."""
    kind = path.suffix.removeprefix(".")
    if kind not in ("png", "svg"):
        raise ValueError(f"{path}: a figure is written as .png or .svg")
    path.parent.mkdir(parents=True, exist_ok=True)
    content = as_bytes(figure, kind)
    with _aside(path) as aside:
        aside.write_bytes(content)
    return path


@contextlib.contextmanager
def _aside(path: Path) -> Iterator[Path]:
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield aside
        with aside.open("rb") as written:
            os.fsync(written.fileno())  # or the power may fail between the rename and the content
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)

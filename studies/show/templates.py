"""The templates of pages and reports, and how plotly's figures get into those that must stand alone.

All text passes through Jinja's escaping: names, reasons and attributes come from databases that others write to.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


def render(template: str, **values: Any) -> str:
    """The template's text. Raises jinja2.UndefinedError when it names a value that is not given."""
    return str(_environment().get_template(template).render(values))


@cache
def _environment() -> Any:
    import jinja2

    from studies.record.published import PAPER_SCORE
    from studies.show import filters
    from studies.words import duration

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {name: getattr(filters, name) for name in ("score", "gain", "plain", "count", "plural")}
    environment.filters["duration"] = duration
    environment.globals["paper_score"] = PAPER_SCORE
    return environment


def embedded(figures: Mapping[str, Figure]) -> dict[str, Any]:
    """What draw.html takes: plotly's own script (4.8 MB), and the figures by name as JSON."""
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    document = ",".join(f'"{name}":{figure.to_json()}' for name, figure in figures.items())
    # In a script element only "</script" and "<!--" mean something, and both need a "<".
    escaped = document.replace("<", "\\u003c")
    return {"plotlyjs": Markup(get_plotlyjs()), "figures": Markup(f"{{{escaped}}}")}  # noqa: S704

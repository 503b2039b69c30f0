"""What is told to other programs of a study while it runs: the `[hooks]` table of a space file.

    [hooks]
    best   = ["notify-send", "a new best"]        # a command, started without a shell: the event on its standard input
    done   = "https://example.org/hooks/T0/B0"    # or a web address: the event is posted to it
    failed = ["./failed.sh"]

Commands are run on the host that was given the file and nowhere else, so the table is no part of what a study stores:
a database that others write to never says what is run here.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, field_validator

from model.config import Frozen

SCHEMES = ("http://", "https://")

Hook = Annotated[tuple[Annotated[str, Field(min_length=1, max_length=4000)], ...], Field(max_length=100)]
"""A command and its arguments, or one web address."""


def is_address(hook: Hook) -> bool:
    """Whether it is posted to, rather than run."""
    return hook[0].lower().startswith(SCHEMES)


class HooksSpec(Frozen):
    """The `[hooks]` table."""

    best: Hook | None = None
    """A trial of this run is the best of the study."""
    done: Hook | None = None
    """All trials of the study are settled, or one of its limits is reached."""
    failed: Hook | None = None
    """A trial of this run failed for good."""

    @field_validator("*", mode="before")
    @classmethod
    def _one_text_is_an_address(cls, raw: Any) -> Any:
        if raw == () or (isinstance(raw, str) and not raw.lower().startswith(SCHEMES)):
            raise ValueError('must be a list, as in ["notify-send", "a new best"], or a web address')
        return (raw,) if isinstance(raw, str) else raw

    @field_validator("*")
    @classmethod
    def _an_address_is_alone(cls, hook: Hook | None) -> Hook | None:
        if hook and is_address(hook) and len(hook) > 1:
            raise ValueError("must be one web address, or a command and its arguments")
        return hook

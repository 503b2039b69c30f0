"""What trainings beside the queue tell as they go on. What they came to they return, and `search.screen` prints it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from search.retraining.jobs import Happening, Job
    from search.retraining.verify import Candidate
    from studies.record.retrained import Verified


class View(Protocol):
    """What shows trainings to people. Several threads call it."""

    def note(self, text: str, style: str = "", /) -> None:
        """A line to be read; `style` is rich's, as in "yellow"."""

    def tell(self, job: Job, happening: Happening, /) -> None:
        """Something happened to a training."""

    def compared(self, candidates: Sequence[Candidate], verified: Verified, /) -> None:
        """A study's best trials were compared on fresh seeds: the best first."""


class Silent:
    """Shows nothing: for a program that wants only what comes of it."""

    def note(self, _text: str, _style: str = "") -> None: ...

    def tell(self, _job: Job, _happening: Happening) -> None: ...

    def compared(self, _candidates: Sequence[Candidate], _verified: Verified) -> None: ...


SILENT: Final = Silent()

"""Libraries kept from warning of what nobody can do anything about, in any thread."""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections.abc import Iterator

_turn = threading.RLock()


@contextlib.contextmanager
def without_warnings() -> Iterator[None]:
    """Within it no warning is shown.

    What is shown is the process's: of two slots that propose values at a time, the end of one would let the other's
    warnings through. So they take turns.
    """
    with _turn, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield

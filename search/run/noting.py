"""What people read of a study, brought up to date beside its run: it costs no trial anything, and none its life."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

EVERY_SECONDS = 60.0
PATIENCE_SECONDS = 5.0
"""How long the end of a run waits for the last refreshment; the database may be away."""


@contextlib.contextmanager
def kept_up_to_date(refresh: Callable[[], None]) -> Iterator[None]:
    """Calls `refresh` in a thread of its own, now and then and when the block ends. What it raises troubles nobody."""
    ended = threading.Event()

    def keep() -> None:
        over = False
        while not over:
            over = ended.wait(EVERY_SECONDS)
            with contextlib.suppress(Exception):
                refresh()

    thread = threading.Thread(target=keep, name="notes", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(PATIENCE_SECONDS)

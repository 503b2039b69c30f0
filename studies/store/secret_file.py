"""Reading a password or token out of a file, without waiting for ever."""

from __future__ import annotations

import errno
import os
import select
import time
from pathlib import Path

PIPE_SECONDS = 10.0
LONGEST = 64 * 1024


def read_secret(path: Path, seconds: float | None = None) -> str:
    """What is in a file, or comes out of a pipe (`<(pass show x)`) within `seconds`, PIPE_SECONDS unless given.

    Raises:
        OSError: it can't be read, nobody writes to the pipe in time, or it holds more than a secret does.
        UnicodeDecodeError: it is not UTF-8.
    """
    until = time.monotonic() + (PIPE_SECONDS if seconds is None else seconds)
    content = b""
    # Without O_NONBLOCK, opening a pipe already waits for somebody to write to it.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        while True:
            if not select.select([descriptor], [], [], max(0.0, until - time.monotonic()))[0]:
                raise TimeoutError(errno.ETIMEDOUT, "nothing came out of this pipe", str(path))
            part = os.read(descriptor, LONGEST)
            content += part
            if len(content) > LONGEST:
                raise OSError(errno.EFBIG, "is too long for a secret", str(path))
            if not part:
                return content.decode()
    finally:
        os.close(descriptor)

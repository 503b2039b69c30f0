"""TensorBoard's event files, written without TensorFlow, which a host never imports.

A file is a row of records (TensorFlow's `core/lib/io/record_writer.h`), each an `Event` (its `core/util/event.proto`),
of which few fields are needed here. A reader may look while it grows: so it is appended to, and not written aside.
"""

from __future__ import annotations

import itertools
import os
import socket
import struct
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from model.files import FILE_MODE, make_folder

Scalar = bool | int | float | str

_number = itertools.count()


class EventFile:
    """One run as TensorBoard calls it: a folder of such files, of which this is the newest."""

    def __init__(self, folder: Path) -> None:
        """Raises OSError if it can't be written."""
        make_folder(folder)
        host = socket.gethostname()[:100].replace("/", "_")
        name = f"events.out.tfevents.{time.time_ns() // 10**9:010d}.{host}.{os.getpid()}.{next(_number)}"
        flags = os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC
        self._file = os.open(folder / name, flags, FILE_MODE)
        self._write(_double(1, time.time()) + _text(3, "brain.Event:2"))

    def scalars(self, step: int, values: Mapping[str, float], at: float) -> None:
        """Numbers of one step, by name. `at` is when, in seconds since 1970. Raises OSError."""
        summary = b"".join(_bytes(1, _text(1, name) + _float(2, value)) for name, value in values.items())
        self._write(_double(1, at) + _int(2, step) + _bytes(5, summary))

    def begin(self, hyperparameters: Mapping[str, Scalar], group: str, at: float) -> None:
        """What the run's hyperparameters are, for the HParams page. Raises OSError."""
        entries = (_bytes(1, _text(1, name) + _bytes(2, _value(each))) for name, each in hyperparameters.items())
        start = b"".join(entries) + _text(4, group) + _double(5, at)
        self._hparams("_hparams_/session_start_info", _bytes(3, start), at)

    def end(self, *, well: bool, at: float) -> None:
        """The run has ended, `well` or not. Raises OSError."""
        self._hparams("_hparams_/session_end_info", _bytes(4, _int(1, 1 if well else 2) + _double(2, at)), at)

    def close(self) -> None:
        os.close(self._file)

    def _hparams(self, tag: str, content: bytes, at: float) -> None:
        metadata = _bytes(1, _text(1, "hparams") + _bytes(2, content))
        no_tensor = _int(1, 1) + _bytes(2, _bytes(2, b""))  # of floats, as the page's own writer has it
        value = _text(1, tag) + _bytes(8, no_tensor) + _bytes(9, metadata)
        self._write(_double(1, at) + _bytes(5, _bytes(1, value)))

    def _write(self, event: bytes) -> None:
        length = struct.pack("<Q", len(event))
        record = length + _masked(length) + event + _masked(event)
        while record:  # a disk that is full takes a part
            record = record[os.write(self._file, record) :]


def _varint(number: int) -> bytes:
    parts = []
    while number >= 0x80:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*parts, number])


def _int(field: int, number: int) -> bytes:
    return _varint(field << 3) + _varint(number & 2**64 - 1)


def _double(field: int, number: float) -> bytes:
    return _varint(field << 3 | 1) + struct.pack("<d", number)


def _float(field: int, number: float) -> bytes:
    try:
        return _varint(field << 3 | 5) + struct.pack("<f", number)
    except OverflowError:  # beyond what it can hold
        return _varint(field << 3 | 5) + struct.pack("<f", float("inf") if number > 0 else float("-inf"))


def _bytes(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _text(field: int, text: str) -> bytes:
    return _bytes(field, text.encode(errors="replace"))


def _value(value: Scalar) -> bytes:
    """A google.protobuf.Value."""
    if isinstance(value, bool):
        return _int(4, value)
    return _text(3, value) if isinstance(value, str) else _double(2, float(value))


def _masked(content: bytes) -> bytes:
    checksum = crc32c(content)
    return struct.pack("<I", ((checksum >> 15 | checksum << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def crc32c(content: bytes) -> int:
    """The CRC-32C of RFC 3720, appendix B.4."""
    checksum, table = 0xFFFFFFFF, _table()
    for byte in content:
        checksum = table[(checksum ^ byte) & 0xFF] ^ checksum >> 8
    return checksum ^ 0xFFFFFFFF


@cache
def _table() -> tuple[int, ...]:
    def entry(byte: int) -> int:
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        return byte

    return tuple(entry(byte) for byte in range(256))

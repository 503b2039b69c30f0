"""Reads the pickles that CIFAR comes in, and no others.

A pickle is a program: it names functions and calls them. Here every name that NumPy's arrays need stands for an inert
record, which keeps what it was called with; any other name is refused. So no code of a file's choosing runs, NumPy's
own included, and an array is made of such a record only once its type, shape and length agree. Python's own unpickler
is used instead of C's, whose table of memos a file may size at will.
"""

from __future__ import annotations

import io
import pickle
from math import prod
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from model.config import DataError

_KNOWN: Final = {
    (f"numpy.{core}.multiarray", name): name for core in ("core", "_core") for name in ("_reconstruct", "scalar")
} | {
    ("numpy.core.numeric", "_frombuffer"): "_frombuffer",
    ("numpy._core.numeric", "_frombuffer"): "_frombuffer",
    ("numpy", "ndarray"): "ndarray",
    ("numpy", "dtype"): "dtype",
    ("_codecs", "encode"): "encode",
    ("__builtin__", "bytes"): "bytes",
    ("builtins", "bytes"): "bytes",
}
_DTYPES: Final = frozenset({"u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8"})


class _Record:
    """What a call in a pickle left: its name, arguments and, if it was given one, state."""

    __slots__ = ("arguments", "kind", "state")

    def __init__(self, kind: str, arguments: tuple[Any, ...]) -> None:
        self.kind = kind
        self.arguments = arguments
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Name:
    """Stands for a function or class that a pickle names; calling it makes a record."""

    __slots__ = ("kind",)

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __call__(self, *arguments: Any) -> Any:
        if self.kind == "ndarray":
            raise pickle.UnpicklingError("an array that is made without its content")
        if self.kind == "encode":  # how Python 3 writes bytes into a pickle of protocol 2
            match arguments:
                case (str() as text, "latin1" | "latin-1" | b"latin1"):
                    return text.encode("latin-1")
            raise pickle.UnpicklingError("text in another encoding than latin1")
        if self.kind == "bytes":  # how it writes none of them
            if arguments:
                raise pickle.UnpicklingError("bytes that are made of something else")
            return b""
        return _Record(self.kind, arguments)

    def __setstate__(self, _state: Any) -> None:
        raise pickle.UnpicklingError(f"{self.kind} is given a state")


class _Reader(pickle._Unpickler):
    def find_class(self, module: str, name: str) -> _Name:
        if (kind := _KNOWN.get((module, name))) is None:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which is not part of an array")
        return _Name(kind)

    def get_extension(self, code: int) -> None:
        raise pickle.UnpicklingError(f"it names extension {code}, which is not part of an array")


def read_pickle(data: bytes, where: str) -> dict[str, Any]:
    """The dictionary in a pickle of arrays, bytes, lists, dictionaries and texts; its keys as texts.

    Raises:
        DataError: it is no such pickle, or is damaged. Nothing was run.
    """
    try:
        found = _Reader(io.BytesIO(data), encoding="bytes").load()
    except Exception as error:  # a made-up pickle fails in any way there is
        raise DataError(
            f"{where} can't be read as a pickle of arrays ({error or type(error).__name__}). Nothing in it was run. "
            "Is it damaged, or another file under this name?"
        ) from error
    if not isinstance(found, dict):
        raise DataError(f"{where} holds {type(found).__name__}, but a dictionary is expected. Is it another file?")
    return {_text(key): value for key, value in found.items()}


def array_of(value: Any, where: str) -> npt.NDArray[np.generic]:
    """A value of `read_pickle` as an array of numbers. Raises DataError if it is none."""
    made = None
    match value:
        case list():
            if all(type(each) is int and abs(each) < 2**31 for each in value):
                return np.array(value, np.int64)
        case _Record(
            kind="_reconstruct", state=(_, tuple() as shape, _Record(kind="dtype") as dtype, fortran, content)
        ):
            made = _filled(content, dtype, shape, "F" if fortran else "C")
        case _Record(kind="_frombuffer", arguments=(content, _Record(kind="dtype") as dtype, tuple() as shape, order)):
            made = _filled(content, dtype, shape, "F" if order in {"F", b"F"} else "C")
    if made is None:
        raise DataError(f"{where} is not an array of numbers. Is it another file under this name?")
    return made


def texts_of(value: Any, where: str) -> tuple[str, ...]:
    """A list of texts. Raises DataError if it is none."""
    if not isinstance(value, list) or not all(isinstance(each, (bytes, str)) for each in value):
        raise DataError(f"{where} is not a list of texts. Is it another file under this name?")
    return tuple(_text(each) for each in value)


def _filled(
    content: Any, dtype: _Record, shape: tuple[Any, ...], order: Literal["C", "F"]
) -> npt.NDArray[np.generic] | None:
    if isinstance(content, str):
        content = content.encode("latin-1", "replace")
    kind = _text(dtype.arguments[0]) if dtype.arguments else ""
    if kind not in _DTYPES or not isinstance(content, (bytes, bytearray)):
        return None
    if not all(type(size) is int and size >= 0 for size in shape):
        return None
    byte_order = _text(dtype.state[1]) if isinstance(dtype.state, tuple) and len(dtype.state) > 1 else "|"
    full = np.dtype(kind).newbyteorder(">") if byte_order == ">" else np.dtype(kind)
    if prod(shape) * full.itemsize != len(content):
        return None
    return np.frombuffer(bytes(content), full).reshape(shape, order=order)


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)

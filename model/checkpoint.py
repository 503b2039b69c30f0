"""The whole state of a training after an epoch, in one folder, good for an exact continuation.

Contract: one training at a time writes a folder. `save` returns when the state is on disk; whatever kills the process
at whatever moment, `load` afterwards finds the newest state that was saved whole. The two newest are kept, so that a
file damaged later costs one epoch. A file is one line of JSON (what it is, its length and SHA-256) and an `.npz` of
plain arrays: nothing in it is ever unpickled, and it holds nothing but the configuration, the history, the weights and
what the optimizer keeps of them.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import math
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import Field, ValidationError

from model.config import EpochMetrics, Frozen, TrainConfig
from model.files import read_regular, written_aside
from model.schedule import depends_on_epochs

FORMAT = 2
"""1 had no accumulators; what was trained without any goes on from one."""
KEPT = 2
SUFFIX = ".checkpoint"
ACCUMULATORS = "optimizer/"
FORMATS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
"""Of an array's header, by the version that it says"""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class State:
    """A training after the last epoch of its history. Everything random derives from the seed and the epoch."""

    config: TrainConfig
    """As it was run: `precision` is resolved."""
    data: str
    """Fingerprint of the images it was trained on."""
    history: tuple[EpochMetrics, ...]
    weights: Mapping[str, npt.NDArray[np.float32]]
    accumulators: Mapping[str, npt.NDArray[np.float32]] = field(default_factory=dict)
    """What the optimizer keeps, as in `momentum/conv1/kernel`."""


class _Header(Frozen):
    format: int = Field(ge=1)
    sha256: str
    config: TrainConfig
    data: str
    history: tuple[EpochMetrics, ...] = Field(min_length=1)


class _DamagedError(Exception):
    """This file can't be used; the message says why."""


def save(folder: Path, state: State) -> Path:
    """Write the state and drop all but the newest two; the path of the new file.

    Raises:
        OSError: the folder can't be written or the disk is full; what was saved before is still whole.
    """
    buffer = io.BytesIO()
    accumulators = {f"{ACCUMULATORS}{name}": value for name, value in state.accumulators.items()}
    np.savez(buffer, **{**state.weights, **accumulators}, allow_pickle=False)
    payload = buffer.getvalue()
    header = _Header(
        format=FORMAT,
        sha256=hashlib.sha256(payload).hexdigest(),
        config=state.config,
        data=state.data,
        history=state.history,
    )
    path = folder / f"epoch-{len(state.history):06d}{SUFFIX}"
    with written_aside(path) as temporary, temporary.open("wb") as file:
        file.write(header.model_dump_json().encode() + b"\n")
        file.write(payload)
    for left in folder.glob(f".epoch-*{SUFFIX}"):  # by a process that was killed while it wrote
        left.unlink(missing_ok=True)
    # By name and not by time: a file system's clock may stand still or jump.
    newer_first = _files(folder)
    older = [old for old in newer_first if old.name < path.name][KEPT - 1 :]
    for old in [*older, *(new for new in newer_first if new.name > path.name)]:
        old.unlink(missing_ok=True)
    return path


def load(
    folder: Path, config: TrainConfig, data: str, *, like: Mapping[str, tuple[int, ...]] | None = None
) -> State | None:
    """The newest whole state of this very training in the folder, or None if there is none.

    "This very training" has the same data and the same resolved configuration, except that it may have had fewer or
    more epochs planned where they decide nothing about the ones before (`model.schedule.depends_on_epochs`). With
    `like`, it has float32 arrays of these names and shapes: the weights, and under `ACCUMULATORS` what the optimizer
    keeps. What is damaged, whatever is wrong with it, or of another training is passed over with a warning in the log.
    """
    planned = {} if depends_on_epochs(config.schedule) else {"epochs": config.epochs}
    for path in _files(folder):
        try:
            state = _read(path, like)
        except _DamagedError as error:
            log.warning("Checkpoint %s is passed over: %s", path, error)
            continue
        if state.config.model_copy(update=planned) != config:
            log.warning("Checkpoint %s is passed over: it is of another configuration", path)
        elif state.data != data:
            log.warning("Checkpoint %s is passed over: it was trained on other images", path)
        elif len(state.history) > config.epochs:
            log.warning("Checkpoint %s is passed over: it is past epoch %d", path, config.epochs)
        else:
            return state
    return None


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"epoch-*{SUFFIX}"), reverse=True)


def _read(path: Path, like: Mapping[str, tuple[int, ...]] | None) -> State:
    try:
        return _parsed(path, like)
    except _DamagedError:
        raise
    except ValidationError as error:
        raise _DamagedError(f"its first line is not a checkpoint's ({error.error_count()} mistakes)") from None
    except Exception as error:
        # Readers of JSON, zip and NumPy raise nearly every type; none of them may cost a trial the file before.
        text = (str(error).strip().splitlines() or [""])[0][:200]
        raise _DamagedError(f"it can't be read ({type(error).__name__}: {text})") from error


def _parsed(path: Path, like: Mapping[str, tuple[int, ...]] | None) -> State:
    size = path.stat().st_size
    if like is not None and size > _room(like):
        raise _DamagedError(f"it has {size:,} bytes, more than this network's state can take")
    line, _, payload = read_regular(path, size).partition(b"\n")
    found = json.loads(line)
    if isinstance(found, dict) and isinstance(found.get("format"), int) and found["format"] > FORMAT:
        raise _DamagedError(f"its format {found['format']} is from a later version than {FORMAT}")
    header = _Header.model_validate_json(line)
    if hashlib.sha256(payload).hexdigest() != header.sha256:
        raise _DamagedError("its contents do not match its checksum")
    loaded = _arrays(payload)
    shapes = {name: array.shape for name, array in loaded.items()}
    if like is not None and like != shapes:
        odd = sorted(name for name in like.keys() | shapes.keys() if like.get(name) != shapes.get(name))
        raise _DamagedError(f"{', '.join(odd[:3])}: missing, of another shape, or not this network's")
    accumulators = {
        name.removeprefix(ACCUMULATORS): value for name, value in loaded.items() if name.startswith(ACCUMULATORS)
    }
    weights = {name: value for name, value in loaded.items() if not name.startswith(ACCUMULATORS)}
    return State(header.config, header.data, header.history, weights, accumulators)


def _arrays(payload: bytes) -> dict[str, npt.NDArray[np.float32]]:
    """The arrays of an `.npz` as `save` writes it. Raises _DamagedError where one claims what is not there."""
    with zipfile.ZipFile(io.BytesIO(payload)) as archive:
        for member in archive.infolist():
            if member.flag_bits & 1 or member.compress_type != zipfile.ZIP_STORED or member.file_size > len(payload):
                raise _DamagedError(f"{member.filename} is encrypted, packed or larger than the file")
            with archive.open(member) as opened:
                version = np.lib.format.read_magic(opened)
                header = FORMATS[version]
                shape, _, dtype = header(opened)
                if dtype != np.float32 or math.prod(shape) * dtype.itemsize != member.file_size - opened.tell():
                    raise _DamagedError(f"{member.filename} is {dtype} of shape {shape}, which is not what it holds")
    with np.load(io.BytesIO(payload), allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def _room(like: Mapping[str, tuple[int, ...]]) -> int:
    """What a file of these arrays takes at the most, the history of many epochs included."""
    return 4 * sum(math.prod(shape) for shape in like.values()) + 64_000_000

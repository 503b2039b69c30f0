"""The files that a space or a recipe names: a network or a training of one's own, found on this host and read, not run.

    own = own_of(space, (Path("my.toml").parent,))      # Program | NetworkSpec | None

User code is run only from a file that the space file, the recipe or the command line names, never from a database. What
a study was begun with is told by the file's SHA-256; a host that has another version of it, or none, is refused.
"""

from __future__ import annotations

import ast
import hashlib
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model.config import NetworkSpec
from model.files import read_regular
from search.base.mistakes import MAX_FILE_BYTES, InputError, closest
from search.base.toml import as_shown
from search.space.own import Program, TrainSpec
from search.space.space import NetworkSpace, OwnSpace, SearchSpace

Own = Program | NetworkSpec
LARGEST_PROGRAM = 4_000_000_000
"""Bytes of a `command`: a container image at most."""


def own_of(space: SearchSpace, folders: Sequence[Path]) -> Own | None:
    """What a space trains of one's own, looked for in these folders in turn; None for the AlexNet.

    Raises:
        InputError: there is no such file, no such function in it, or it does not go with the space's parameters.
    """
    if isinstance(space, OwnSpace):
        return program_of(space.train, tuple(space.parameters()), folders, has_epochs=space.train.epochs is not None)
    if isinstance(space, NetworkSpace):
        return network_of(space.model.network, space.build_parameters, folders)
    return None


def program_of(train: TrainSpec, params: tuple[str, ...], folders: Sequence[Path], *, has_epochs: bool) -> Program:
    """The `[train]` table on this host. Raises InputError."""
    common: dict[str, Any] = {
        "metric": train.metric,
        "has_epochs": has_epochs,
        "epoch_seconds": train.epoch_seconds,
        "params": params,
    }
    if train.command is not None:
        program = _program(train.command[0], folders)
        found = [(argument, _found(argument, folders)) for argument in train.command[1:]]
        return Program(
            called=train.called,
            file=str(program),
            sha256=_digest(program),
            arguments=tuple(argument if path is None else str(path) for argument, path in found),
            files=tuple((str(path), _digest(path)) for _, path in found if path is not None),
            **common,
        )
    assert train.function is not None  # noqa: S101 - the table has one of both
    file, _, name = train.function.rpartition(":")
    path, source = _source(file, folders)
    function = _function(source, path, name)
    if not function.takes_one:
        raise InputError(
            f"{as_shown(path)}: {name} must take one argument, the trial, as in `def {name}(trial):`, but is "
            f"`def {name}({function.written})`."
        )
    python = sys.executable if train.python is None else str(_program(train.python, folders))
    return Program(called=train.called, file=str(path), sha256=_sha256(source), function=name, python=python, **common)


def network_of(network: str, params: Sequence[str], folders: Sequence[Path]) -> NetworkSpec:
    """The `[model]` table on this host; `params` are what the space builds it with. Raises InputError."""
    file, _, name = network.rpartition(":")
    path, source = _source(file, folders)
    function = _function(source, path, name)
    mistakes = []
    if len(function.positional) < 2 and not function.any_positional:
        mistakes.append(f"must take image_shape and classes first, as in `def {name}(image_shape, classes, *, width):`")
    keywords = [*function.positional[2:], *function.keywords]
    if not function.any_keyword:
        unknown = [param for param in params if param not in keywords]
        mistakes += [f"does not take {param}, which is in [space].{closest(param, keywords)}" for param in unknown]
    missing = [keyword for keyword in function.needed if keyword not in params]
    mistakes += [f"needs {keyword}, which is not in [space].{closest(keyword, params)}" for keyword in missing]
    if mistakes:
        known = ", ".join(params) or "nothing"
        raise InputError(
            [f"{as_shown(path)}: {name} {mistake}" for mistake in mistakes]
            + [f"It is `def {name}({function.written})`; [space] gives it: {known}."]
        )
    return NetworkSpec(file=str(path), function=name, sha256=_sha256(source))


@dataclass(frozen=True)
class _Signature:
    positional: tuple[str, ...]
    keywords: tuple[str, ...]
    needed: tuple[str, ...]
    """Those of build's that have no default, the first two aside."""
    any_positional: bool
    any_keyword: bool
    written: str
    required: int
    """Positional ones without a default."""

    @property
    def takes_one(self) -> bool:
        """Whether it can be called with one argument."""
        can = len(self.positional) >= 1 or self.any_positional
        return can and self.required <= 1 and not set(self.needed) & set(self.keywords)


def _function(source: bytes, path: Path, name: str) -> _Signature:
    """How the function is declared: the file is parsed, not run. Raises InputError."""
    shown = as_shown(path)
    try:
        tree = ast.parse(source, filename=str(path))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        what = error.msg if isinstance(error, SyntaxError) else str(error)
        raise InputError(f"{shown}{line}: is not Python that can be read ({what}). Correct it.") from None
    defined = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    top = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    # Behind an `if`, a decorator's name or an assignment it may be there all the same: then its process tells.
    bound = {target.id for node in ast.walk(tree) if isinstance(node, ast.Name | ast.alias) for target in _bound(node)}
    if name not in top:
        if name in bound or any(node.name == name for node in defined):
            return _Signature((), (), (), any_positional=True, any_keyword=True, written="...", required=0)
        raise InputError(f"{shown}: has no function {name}.{closest(name, list(top))}")
    node = top[name]
    arguments = node.args
    positional = tuple(each.arg for each in (*arguments.posonlyargs, *arguments.args))
    required = len(positional) - len(arguments.defaults)
    keywords = tuple(each.arg for each in arguments.kwonlyargs)
    needed = [
        each.arg for each, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if default is None
    ]
    return _Signature(
        positional=positional,
        keywords=keywords,
        needed=(*positional[2:required], *needed),
        any_positional=arguments.vararg is not None or bool(node.decorator_list),
        any_keyword=arguments.kwarg is not None or bool(node.decorator_list),
        written=ast.unparse(arguments),
        required=0 if node.decorator_list else required,
    )


def _bound(node: ast.Name | ast.alias) -> list[ast.Name]:
    if isinstance(node, ast.alias):
        return [ast.Name(node.asname or node.name)]
    return [node] if isinstance(node.ctx, ast.Store) else []


def _source(file: str, folders: Sequence[Path]) -> tuple[Path, bytes]:
    """The first such file, and what is in it. Raises InputError."""
    path = _found(file, folders)
    if path is None:
        raise InputError(f"{file}: there is no such file{_looked(file, folders)}. Put it there, or correct the name.")
    try:
        return path, read_regular(path, MAX_FILE_BYTES)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise InputError(f"{as_shown(path)}: can't be read ({reason}).") from None


def _found(file: str, folders: Sequence[Path]) -> Path | None:
    for folder in folders:
        path = Path(os.path.normpath(folder.absolute() / Path(file).expanduser()))  # links stay: a venv's python is one
        if path.is_file():
            return path
    return None


def _looked(file: str, folders: Sequence[Path]) -> str:
    if Path(file).is_absolute():
        return ""
    return " in " + " or ".join(dict.fromkeys(as_shown(folder.absolute()) for folder in folders))


def _program(name: str, folders: Sequence[Path]) -> Path:
    """A program by its path, or by its name on PATH. Raises InputError."""
    found = shutil.which(name) if os.sep not in name else None
    path = Path(found).absolute() if found else _found(name, folders)
    if path is None:
        where = (
            _looked(name, folders) if os.sep in name else " on PATH" + _looked(name, folders).replace(" in", " or in")
        )
        raise InputError(f"{name}: there is no such program{where}. Put it there, or correct the name.")
    if not os.access(path, os.X_OK):
        raise InputError(f"{as_shown(path)}: is not executable. Make it so: chmod +x {as_shown(path)}")
    return path


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{as_shown(path)}: can't be read ({error.strerror}).") from None

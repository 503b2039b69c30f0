"""Mistakes in what people write, told so that they can be put right.

A space file, a recipe and a command line are checked by pydantic models. This module turns pydantic's errors into our
form, one a line, all of them at once: where (file, table, key), what is wrong, the value, and the way out.

    quick.toml [space.batch_size]: low must be >= 1, but is 0.
    quick.toml [study]: unknown key trails. Did you mean trials? Known keys: name, trials, timeout, ...

Validators have two ways to add to it. A `ValueError` is one clause about its key ("must be ..."); the value is added
here. `sentences(...)` makes an error of whole sentences, for what is said about a table or between two tables.
"""

from __future__ import annotations

import difflib
import itertools
import json
import re
import tomllib
import types
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from model.files import read_regular
from search.base.toml import as_shown, as_toml, toml_key, with_tuples

MAX_FILE_BYTES = 4_000_000  # a recipe of 20,000 epochs; whatever is larger is not one of our files
DEEPEST = 32
"""How deep a file of ours may be nested; a recipe is four deep."""
MOST_KEYS, MOST_ITEMS = 1_000, 50_000
"""Of one table, and of one list: the epochs of a curve are the longest"""
MOST_DOTS = 64
"""In a key of TOML: the time to read one grows with the cube of its parts."""
MANY = 50
"""Of more mistakes than these only the first two are told: such a file is not one of ours that went wrong."""
LONGEST_LINE = 2_000

_SENTENCES = "sentences"
_TYPES = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "a text in quotes",
    "string_unicode": "text in valid Unicode",
    "tuple_type": "a list in square brackets",
    "dict_type": "a table",
    "model_type": "a table",
    "model_attributes_type": "a table",
}

_LIMITS = {
    "greater_than_equal": "be >= {ge:.12g}",
    "greater_than": "be > {gt:.12g}",
    "less_than_equal": "be <= {le:.12g}",
    "less_than": "be < {lt:.12g}",
    "string_too_short": "have at least {min_length} characters",
    "string_too_long": "have at most {max_length} characters",
}


class InputError(Exception):
    """A setting, file or argument is wrong: nothing was started. The command line prints it and exits with 2."""

    def __init__(self, mistakes: str | Iterable[str]) -> None:
        self.mistakes: tuple[str, ...] = (mistakes,) if isinstance(mistakes, str) else tuple(mistakes)
        """One line each."""
        super().__init__("\n".join(self.mistakes))


@dataclass(frozen=True)
class Finding:
    """One mistake before it is known how its place is called: `name` and `clause` together are the sentence."""

    keys: tuple[str | int, ...]
    """The path of the value, such as ("study", "trials"); numbers are places in a list, from 0."""
    table: tuple[str | int, ...]
    """The part of `keys` that goes into the square brackets."""
    name: str
    clause: str
    is_type: bool = False
    """True when only the type is wrong: then another branch of a union may have the better message."""

    def sentence(self, called: str | None = None) -> str:
        """The mistake without its place; `called` stands in for the key's own name."""
        name = self.name if called is None else called
        if not name or not self.name:
            return self.clause
        return f"{name} {self.clause}" if self.clause.startswith(("must", "is ")) else f"{name}: {self.clause}"


def closest(word: str, known: Collection[str]) -> str:
    """ " Did you mean x?", or nothing."""
    if len(word) > 100:
        return ""
    match = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f" Did you mean {match[0]}?" if match else ""


def sentences(lines: Sequence[str]) -> PydanticCustomError:
    """The error that a validator raises for whole sentences, one a line."""
    return PydanticCustomError(_SENTENCES, "{lines}", {"lines": "\n".join(lines)})


def explain(
    error: ValidationError,
    model: type[BaseModel],
    file: str,
    options: Mapping[tuple[str | int, ...], str] | None = None,
) -> tuple[str, ...]:
    """All mistakes of `error`, raised by validating `model`, as lines that start with `file` and the table.

    `options` names the command-line options that some keys came from: {("study", "trials"): "--trials"}.
    """
    lines = []
    found, count = findings(error, model), error.error_count()
    for finding in found if count <= MANY else found[:2]:
        option = (options or {}).get(finding.keys)
        if option is not None:
            lines.append(f"{option}: {finding.clause}")
        elif not finding.keys and finding.clause.startswith("["):
            lines.append(f"{file} {finding.clause}")
        else:
            place = f"{file} [{_joined(finding.table)}]" if finding.table else file
            lines.append(f"{place}: {finding.sentence()}")
    if count > MANY:
        lines.append(f"{file}: and {count - len(lines):,} mistakes more. Is it a file of another kind?")
    return tuple(line if len(line) <= LONGEST_LINE else f"{line[: LONGEST_LINE - 3]}..." for line in lines)


def findings(error: ValidationError, model: type[BaseModel]) -> list[Finding]:
    """The mistakes of `error`, in order, with the branches of a union brought down to the ones that say something."""
    found: list[Finding] = []
    for details in itertools.islice(error.errors(include_url=False), MANY):
        found += _findings_of(details, model)
    return _without_lesser_branches(found)


def _findings_of(details: ErrorDetails, model: type[BaseModel]) -> list[Finding]:
    place = _Place.walk(model, details["loc"])
    kind, context = details["type"], details.get("ctx", {})
    table, name, is_type = place.keys[:-1], place.name, False
    shown = f", but is {as_toml(details['input'], 80)}."
    match kind:
        case _ if kind == _SENTENCES:
            return [Finding(place.keys, place.keys, "", line) for line in str(context["lines"]).split("\n")]
        case "extra_forbidden":
            known = place.siblings
            clause = f"unknown key {toml_key(name)}.{closest(name, known)} Known keys: {', '.join(known)}."
            name = ""
        case "missing":
            clause = f"is missing. {place.how_to_add()}"
        case "union_tag_invalid" | "union_tag_not_found":
            key = str(context["discriminator"]).strip("'")
            tags = place.tags(key)
            wrong = f"{key} {as_toml(context['tag'])} is unknown." if "tag" in context else f"{key} is missing."
            clause = f"{wrong}{closest(context.get('tag', ''), tags)} Use one of {', '.join(map(as_toml, tags))}."
            table, name = place.keys, ""
        case "value_error" if place.is_table:
            clause = f"{context['error']}."
            table, name = place.keys, ""
        case "value_error":
            clause = f"{context['error']}{shown}"
        case _ if kind in _TYPES and details["input"] is None:
            clause, is_type = "must have a value, but is None.", True
        case _ if kind in _TYPES:
            clause, is_type = f"must be {_TYPES[kind]}{shown}", kind != "finite_number"
        case _:
            clause = f"must {_must(kind, context, details['msg'])}{shown}"
    return [Finding(place.keys, table, name, clause, is_type)]


def _must(kind: str, context: Mapping[str, Any], message: str) -> str:
    if kind == "literal_error":
        return "be " + str(context["expected"]).replace("'", '"')
    if kind == "string_too_short" and context["min_length"] == 1:
        return "not be empty"
    return _LIMITS[kind].format(**context) if kind in _LIMITS else f"be something else ({message})"


def _without_lesser_branches(found: Sequence[Finding]) -> list[Finding]:
    """A union such as "number or list" complains once a branch: keep the branch that the value was meant for."""
    result: list[Finding] = []
    for finding in found:
        rivals = [other for other in found if finding.is_type and other is not finding and _same(finding, other)]
        if any(not other.is_type or len(other.keys) > len(finding.keys) for other in rivals):
            continue
        before = [index for index, kept in enumerate(result) if kept.is_type and kept.keys == finding.keys]
        if rivals and before:
            kinds, but, value = result[before[0]].clause.partition(", but is ")
            kind = finding.clause.removeprefix("must be ").partition(but)[0]
            if kind not in kinds.removeprefix("must be ").split(" or "):
                result[before[0]] = replace(finding, clause=f"{kinds} or {kind}{but}{value}")
            continue
        result.append(finding)
    return result


def _same(finding: Finding, other: Finding) -> bool:
    return finding.keys == other.keys[: len(finding.keys)]


@dataclass(frozen=True)
class _Place:
    """Where in a model an error is. Pydantic mixes the names of union branches into its paths: they are left out."""

    keys: tuple[str | int, ...]
    name: str
    owner: type[BaseModel] | None
    kinds: tuple[Any, ...]

    @classmethod
    def walk(cls, model: type[BaseModel], path: Sequence[str | int]) -> _Place:
        keys: list[str | int] = []
        name = ""
        owner: type[BaseModel] | None = None
        kinds: tuple[Any, ...] = (model,)
        for part in path:
            if isinstance(part, str) and len(kinds) == 1 and get_origin(kinds[0]) is tuple:
                kinds = get_args(kinds[0])[:1]  # one table may stand for a list of them
            models = [kind for kind in kinds if _is_model(kind)]
            if isinstance(part, int):
                keys.append(part)
                name = f"item {part + 1} of {name}"
                kinds = tuple(branch for kind in kinds for item in get_args(kind)[:1] for branch in _branches(item))
            elif len(kinds) > 1:
                kinds = tuple(kind for kind in models if part in _literals(kind)) or kinds
            elif models:
                owner = models[0]
                keys.append(part)
                name = part
                kinds = _branches(owner.model_fields[part].annotation) if part in owner.model_fields else ()
            elif kinds and get_origin(kinds[0]) is dict:
                keys.append(part)
                name = toml_key(part)
                kinds = ()
        return cls(tuple(keys), name, owner, kinds)

    @property
    def is_table(self) -> bool:
        return any(_is_model(kind) for kind in self.kinds)

    @property
    def siblings(self) -> list[str]:
        return list(self.owner.model_fields) if self.owner is not None else []

    def tags(self, key: str) -> list[str]:
        return [tag for kind in self.kinds for tag in get_args(kind.model_fields[key].annotation)]

    def how_to_add(self) -> str:
        field = self.owner.model_fields[self.name] if self.owner is not None else None
        if field and field.examples:
            return f"Add it, e.g. {self.name} = {as_toml(field.examples[0])}."
        if self.is_table:
            return f"Add a table [{_joined(self.keys)}]; its keys are: {', '.join(self.kinds[0].model_fields)}."
        return "Add it."


def _joined(keys: Sequence[str | int]) -> str:
    parts = [f", item {key + 1}" if isinstance(key, int) else f".{toml_key(key)}" for key in keys]
    return "".join(parts).removeprefix(".")


def _is_model(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _branches(annotation: object) -> tuple[Any, ...]:
    origin = get_origin(annotation)
    if origin is Annotated:
        return _branches(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return tuple(branch for arm in get_args(annotation) if arm is not type(None) for branch in _branches(arm))
    return (annotation,)


def _literals(model: type[BaseModel]) -> set[object]:
    annotations = [field.annotation for field in model.model_fields.values()]
    return {value for note in annotations if get_origin(note) is Literal for value in get_args(note)}


def read_toml(path: Path, called: str | None = None) -> dict[str, Any]:
    """The document in a TOML file, with tuples for lists so that strict models take it.

    `called` is the file's name in messages, by default the path as given. Raises InputError when there is no such
    file, it can't be read, is too large to be one of ours, is not UTF-8 or is not TOML.
    """
    name = called if called is not None else as_shown(path)
    document: dict[str, Any] = _parsed(path, name, "TOML", _toml)
    return document


def read_json(path: Path) -> dict[str, Any]:
    """The same of a JSON file that holds an object."""
    name = as_shown(path)
    document = _parsed(path, name, "JSON", _json_object)
    if not isinstance(document, dict):
        raise InputError(f"{name}: must be a JSON object, {{...}}, but is {as_toml(document, 80)}.")
    return document


def _toml(text: str) -> dict[str, Any]:
    plain = re.sub(r'"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'', "", text)
    if any(part.count(".") > MOST_DOTS for part in re.split(r"[=,{}\[\]\n#]", plain)):
        raise RecursionError
    return tomllib.loads(text)


def _json_object(text: str) -> Any:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):  # TOML refuses this by itself; Python's JSON would take the last
            seen: set[str] = set()
            twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
            raise ValueError(f"key {toml_key(twice)} is there twice")
        return found

    return json.loads(text, object_pairs_hook=once)


def _parsed(path: Path, name: str, kind: str, parse: Callable[[str], Any]) -> Any:
    try:
        content = read_regular(path, MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        raise InputError(f"{name}: there is no such file. Check the path.") from None
    except IsADirectoryError:
        raise InputError(f"{name}: is a folder, but a {kind} file is needed. Name the file inside it.") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise InputError(f"{name}: can't be read ({reason}). Check the path and its permissions.") from error
    if len(content) > MAX_FILE_BYTES:
        raise InputError(f"{name}: is larger than {MAX_FILE_BYTES:,} bytes, so it is not one of our files.")
    try:
        document = parse(content.decode("utf-8-sig"))
        _check_size(document, name)
        return with_tuples(document)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise InputError(f"{name}: line {line} is not UTF-8 text. Save the file as UTF-8.") from None
    except RecursionError:
        raise InputError(f"{name}: is not {kind} that can be read: its brackets are nested too deeply.") from None
    except ValueError as error:  # both libraries' errors are one, and so is a number of more than 4,300 digits
        if kind == "TOML" and (other := _other_format(content)):
            raise InputError(
                f"{name}: is {other}, but this file must be TOML: `[table]` heads with `key = value` lines below."
                + (" Only a recipe may be JSON: call it .json." if other == "JSON" else "")
            ) from None
        ended = content.rstrip()
        cut = "end of document" in str(error) if kind == "TOML" else not ended.endswith(b"}")
        way_out = "Was the file cut short?" if cut or getattr(error, "pos", 0) >= len(ended) else "Correct that line."
        raise InputError(f"{name}: is not valid {kind}: {json.dumps(str(error))[1:-1]}. {way_out}") from None


def _other_format(content: bytes) -> str | None:
    """ "JSON" or "YAML" if that is what the content of a file, which is no TOML, plainly is."""
    if content.lstrip().startswith(b"{"):
        return "JSON"
    lines = [line for line in content.splitlines() if line.strip() and not line.lstrip().startswith(b"#")]
    has_keys = any(re.match(rb"\s*(- )?[A-Za-z_]\w*:(\s|$)", line) for line in lines)
    return "YAML" if has_keys and not any(line.startswith(b"[") for line in lines) else None


def _check_size(document: Any, name: str) -> None:
    """Raises InputError if a table or list has more in it than any of ours, RecursionError if one is nested deeper."""
    level = [document]
    for _ in range(DEEPEST):
        deeper: list[Any] = []
        for each in level:
            if isinstance(each, (dict, list)):
                if len(each) > (MOST_KEYS if isinstance(each, dict) else MOST_ITEMS):
                    what = "keys in a table" if isinstance(each, dict) else "items in a list"
                    raise InputError(f"{name}: has {len(each):,} {what}, so it is not one of our files.")
                deeper += each.values() if isinstance(each, dict) else each
        level = deeper
    if level:
        raise RecursionError

"""Image folders: `train/<class>/...`, with a test set, a validation set, both or neither; or class folders alone.

Everything is listed before an image is opened, and of the test set nothing else is done until it is asked for.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from model.config import DataError
from model.images import (
    IMAGE_SHAPE,
    IMAGE_SUFFIXES,
    SKIPPING,
    Gathering,
    ImageSet,
    Shape,
    UnreadableImageError,
    decoded,
    image_set,
    no_test_set,
    resizing,
    tag_of,
)
from model.kept import Arrays, Part, kept, key_of, notes_in
from model.npz import PARTS

_LEFT_BY_OTHERS: Final = frozenset({"thumbs.db", "desktop.ini", ".ds_store"})
_NO_CLASS: Final = frozenset({"__macosx", "@eadir", "__pycache__"})
_TEST_SHARE: Final = 5
"""Of class folders without a split, one image in so many is for the test."""
_NAMED_AT_ONCE: Final = 20
_DECODING: Final = 2
"""Raise it when the same file decodes to other pixels: what was kept before is then decoded again."""

Labelled = tuple[tuple[Path, int], ...]
"""Files and the number of their class each."""


@dataclass
class _Passed:
    """What was passed over, to be said."""

    folders: list[str] = field(default_factory=list)
    suffixes: Counter[str] = field(default_factory=Counter)
    nested: list[str] = field(default_factory=list)
    loose: list[str] = field(default_factory=list)

    def notes(self) -> list[str]:
        notes = []
        if self.folders:
            notes.append(f"passed over, being no class: {_listed(self.folders)}")
        if self.nested:
            notes.append(f"passed over, being folders inside a class: {_listed(self.nested)}. Move their images up")
        if self.loose:
            notes.append(f"passed over, being in no class folder: {_listed(self.loose)}")
        if self.suffixes:
            kinds = ", ".join(f"{count} {suffix}" for suffix, count in sorted(self.suffixes.items())[:10])
            notes.append(f"passed over, being no images: {kinds}")
        return notes


@dataclass(frozen=True)
class Tree:
    """A folder's images, by part."""

    path: Path
    classes: tuple[str, ...]
    parts: dict[Part, Labelled]
    """Of the parts that are there."""
    notes: tuple[str, ...]


def load_folder(path: Path, part: Part, cache: Path, shape: Shape = IMAGE_SHAPE, *, skip_unreadable: bool) -> ImageSet:
    """The training images of a folder, its validation set among them, or its test images.

    They are decoded again when a file came, went or changed.

    Raises:
        DataError: it is no such folder; or images can't be read, all of which are named, unless they are to be skipped.
    """
    tree = list_folder(path)
    if part not in tree.parts:
        raise no_test_set(str(path))
    found, validation = _decoded(tree, part, cache, shape, skip_unreadable), None
    if part == "test":
        return found
    if "validation" in tree.parts:
        height, width, channels = found.images.shape[1:]
        validation = _decoded(tree, "validation", cache, (height, width, channels), skip_unreadable)
    notes = [*tree.notes, *found.notes]
    notes += [f"validation set: {note}" for note in (validation.notes if validation else ())]
    return ImageSet(found.images, found.labels, tree.classes, tuple(notes), validation, "test" in tree.parts)


def folder_counts(path: Path) -> tuple[int, bool, int]:
    """How many training images there are, whether it has a validation set, and how many classes. Raises DataError."""
    tree = list_folder(path)
    return len(tree.parts["train"]), "validation" in tree.parts, len(tree.classes)


def list_folder(path: Path) -> Tree:
    """What a folder holds, no image of it being opened. Raises DataError if it is no image folder."""
    parts = {part: _part_folder(path, words) for part, words in PARTS.items()}
    there = {part: folder for part, folder in parts.items() if folder is not None}
    if "train" in there:
        return _with_parts(path, there)
    if there:
        raise DataError(
            f"{path} has no folder train/, but {_listed([folder.name for folder in there.values()])}. An image folder "
            "holds train/<class>/ and test/<class>/."
        )
    return _of_classes(path)


def _part_folder(path: Path, words: tuple[str, ...]) -> Path | None:
    folders = {entry.name: entry for entry in path.iterdir() if entry.is_dir() and entry.name.lower() in words}
    for word in words:
        if word in folders:  # spelt exactly so: others beside it are other things
            return folders[word]
    if len(folders) > 1:
        raise DataError(f"{path} has both {' and '.join(sorted(folders))}. Leave out all but one.")
    return next(iter(folders.values()), None)


def _with_parts(path: Path, folders: dict[Part, Path]) -> Tree:
    passed = _Passed()
    used = {folder.name for folder in folders.values()}
    passed.folders += [
        f"{entry.name}/" for entry in sorted(path.iterdir()) if entry.is_dir() and entry.name not in used
    ]
    classes = {part: _class_folders(folder, path, passed) for part, folder in folders.items()}
    known = tuple(sorted(classes["train"]))
    notes = []
    for part, folder in folders.items():
        if strange := sorted(set(classes[part]) - set(known)):
            raise DataError(
                f"{folders['train']} has no folder for {_listed(strange)}, which {folder} has. Add training images of "
                "it, or remove it."
            )
        if absent := [name for name in known if name not in classes[part]]:
            notes.append(f"{folder} has no folder for {_listed(absent)}: nothing is measured there")
    _enough(known, folders["train"])
    parts: dict[Part, Labelled] = {}
    for part in folders:
        parts[part] = tuple(
            (file, number)
            for number, name in enumerate(known)
            if name in classes[part]
            for file in _image_files(classes[part][name], path, passed, needed=True)
        )
    return Tree(path, known, parts, (*notes, *passed.notes()))


def _of_classes(path: Path) -> Tree:
    """Class folders without a split: of each class a fifth, at least one, drawn from a fixed seed, is the test set."""
    passed = _Passed()
    folders = _class_folders(path, path, passed)
    files = {name: _image_files(folder, path, passed, needed=False) for name, folder in sorted(folders.items())}
    passed.folders += [f"{name}/" for name, found in files.items() if not found]
    known = tuple(name for name, found in files.items() if found)
    if not known:
        inside = [entry.name for entry in sorted(path.iterdir()) if entry.is_dir() and _part_folder(entry, ("train",))]
        hint = f" {path / inside[0]} has one: name that." if inside else ""
        raise DataError(
            f"{path} has no folder train/, and no class folders with images either.{hint or ''} An image folder holds "
            "train/<class>/ and test/<class>/, or <class>/."
        )
    _enough(known, path)
    parts: dict[Part, list[tuple[Path, int]]] = {"train": [], "test": []}
    for number, name in enumerate(known):
        of_class = files[name]
        if len(of_class) < 2:
            raise DataError(f"{path / name} has 1 image, but a split into training and test needs 2. Add one.")
        random = np.random.Generator(np.random.Philox(np.random.SeedSequence(0, spawn_key=(number,))))
        held_out = set(random.permutation(len(of_class))[: max(1, len(of_class) // _TEST_SHARE)].tolist())
        for index, file in enumerate(of_class):
            parts["test" if index in held_out else "train"].append((file, number))
    note = (
        f"{path} has no train/ and test/: of each class a fifth was set aside as the test set, {len(parts['test'])} of "
        f"{sum(map(len, files.values()))} images, always the same while no file comes or goes"
    )
    return Tree(path, known, {part: tuple(found) for part, found in parts.items()}, (note, *passed.notes()))


def _class_folders(path: Path, root: Path, passed: _Passed) -> dict[str, Path]:
    found, loose = {}, 0
    for entry in sorted(path.iterdir()):
        if entry.is_dir():
            if entry.name[0] == "." or entry.name.lower() in _NO_CLASS:
                passed.folders.append(f"{entry.relative_to(root)}/")
            else:
                found[entry.name] = entry
        elif entry.suffix.lower() in IMAGE_SUFFIXES and entry.name[0] != ".":
            loose += 1
    if loose:
        where = "the folder itself" if path == root else f"{path.relative_to(root)}/"
        passed.loose.append(f"{loose} image{'s' * (loose > 1)} of {where}")
    return found


def _image_files(path: Path, root: Path, passed: _Passed, *, needed: bool) -> list[Path]:
    files = []
    for entry in sorted(path.iterdir()):
        if entry.name[0] == "." or entry.name.lower() in _LEFT_BY_OTHERS:
            continue
        if entry.suffix.lower() in IMAGE_SUFFIXES and not entry.is_dir():
            files.append(entry)
        elif entry.is_dir():
            if entry.name.lower() not in _NO_CLASS:
                passed.nested.append(f"{entry.relative_to(root)}/")
        else:
            passed.suffixes[entry.suffix.lower() or "without a suffix"] += 1
    if needed and not files:
        raise DataError(
            f"{path} has no images ({', '.join(sorted(IMAGE_SUFFIXES))}). Add some, or remove the class everywhere."
        )
    return files


def _enough(classes: tuple[str, ...], path: Path) -> None:
    if len(classes) < 2:
        raise DataError(f"{path} has {len(classes)} class folders; a classifier needs two or more.")


def _decoded(tree: Tree, part: Part, cache: Path, shape: Shape, skip_unreadable: bool) -> ImageSet:
    files = tree.parts[part]
    listed = [(str(file.relative_to(tree.path)), *_version(file)) for file, _ in files]
    stamp = hashlib.sha256(json.dumps([tree.classes, listed, _DECODING, skip_unreadable]).encode()).hexdigest()

    def decode() -> dict[Part, Arrays]:
        gathering, labels, unreadable = Gathering(len(files), shape, str(tree.path)), [], []
        for file, number in files:
            try:
                gathering.add(*decoded(file, str(file), shape))
            except UnreadableImageError as error:
                unreadable.append(error.found)
                continue
            labels.append(number)
        if unreadable and not skip_unreadable:
            raise _unreadable(unreadable)
        absent = sorted({number for _, number in files} - set(labels))
        if not labels or (absent and part == "train"):
            raise DataError(
                f"{tree.path}: no image of {tree.classes[absent[0]]} in {part} can be read: {unreadable[0]}. Replace "
                "them, or remove the class."
            )
        notes = list(resizing(gathering.sizes, shape))
        if unreadable:
            notes.append(f"{len(unreadable)} passed over: {_named(unreadable)}")
        return {part: {"x": gathering.images(), "y": np.array(labels), "notes": np.array(notes, dtype=str)}}

    arrays = kept(cache, key_of("folder", tree.path) + tag_of(shape), part, stamp, decode)
    return image_set(arrays["x"], arrays["y"], tree.classes, str(tree.path), notes_in(arrays), shape)


def _version(file: Path) -> tuple[int, int]:
    try:
        found = file.stat()
    except OSError:  # a link to nowhere: decoding it says so, with all others that can't be read
        return 0, 0
    return found.st_size, found.st_mtime_ns


def _unreadable(found: list[str]) -> DataError:
    if len(found) == 1:
        return DataError(f"{found[0]}. Replace or remove it, or have it passed over: {SKIPPING}.")
    return DataError(
        f"{len(found)} images can't be used: {_named(found)}. Replace or remove them, or have them passed over: "
        f"{SKIPPING}."
    )


def _named(found: list[str]) -> str:
    more = f"; and {len(found) - _NAMED_AT_ONCE} more" if len(found) > _NAMED_AT_ONCE else ""
    return "; ".join(found[:_NAMED_AT_ONCE]) + more


def _listed(names: list[str]) -> str:
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")

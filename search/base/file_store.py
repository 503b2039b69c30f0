"""Where the files of a study lie so that all its hosts can reach them: a bucket, or a folder that they share.

ROOT/UID/checkpoints/trial-00003/EPOCH-SHA256    a trial's checkpoint folder after this epoch, as a tar of plain files
ROOT/UID/artifacts/ID/1-SHA256                   an artifact as it is
ROOT/UID/logs/HOST/slot-0.log                    what the training processes of a host printed; the last copy counts

ROOT is what --files names, and nothing outside of ROOT/UID is ever touched but a small file that is written and removed
to see whether that is possible. What is checkpoint or artifact has its SHA-256 in its name: half of one, or a damaged
one, is never taken for it, whatever the store promises. A new one is put beside the old one, which then goes.

All of it goes through fsspec, which is imported when it is needed; who we are is for the store's own library to find
out (for S3, AWS's variables and files). No secret is taken, kept or shown here.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import secrets
import shutil
import stat
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from model.files import FILE_MODE, FOLDER_MODE, folder_written_aside, make_folder, written_aside
from search.base.home import Home, uid_part
from search.base.mistakes import InputError

EXTRA = "pip install 'alexsearch[s3]'"
S3_OPTIONS: dict[str, Any] = {
    "use_listings_cache": False,
    "config_kwargs": {"connect_timeout": 5, "read_timeout": 20, "retries": {"max_attempts": 2}},
}
"""Another host may have written a moment ago; and whoever waits for a store that is away waits seconds, not minutes."""
S3_RETRIES = 2
LOCAL = ("file", "local")
UNFIT = ("http", "https", "data", "memory")
"""Can't be written, or not reached by another process."""
PACKING_ATTEMPTS = 5
SCRATCH = ".moving-"
"""Begins the names of folders, beside a trial's own, in which it is packed and unpacked."""
ONLY_NEWEST = (re.compile(r"epoch-\d{6}\.checkpoint"), re.compile(r"save-\d{6}"))
"""Of what is called so, our trainings go on from the last; the ones before are for a damaged disk."""


class FilesError(OSError):
    """The store is away, or refuses, or has something else than it should. The message names it and has no secret."""


def files_url(given: str) -> str:
    """What --files names, as it is kept with a study: a path is made absolute.

    Raises:
        InputError: it carries a secret, or can't be a place for files.
    """
    shown = _without_secrets(given)
    if given != shown:
        raise InputError(
            f"--files {shown}: carries a user, a password or options, and is kept with the study, where others read "
            "it. Leave them to the environment (for S3: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT_URL, or "
            "~/.aws)."
        )
    scheme, separator, rest = given.partition("://")
    if not separator:
        if not given.strip():
            raise InputError("--files: is empty. Name a bucket, as in s3://bucket/prefix, or a folder.")
        return str(Path(given).absolute())
    if "::" in given or scheme in UNFIT or not rest.strip("/"):
        raise InputError(f"--files {given}: is no place for files. Name s3://bucket/prefix, or a shared folder.")
    if scheme in LOCAL:
        path = unquote(urlsplit(given).path)
        if urlsplit(given).netloc or not path.startswith("/"):
            raise InputError(f"--files {given}: names no folder. Write {scheme}:///the/folder, or just the folder.")
        return str(Path(path))
    return f"{scheme}://{rest.rstrip('/')}"


def _without_secrets(given: str) -> str:
    """An address without user, password, query and fragment. A path is what it is."""
    scheme, separator, rest = given.partition("://")
    if not separator or scheme in LOCAL:
        return given
    place = re.split(r"[?#]", rest)[0]
    host, slash, path = place.partition("/")
    user, at, name = host.rpartition("@")
    if ":" in user or scheme.startswith("s3"):  # else it is a name alone, as in sftp://me@host/folder
        user = at = ""
    return f"{scheme}://{user}{at}{name}{slash}{path}"


@contextlib.contextmanager
def _told(url: str) -> Iterator[None]:
    """Whatever goes wrong in there becomes a FilesError."""
    try:
        yield
    except FilesError:
        raise
    except Exception as error:  # libraries of stores raise nearly every type
        raise FilesError(f"{url}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError) and "bucket" in str(error).lower():
        return "there is no such bucket"
    if isinstance(error, OSError) and error.strerror and not error.filename:
        return error.strerror
    text = " ".join(str(error).split())[:300].rstrip(".")
    return text if isinstance(error, OSError) and text else f"{type(error).__name__}: {text}"


@dataclass(frozen=True)
class Version:
    """One object of which the store may hold another version."""

    path: str
    number: int
    sha256: str
    size: int
    """Bytes"""


class FileStore:
    """What lies below one address. Any thread may use it. Its methods raise FilesError unless they say otherwise."""

    def __init__(self, url: str) -> None:
        """`url` is what `files_url` gave.

        Raises:
            InputError: what is needed for it is not installed here, or nothing is known by that name.
        """
        self.url = url
        scheme, separator, _ = url.partition("://")
        self._local = Path(url) if not separator else None
        try:
            import fsspec
        except ImportError:
            raise InputError(f"files at {url}: fsspec is not installed here. {EXTRA}") from None
        options = {} if separator else {"auto_mkdir": True}
        if scheme in ("s3", "s3a"):
            options = S3_OPTIONS
        try:
            self._fs, self._root = fsspec.core.url_to_fs(url, skip_instance_cache=True, **options)
            self._fs.retries = S3_RETRIES  # means nothing to others
        except ImportError as error:
            way_out = EXTRA if scheme in ("s3", "s3a") else "Install that package."
            raise InputError(
                f"files at {url}: {scheme}:// needs a package that is not installed here ({error}). {way_out}"
            ) from None
        except ValueError:
            raise InputError(
                f"files at {url}: nothing is known by {scheme}://. Name s3://bucket/prefix, or a shared folder."
            ) from None
        except Exception as error:  # noqa: BLE001 - of whatever package it is
            raise InputError(f"files at {url}: {_reason(error)}") from None

    def check(self, *, used: bool) -> None:
        """Write and remove a small file. `used`: a study is kept there already, so that a folder has to be there.

        Raises:
            InputError: that is not possible; the message says why, and what to do.
        """
        if self._local is not None and not (self._local if used else self._local.parent).is_dir():
            missing = self._local if used else self._local.parent
            raise InputError(f"files at {self.url}: there is no folder {missing} on this host. Is it mounted?")
        try:
            self._probe()
        except FilesError as error:
            raise InputError(
                f"files at {error}. Nothing can be kept there now, so nothing was started. For S3 check the bucket, "
                "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or ~/.aws, and AWS_ENDPOINT_URL."
                if self._local is None
                else f"files at {error}. Make the folder writable, or name another with --files."
            ) from None

    def _probe(self) -> None:
        with _told(self.url):
            path, content = f"{self._root}/.alexsearch-{secrets.token_hex(8)}", b"alexsearch looks whether it can write"
            self._fs.pipe_file(path, content)
            try:
                found = self._fs.cat_file(path)
            finally:
                self._fs.rm_file(path)
            if found != content:
                raise FilesError(f"{self.url}: does not give back what was written there")

    def versions(self, item: str) -> list[Version]:
        """What is there of an item, as `UID/checkpoints/trial-00003`, that with the highest number first."""
        with _told(self.url):
            found = []
            for each in self._listed(f"{self._root}/{item}"):
                if named := re.fullmatch(r"(\d{1,9})-([0-9a-f]{64})", each["name"].rpartition("/")[2]):
                    found.append(Version(each["name"], int(named[1]), named[2], each["size"]))
            return sorted(found, key=lambda version: -version.number)

    def put(self, item: str, number: int, file: Path, *, anew: bool = True) -> None:
        """Put a file there as this version of an item, whole or not at all; the others go.

        What is there already, by its content, is not sent again. With `anew` False, one with a higher number stays.
        """
        with _told(self.url):
            with file.open("rb") as opened:
                sha256 = hashlib.file_digest(opened, "sha256").hexdigest()
            size = file.stat().st_size  # a copy that broke off is shorter
            there = [each for each in self.versions(item) if (each.sha256, each.size) == (sha256, size)]
            if not there:
                self._fs.put_file(str(file), f"{self._root}/{item}/{number:06d}-{sha256}")
            elif all(each.number != number for each in there):
                self._fs.mv(there[0].path, f"{self._root}/{item}/{number:06d}-{sha256}")
            for other in self.versions(item):
                if (other.sha256, other.number) != (sha256, number) and (anew or other.number <= number):
                    with contextlib.suppress(FileNotFoundError):
                        self._fs.rm_file(other.path)

    def get(self, version: Version, file: Path) -> None:
        """Fetch a version; `file` is written only if it is what its name says."""
        with _told(self.url), written_aside(file) as aside:
            self._fs.get_file(version.path, str(aside))
            with aside.open("rb") as opened:
                if hashlib.file_digest(opened, "sha256").hexdigest() != version.sha256:
                    raise FilesError(f"{self.url}: {version.path} is not what its name says: it is damaged")

    def copy(self, file: Path, item: str) -> None:
        """Put a file there whose half would do no harm either."""
        with _told(self.url):
            self._fs.put_file(str(file), f"{self._root}/{item}")

    def size(self, item: str) -> int:
        """Bytes of all that is there below an item; 0 if there is nothing."""
        with _told(self.url):
            try:
                return int(self._fs.du(f"{self._root}/{item}", total=True))
            except FileNotFoundError:
                return 0

    def remove(self, item: str) -> None:
        """Remove all that is there below an item. If there is nothing, nothing is done."""
        with _told(self.url), contextlib.suppress(FileNotFoundError):
            self._fs.rm(f"{self._root}/{item}", recursive=True)

    def _listed(self, path: str) -> list[dict[str, Any]]:
        try:
            return list(self._fs.ls(path, detail=True))
        except FileNotFoundError:
            return []


@dataclass(frozen=True)
class StudyFiles:
    """What a store keeps of one study. Raises as the store does."""

    store: FileStore
    uid: str
    """As a part of a path: see `of`."""

    @classmethod
    def of(cls, url: str, study_uid: object) -> StudyFiles:
        """Raises InputError as `FileStore` does. Both come out of a database, where anybody may have changed them."""
        return cls(FileStore(files_url(url)), uid_part(study_uid))

    def checkpoints(self, number: int) -> list[Version]:
        """Those of a trial, the newest first; a version's number is its epoch."""
        return self.store.versions(self._trial(number))

    def put_checkpoints(self, number: int, epoch: int, folder: Path, *, anew: bool = True) -> bool:
        """Keep a trial's checkpoint folder as it is now, in place of what was kept before; see `FileStore.put`.

        False, and nothing is done, if it changes faster than it can be read. An empty one needs nothing.
        """
        with tempfile.TemporaryDirectory(prefix=SCRATCH, dir=folder.parent) as scratch:
            packed = Path(scratch) / "packed"
            if not _contents(folder):
                return True
            if not _pack(folder, packed):
                return False
            self.store.put(self._trial(number), epoch, packed, anew=anew)
            return True

    def fetch_checkpoints(self, version: Version, home: Home, folder: Path) -> None:
        """Have `folder`, a trial's in this home, be what was kept. If that fails, it stays as it was."""
        make_folder(folder.parent)
        with tempfile.TemporaryDirectory(prefix=SCRATCH, dir=folder.parent) as scratch:
            packed = Path(scratch) / "packed"
            self.store.get(version, packed)
            try:
                with folder_written_aside(folder) as aside:
                    _unpack(packed, aside)
                    home.forget(folder)
            except (OSError, tarfile.TarError, ValueError) as error:
                raise FilesError(f"{self.store.url}: {version.path} can't be unpacked: {error}") from error

    def forget_checkpoints(self, number: int) -> None:
        self.store.remove(self._trial(number))

    def put_artifact(self, artifact_id: str, file: Path) -> None:
        self.store.put(self._artifact(artifact_id), 1, file)

    def has_artifact(self, artifact_id: str) -> bool:
        return bool(self.store.versions(self._artifact(artifact_id)))

    def fetch_artifact(self, artifact_id: str, file: Path) -> None:
        """Have `file` be the artifact; if it is not there, nothing is done."""
        for version in self.store.versions(self._artifact(artifact_id))[:1]:
            self.store.get(version, file)

    def put_log(self, host: str, file: Path) -> None:
        self.store.copy(file, f"{self.uid}/logs/{host}/{file.name}")

    def size(self) -> int:
        """Bytes of all that is kept of the study."""
        return self.store.size(self.uid)

    def remove(self) -> None:
        """Remove all that is kept of the study."""
        self.store.remove(self.uid)

    def _trial(self, number: int) -> str:
        return f"{self.uid}/checkpoints/trial-{number:05d}"

    def _artifact(self, artifact_id: str) -> str:
        return f"{self.uid}/artifacts/{artifact_id}"


def _pack(folder: Path, packed: Path) -> bool:
    """Whether a tar could be made of what a training goes on from: the folder may change faster than it is read."""
    for _ in range(PACKING_ATTEMPTS):
        before = _contents(folder)
        try:
            with tarfile.open(packed, "w", format=tarfile.PAX_FORMAT, dereference=True) as tar:
                for name in before:
                    tar.add(folder / name, name, recursive=False, filter=_plain)
        except FileNotFoundError:
            continue
        if _contents(folder) == before:
            return True
    return False


def _contents(folder: Path) -> dict[str, tuple[int, ...]]:
    """Files and folders below a folder, by name, each with what changes when it is replaced.

    What begins with a dot is still being written, or left by a process that was killed at it. A link is not followed.
    """
    names = [path.name for path in folder.iterdir() if path.name[0] != "."] if folder.is_dir() else []
    for kind in ONLY_NEWEST:
        names = [name for name in names if name not in sorted(filter(kind.fullmatch, names))[:-1]]
    found: dict[str, tuple[int, ...]] = {}
    for path in _walked([folder / name for name in sorted(names)]):
        with contextlib.suppress(FileNotFoundError):
            about = path.lstat()
            if stat.S_ISREG(about.st_mode):
                found[path.relative_to(folder).as_posix()] = (about.st_ino, about.st_size, about.st_mtime_ns)
            elif stat.S_ISDIR(about.st_mode):
                found[path.relative_to(folder).as_posix()] = (about.st_ino,)
    return found


def _walked(paths: list[Path]) -> Iterator[Path]:
    for path in paths:
        yield path
        if path.is_dir() and not path.is_symlink():
            with contextlib.suppress(FileNotFoundError):
                yield from _walked(sorted(path.iterdir()))


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """The same files are the same bytes, and say nothing of who wrote them."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.type = tarfile.DIRTYPE if member.isdir() else tarfile.REGTYPE
    return member


def _unpack(packed: Path, folder: Path) -> None:
    """Nothing of it is executed, nothing leads out of the folder, and nothing is larger than the tar.

    Raises:
        ValueError, tarfile.TarError: it holds something else than files and folders.
    """
    make_folder(folder)
    with tarfile.open(packed, "r:") as tar:
        for member in tar:
            parts = PurePosixPath(member.name).parts
            if not (member.isdir() or member.isreg()) or member.issparse() or ".." in parts or member.name[:1] == "/":
                raise ValueError(f"{member.name[:100]!r} is no plain file or folder in it")
            target = folder.joinpath(*parts)
            if member.isdir():
                make_folder(target)
                continue
            make_folder(target.parent)
            source = tar.extractfile(member)
            with target.open("xb") as written:
                shutil.copyfileobj(source, written)  # type: ignore[arg-type]
            target.chmod(FOLDER_MODE if member.mode & stat.S_IXUSR else FILE_MODE)

"""A ``.zip`` or ``.tar`` of images, read where it is: nothing is unpacked."""

from __future__ import annotations

import os
import tarfile
import zipfile
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import BinaryIO, ClassVar

from headstart.config import StudyError
from headstart.data.sources.base import Found, Place, printable
from headstart.data.sources.folder import classes_of

LARGEST = 512 * 2**20
"""Bytes of one image as stored or unpacked: beyond that it is refused unread, and quarantined."""
_COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst")
# What systems put beside people's files.
_NOT_THEIRS = ("__MACOSX",)


@dataclass(frozen=True)
class Member:
    """One file of an archive."""

    name: str
    size: int
    stamp: int
    """Changes when the content does."""
    read: Callable[[], bytes]


class Archive:
    """The tree in a zip or tar file, as if it were unpacked: any for the pool, class folders for
    labels. Members are read one by one; links, devices and hidden files are passed by.
    """

    about: ClassVar[str] = "a .zip or .tar of images"

    def accepts(self, path: Path) -> bool:
        """A file that is called ``.zip`` or ``.tar``, compressed or not."""
        return path.name.lower().endswith((".zip", ".tar", *_COMPRESSED)) and path.is_file()

    def images(self, place: Place) -> list[Found]:
        """All image files, sorted by their path in the archive.

        Raises:
            StudyError: an archive that is compressed as a whole, damaged or encrypted, holds no
                image, a name twice or one that leads out of it; or class folders as of a folder.
        """
        members = _members(place)
        if not members:
            raise StudyError(
                f"{place}: no images found (looked for {', '.join(sorted(place.endings))})"
            )
        names = sorted(members)
        kinds = classes_of(place, names) if place.labeled else {}
        return [_found(place, members[name], *kinds.get(name, ("", ""))) for name in names]

    def example(self, files: Sequence[Found], folder: Path) -> Path:
        """A zip file of the same tree."""
        folder.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(folder / "images.zip", "w") as archive:
            for file in files:
                archive.writestr(file.id.partition("/")[2], Path(file.path).read_bytes())
        return folder / "images.zip"


def _found(place: Place, member: Member, label: str, split: str) -> Found:
    return Found(
        place.id(member.name),
        f"{place.path}/{printable(member.name)}",
        label,
        split,
        read=member.read,
        stamp=(member.size, member.stamp),
    )


def _members(place: Place) -> dict[str, Member]:
    """The images by name."""
    if place.path.name.lower().endswith(_COMPRESSED):
        raise StudyError(
            f"{place}: a compressed tar has to be read from its start for every image; unpack it, "
            "or make a .zip or a plain .tar of it"
        )
    members: dict[str, Member] = {}
    try:
        for member in _listed(place.path):
            if not _wanted(member.name, place.endings):
                continue
            if ".." in PurePosixPath(member.name).parts or member.name.startswith("/"):
                raise StudyError(f"{place}: '{printable(member.name)}' leads out of the archive")
            if members.setdefault(member.name, member) is not member:
                raise StudyError(f"{place}: '{printable(member.name)}' is in it twice")
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, OSError, RuntimeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise StudyError(f"{place}: not readable as an archive ({reason})") from None
    return members


def _wanted(name: str, endings: Container[str]) -> bool:
    """An image by its name, and no hidden file."""
    path = PurePosixPath(name)
    parts = [part for part in path.parts if part != ".."]
    hidden = any(part.startswith(".") or part in _NOT_THEIRS for part in parts)
    return not hidden and path.suffix.lower() in endings


def _listed(path: Path) -> Iterator[Member]:
    if path.suffix.lower() == ".zip":
        yield from _zipped(path)
    else:
        yield from tarred(partial(opened, path), os.stat(path).st_mtime_ns)


def _zipped(path: Path) -> Iterator[Member]:
    """The files of a zip, which stays open for as long as one of them may be read."""
    archive = zipfile.ZipFile(path)
    for info in archive.infolist():
        if info.is_dir():
            continue
        if info.flag_bits & 1:
            raise RuntimeError("it is encrypted")
        read = partial(_unzipped, archive, info)
        yield Member(info.filename, info.file_size, info.CRC, read)


def _unzipped(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    _check_size(info.file_size)  # zipfile gives no more than the size stated
    return archive.read(info)


def opened(path: Path) -> BinaryIO:
    """A file, to be read."""
    return path.open("rb")


def tarred(reader: Callable[[], BinaryIO], changed: int) -> Iterator[Member]:
    """The files of a tar, which is opened anew for each; only where each lies is kept.

    ``changed`` is a number that changes when the tar does.
    """
    with reader() as file, tarfile.open(fileobj=file, mode="r:") as archive:
        for info in archive:
            if info.isreg() and not info.issparse():
                name = info.name.removeprefix("./")
                read = partial(_cut_out, reader, info.offset_data, info.size)
                yield Member(name, info.size, changed + info.offset_data, read)


def _cut_out(reader: Callable[[], BinaryIO], start: int, size: int) -> bytes:
    _check_size(size)
    with reader() as file:
        file.seek(start)
        return file.read(size)


def _check_size(size: int) -> None:
    if size > LARGEST:
        raise ValueError(f"larger than {LARGEST // 2**20} MiB")

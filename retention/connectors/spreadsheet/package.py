"""A workbook file as a package of parts: opened with suspicion, rewritten part by part."""

from __future__ import annotations

import copy
import posixpath
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import BinaryIO

from retention.connectors.spreadsheet.xmltext import Guard, guarded
from retention.errors import PermanentFailure

CHUNK = 1 << 20
MAX_PARTS = 20_000
MAX_TOTAL = 8 << 30
MAX_SMALL = 64 << 20
"""Parts that are held in memory whole; sheets and strings are streamed."""
MAX_RATIO = 400
"""Sheets of one repeated row reach about 150; a bomb reaches 1000."""
LEVEL = 4
"""Of compression: a third of the time of the usual 6, for parts a twentieth larger."""
_LOCAL_HEADER = 30


class Package:
    """A zip file whose directory has been checked. Raises PermanentFailure."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        try:
            self.zip = zipfile.ZipFile(file)
        except (zipfile.BadZipFile, NotImplementedError, struct.error) as error:
            raise PermanentFailure(
                "the file is not a workbook: its zip directory cannot be read",
                code="not_a_workbook",
            ) from error
        self._check()
        self.names = {info.filename for info in self.zip.infolist()}
        self._accepted: set[str] = set()

    def remember(self, accepted: set[str]) -> None:
        """Rest on what was accepted of this very file before, and add to it."""
        self._accepted = accepted

    def _check(self) -> None:
        infos = self.zip.infolist()
        if len(infos) > MAX_PARTS or sum(i.file_size for i in infos) > MAX_TOTAL:
            raise _bomb("it would unpack to more than a workbook can hold")
        seen: set[str] = set()
        for info in infos:
            name = info.filename
            if name.startswith("/") or "\\" in name or ":" in name or ".." in name.split("/"):
                raise _bomb("a part's name leaves the package")
            if name.lower() in seen:
                raise _bomb("two parts have the same name")
            seen.add(name.lower())
            if info.flag_bits & 0x1:
                raise _bomb("a part is encrypted by the zip format")
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise _bomb("a part is compressed in an unusual way")
            if info.file_size > CHUNK and info.file_size > MAX_RATIO * max(1, info.compress_size):
                raise _bomb("a part would unpack to far more than it holds")

    def raw(self, name: str) -> Iterator[bytes]:
        """A part's bytes in chunks."""
        try:
            with self.zip.open(name) as stream:
                while chunk := stream.read(CHUNK):
                    yield chunk
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise PermanentFailure(f"{name}: the part is damaged", code="damaged") from error

    def chunks(self, name: str) -> Iterator[bytes]:
        """A part's bytes in chunks, accepted as plain XML; later passes rest on the first."""
        if name in self._accepted:
            yield from self.raw(name)
            return
        yield from guarded(self.raw(name), name)
        self.accept(name)

    def guard(self, name: str) -> Guard | None:
        """Who must see what a strict pattern does not account for; None once it is accepted."""
        return None if name in self._accepted else Guard(name)

    def accept(self, name: str) -> None:
        """A whole pass has shown that the part is plain XML."""
        self._accepted.add(name)

    def read(self, name: str) -> bytes:
        """A small part."""
        if self.zip.getinfo(name).file_size > MAX_SMALL:
            raise PermanentFailure(f"{name}: the part is too large to be edited", code="too_large")
        return b"".join(self.raw(name))

    def rewrite(self, out: BinaryIO, edits: Mapping[str, Iterable[bytes] | None]) -> None:
        """Write the package again: edited parts anew, None ones left out, all others bit by bit.

        Parts keep their order, their times and their attributes.
        """
        with zipfile.ZipFile(
            out, "w", zipfile.ZIP_DEFLATED, allowZip64=True, compresslevel=LEVEL
        ) as target:
            target.comment = self.zip.comment
            for info in self.zip.infolist():
                if info.filename not in edits:
                    self._copy(info, target, out)
                elif (chunks := edits[info.filename]) is not None:
                    self._write(info.filename, chunks, target)

    def _write(self, name: str, chunks: Iterable[bytes], target: zipfile.ZipFile) -> None:
        old = self.zip.getinfo(name)
        info = zipfile.ZipInfo(name, old.date_time)
        info.compress_type = zipfile.ZIP_DEFLATED
        # Python has no public name for it before 3.13.
        info._compresslevel = LEVEL  # type: ignore[attr-defined]  # noqa: SLF001
        info.external_attr = old.external_attr
        with target.open(info, "w", force_zip64=old.file_size > (1 << 31)) as stream:
            for chunk in chunks:
                stream.write(chunk)

    def _copy(self, info: zipfile.ZipInfo, target: zipfile.ZipFile, out: BinaryIO) -> None:
        self._file.seek(info.header_offset)
        header = self._file.read(_LOCAL_HEADER)
        if header[:4] != b"PK\x03\x04":
            raise PermanentFailure(f"{info.filename}: the part is damaged", code="damaged")
        name_length, extra_length = struct.unpack("<HH", header[26:30])
        self._file.seek(name_length + extra_length, 1)
        fresh = copy.copy(info)
        # The sizes stand in the header itself, so the trailing descriptor is left out.
        fresh.flag_bits &= ~0x08
        out.seek(target.start_dir)
        fresh.header_offset = out.tell()
        out.write(fresh.FileHeader(zip64=None))
        left = info.compress_size
        while left:
            chunk = self._file.read(min(CHUNK, left))
            if not chunk:
                raise PermanentFailure(f"{info.filename}: the part is damaged", code="damaged")
            out.write(chunk)
            left -= len(chunk)
        target.start_dir = out.tell()
        target.filelist.append(fresh)
        target.NameToInfo[fresh.filename] = fresh

    def close(self) -> None:
        """Leaves the file below open."""
        self.zip.close()


def relationships_part(part: str) -> str:
    """Where a part's relationships stand."""
    folder, name = posixpath.split(part)
    return posixpath.join(folder, "_rels", name + ".rels")


def resolve(part: str, target: str) -> str:
    """The part that a relationship's target names, seen from `part`."""
    if target.startswith("/"):
        return target[1:]
    return posixpath.normpath(posixpath.join(posixpath.dirname(part), target))


def _bomb(what: str) -> PermanentFailure:
    return PermanentFailure(f"the file is refused: {what}", code="unsafe_package")

"""The container: an uncompressed zip file whose records begin at multiples of 64 bytes.

Layout, as PyTorch's since 1.6: ``<folder>/data.pkl`` (the pickled structure), ``<folder>/byteorder``,
``<folder>/data/<key>`` (one record of bytes for each storage) and ``<folder>/version``.
"""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import zipfile

ALIGNMENT = 64
FOLDER = "archive"
VERSION = b"3\n"
# Long before 2 GiB, the fields of a plain zip record still do; from here on the wide ones are used.
_WIDE = 1 << 31


class Writer:
    """Writes the records of one checkpoint.

    Args:
        file: where to write: a binary file object.
    """

    def __init__(self, file: Any) -> None:
        import zipfile

        self._info = zipfile.ZipInfo
        self._zip = zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True)

    def put(self, name: str, data: Any) -> None:
        """Writes a record of bytes (anything with the buffer protocol)."""
        view = memoryview(data).cast("B") if memoryview(data).nbytes else memoryview(b"")
        info = self._info(f"{FOLDER}/{name}")
        wide = view.nbytes >= _WIDE
        start = self._zip.fp.tell() + 30 + len(info.filename.encode()) + (20 if wide else 0)  # type: ignore[union-attr]
        filler = -(start + 4) % ALIGNMENT
        info.extra = b"FB" + struct.pack("<H", filler) + b"Z" * filler
        with self._zip.open(info, "w", force_zip64=wide) as record:
            for at in range(0, view.nbytes, 1 << 26):
                record.write(view[at : at + (1 << 26)])

    def close(self) -> None:
        """Writes the directory: without it, the file is none."""
        self._zip.close()


class Reader:
    """Reads the records of one checkpoint.

    Args:
        file: a binary file object that can seek.
        path: its path, needed for mapping records into memory.
        mmap: whether to map the records instead of reading them.

    Raises:
        RuntimeError: if it is no such container, or a damaged one.
    """

    def __init__(self, file: Any, path: str | None = None, mmap: bool = False) -> None:
        import zipfile

        try:
            self._zip = zipfile.ZipFile(file)
            names = self._zip.namelist()
        except (zipfile.BadZipFile, ValueError, OSError, struct.error, NotImplementedError) as error:
            raise RuntimeError(
                f"PytorchStreamReader failed reading zip archive: {error}. The file is truncated or damaged, or was "
                "not written by save; there is nothing that could be recovered from it."
            ) from error
        if not names:
            raise RuntimeError("PytorchStreamReader failed reading zip archive: it has no records.")
        self.folder = names[0].partition("/")[0]
        self._names = set(names)
        self._mapped = np.memmap(path, np.uint8, "r") if mmap and path is not None else None
        self._file = file

    def has(self, name: str) -> bool:
        """Whether there is a record of that name."""
        return f"{self.folder}/{name}" in self._names

    def read(self, name: str) -> Any:
        """The bytes of a record: ``bytes``, or an array of bytes mapped into memory.

        Raises:
            RuntimeError: if there is none, or it is damaged.
        """
        import zipfile

        full = f"{self.folder}/{name}"
        if full not in self._names:
            raise RuntimeError(f"PytorchStreamReader failed locating file {name}: file not found")
        info = self._zip.getinfo(full)
        if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
            raise RuntimeError(f"the record {name!r} is compressed or encrypted, which save never does: refused")
        try:
            if self._mapped is not None:
                return self._slice(info)
            data = self._unchecked(info) if info.CRC == 0 else self._zip.read(info)
        except (zipfile.BadZipFile, EOFError, OSError, struct.error, ValueError, NotImplementedError) as error:
            raise RuntimeError(
                f"PytorchStreamReader failed reading file {name}: {error}. The file is truncated or damaged."
            ) from error
        if len(data) != info.file_size:
            raise RuntimeError(
                f"PytorchStreamReader failed reading file {name}: it should have {info.file_size} bytes and has "
                f"{len(data)}. The file is truncated or damaged."
            )
        return data

    def _unchecked(self, info: zipfile.ZipInfo) -> bytes:
        """A record without a checksum: PyTorch leaves it zero after ``set_crc32_options(False)``."""
        self._file.seek(info.header_offset)
        self._file.seek(_start(info, self._file.read(30)))
        return self._file.read(info.file_size)

    def _slice(self, info: zipfile.ZipInfo) -> np.ndarray:
        import zipfile

        mapped = self._mapped
        assert mapped is not None
        start = _start(info, bytes(mapped[info.header_offset : info.header_offset + 30]))
        if start + info.file_size > mapped.size:
            raise zipfile.BadZipFile("the record reaches beyond the end of the file")
        return mapped[start : start + info.file_size]


def _start(info: zipfile.ZipInfo, head: bytes) -> int:
    """Where the bytes of a record begin, given the first of its header."""
    import zipfile

    if len(head) < 30 or head[:4] != b"PK\x03\x04":
        raise zipfile.BadZipFile("bad magic number for the record's header")
    name_length, extra_length = struct.unpack("<HH", head[26:30])
    return info.header_offset + 30 + name_length + extra_length


def is_zip(file: Any) -> bool:
    """Whether a file begins as a zip file does; its position stays."""
    at = file.tell()
    start = file.read(4)
    file.seek(at)
    return start == b"PK\x03\x04"


def whole(file: Any) -> Any:
    """A file object that the zip reader can use: one that begins elsewhere than at 0 is read to the end."""
    at = file.tell()
    return file if at == 0 else io.BytesIO(file.read())

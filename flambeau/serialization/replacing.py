"""Writing a file so that whoever reads finds the old one or the new one, whole."""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Iterator
from typing import Any

try:
    import fcntl
except ImportError:
    # Windows: nothing is removed there.
    fcntl = None

_SUFFIX = ".flambeau.tmp"


@contextlib.contextmanager
def replacing(path: str) -> Iterator[Any]:
    """A file to write that takes the place of another once it is whole.

    Written beside it, flushed to the disk and renamed, so that whoever reads, or dies in the middle, finds the old
    file or the new one.  What a writer left that was killed goes with the next save under its name.  A pipe or a
    device is written to directly.
    """
    path = os.path.realpath(path)
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        mode = None
    if mode is not None and not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        with open(path, "wb") as file:
            yield file
        return
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        raise RuntimeError(f"Parent directory {folder} does not exist.")
    if mode is not None and stat.S_ISDIR(mode):
        raise IsADirectoryError(f"cannot save to {path!r}: it is a folder")
    _remove_abandoned(path)
    handle, beside = _made_beside(path)
    try:
        with _held(handle):
            with os.fdopen(handle, "w+b") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.chmod(beside, stat.S_IMODE(mode) if mode is not None else 0o666 & ~_umask())
            os.replace(beside, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(beside)
        raise
    _sync_folder(folder)


def _made_beside(path: str) -> tuple[int, str]:
    """A new file beside another, locked for as long as it is open: its handle and path."""
    import tempfile

    folder, name = os.path.split(path)
    while True:
        handle, beside = tempfile.mkstemp(prefix=f".{name}.", suffix=_SUFFIX, dir=folder)
        _locks(handle)
        # Before it was locked, another saver may have taken it for abandoned.
        if fcntl is None or os.fstat(handle).st_nlink:
            return handle, beside
        os.close(handle)


def _remove_abandoned(path: str) -> None:
    """Removes what savers to this path left that are no more: files that nobody locks."""
    folder, name = os.path.split(path)
    ours = re.compile(rf"\.{re.escape(name)}\.[a-z0-9_]{{8}}{re.escape(_SUFFIX)}")
    # A folder may be writable without being readable, and others may remove the same files.
    with contextlib.suppress(OSError):
        for beside in filter(ours.fullmatch, os.listdir(folder)):
            with open(os.path.join(folder, beside), "rb") as file:
                if _locks(file.fileno()):
                    os.unlink(file.name)


def _locks(handle: int) -> bool:
    """Locks a file until it is closed, be it by the end of the process; whether nobody else has."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        # Also where the file system has no locks: then nothing counts as abandoned.
        return False
    return True


@contextlib.contextmanager
def _held(handle: int) -> Iterator[None]:
    """Keeps a file locked though its handle is closed: until it is renamed it could be taken for abandoned."""
    if fcntl is None:
        yield
        return
    lock = os.dup(handle)
    try:
        yield
    finally:
        os.close(lock)


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


def _sync_folder(folder: str) -> None:
    # Not every system lets a folder be opened; there the renaming is as lasting as the system makes it.
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

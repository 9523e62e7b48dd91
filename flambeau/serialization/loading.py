"""Reading checkpoints."""

from __future__ import annotations

import io
import os
import pickle
import struct
from typing import Any

from flambeau import devices
from flambeau.serialization import names
from flambeau.serialization.archive import Reader, is_zip, whole
from flambeau.serialization.rebuilding import Rebuilder, Storage

_DAMAGE = (
    *(EOFError, IndexError, KeyError, ValueError, TypeError, AttributeError, OverflowError, MemoryError),
    *(struct.error, RecursionError, AssertionError, NotImplementedError, LookupError),
)


def load(
    f: Any,
    map_location: Any = None,
    pickle_module: Any = None,
    *,
    weights_only: bool | None = None,
    mmap: bool | None = None,
    **pickle_load_args: Any,
) -> Any:
    """Reads what ``save`` wrote, here or in PyTorch.

    With ``weights_only`` (the default) nothing that the file says is executed: it may hold tensors, parameters,
    containers, numbers and text, and objects of what ``serialization.add_safe_globals`` declared safe.  Without it the
    file is a program that can do anything: only for files one trusts.

    Args:
        f: a path, or a binary file object that can seek.
        map_location: where tensors go: a device, a dictionary from old to new ones, or a function of a storage and its
            old place that returns the storage, moved or not, or None.
        pickle_module: what unpickles; only without ``weights_only``.
        weights_only: whether to refuse everything but data.
        mmap: whether to map the file into memory instead of reading it; needs a path.
        pickle_load_args: passed on, such as ``encoding`` for files of Python 2.

    Raises:
        pickle.UnpicklingError: if the file holds what is not allowed, or nonsense.
        RuntimeError: if it is damaged, or is for a device that is not here.

    Example:
        >>> import io
        >>> import flambeau as torch
        >>> file = io.BytesIO()
        >>> torch.save(torch.arange(3), file)
        >>> _ = file.seek(0)
        >>> torch.load(file)
        tensor([0, 1, 2])
    """
    if weights_only is None:
        weights_only = pickle_module is None
    if weights_only and pickle_module is not None:
        raise RuntimeError("Can not safely load weights when explicit pickle_module is specified")
    if isinstance(f, str | os.PathLike):
        path = os.fsdecode(f)
        with open(path, "rb") as file:
            return _load(file, path, map_location, pickle_module, weights_only, bool(mmap), pickle_load_args)
    if mmap:
        raise ValueError("f must be a file path in order to use the mmap argument")
    for method in ("read", "seek", "tell"):
        if not hasattr(f, method):
            raise AttributeError(
                f"load expects a path or a file object that can read, seek and tell; {type(f).__name__} has no "
                f"{method!r}. Read it into an io.BytesIO first."
            )
    return _load(f, None, map_location, pickle_module, weights_only, False, pickle_load_args)


def _load(
    file: Any,
    path: str | None,
    map_location: Any,
    pickle_module: Any,
    weights_only: bool,
    mmap: bool,
    options: dict[str, Any],
) -> Any:
    reader = _opened(file, path, mmap)
    order = bytes(reader.read("byteorder")).decode("ascii", "replace") if reader.has("byteorder") else "little"
    if order not in ("little", "big"):
        raise RuntimeError(f"the file says that its byte order is {order[:20]!r}: it is damaged")
    rebuilder = Rebuilder(lambda key: reader.read("data/" + key), _placing(map_location), order)
    structure = io.BytesIO(bytes(reader.read("data.pkl")))
    if weights_only:
        result = _read_data(structure, rebuilder, options)
    else:
        result = _read_anything(structure, rebuilder, pickle_module or pickle, options)
    rebuilder.finish()
    return result


def _opened(file: Any, path: str | None, mmap: bool) -> Reader:
    if not is_zip(file):
        at = file.tell()
        start = file.read(16)
        file.seek(at)
        if not start:
            raise EOFError("Ran out of input: the file is empty")
        if start.startswith(b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19"):
            raise RuntimeError(
                "the file is in PyTorch's format from before 1.6, which load does not read; write it anew in PyTorch "
                "with torch.save"
            )
        raise pickle.UnpicklingError("the file is no checkpoint: it does not begin as a zip file of save does")
    reader = Reader(whole(file), path, mmap)
    if reader.has("constants.pkl"):
        raise RuntimeError("the file is a TorchScript archive, a program of another language: load cannot run it")
    if not reader.has("data.pkl"):
        raise RuntimeError("PytorchStreamReader failed locating file data.pkl: the file is no checkpoint of save")
    return reader


def _read_data(structure: Any, rebuilder: Rebuilder, options: dict[str, Any]) -> Any:
    from flambeau.serialization.unpickler import Unpickler

    encoding = options.get("encoding", "utf-8")
    unpickler = Unpickler(structure, rebuilder.functions, rebuilder.persistent_load, encoding)
    try:
        return unpickler.load()
    except pickle.UnpicklingError as error:
        raise pickle.UnpicklingError(
            f"Weights only load failed. {str(error).rstrip('.')}. Nothing of the file was executed. If it comes from a "
            "source you trust, load it with weights_only=False, which may run any code that it contains."
        ) from error
    except KeyError as error:
        raise pickle.UnpicklingError(
            f"Weights only load failed. The file has a pickle instruction, or refers to a value, that data does not "
            f"have ({error}): it is hostile or damaged. Nothing of the file was executed."
        ) from error
    except _DAMAGE as error:
        reason = "what it holds breaks off" if isinstance(error, EOFError) else f"{type(error).__name__}: {error}"
        raise pickle.UnpicklingError(
            f"Weights only load failed. The file is damaged, or no checkpoint: {reason}"
        ) from error


def _read_anything(structure: Any, rebuilder: Rebuilder, pickle_module: Any, options: dict[str, Any]) -> Any:
    class AnyUnpickler(pickle_module.Unpickler):  # type: ignore[name-defined, misc]
        def persistent_load(self, identity: Any) -> Any:
            return rebuilder.persistent_load(identity)

        def find_class(self, module: str, name: str) -> Any:
            function = rebuilder.functions.get((module, name))
            if function is not None:
                return function
            if module == "torch" or module.startswith("torch."):
                if (module, name) == ("torch._C", "Generator"):
                    return _Generator
                return names.found(module, name)
            return super().find_class(module, name)

    options = {"encoding": "utf-8", **options}
    try:
        return AnyUnpickler(structure, **options).load()
    except (EOFError, struct.error, IndexError) as error:
        raise pickle.UnpicklingError(f"The file is damaged: {type(error).__name__}: {error}") from error


def _generator_class() -> Any:
    from flambeau.random import Generator

    class Loaded(Generator):
        """A generator that goes on from a state of PyTorch's."""

        __slots__ = ()

        def __setstate__(self, state: Any) -> None:
            self.set_state(state[2])

    return Loaded


def _Generator(*args: Any) -> Any:
    return _generator_class()(*args)


# ---------------------------------------------------------------- where storages go


def _placing(map_location: Any) -> Any:
    """The function that settles where a storage goes."""
    if callable(map_location):

        def ask(storage: Storage, location: str) -> Storage:
            found = map_location(storage, location)
            if found is None:
                return _put(storage, location)
            if not isinstance(found, Storage):
                raise TypeError(f"map_location must return the storage or None, not {type(found).__name__}")
            return found

        return ask
    if isinstance(map_location, dict):
        table = {str(old): str(new) for old, new in map_location.items()}

        def look_up(storage: Storage, location: str) -> Storage:
            return _put(storage, table.get(location, location))

        return look_up
    if map_location is None:
        return _put
    wanted = str(devices.device(map_location))
    return lambda storage, location: _put(storage, wanted)


def _put(storage: Storage, location: str) -> Storage:
    if location == "cpu":
        storage.device = devices.cpu
        return storage
    try:
        storage.device = devices.resolve(location)
    except (RuntimeError, AssertionError) as error:
        raise RuntimeError(
            f"Attempting to deserialize object on a device {location!r} that is not here ({error}). If you are running "
            "on a CPU-only machine, please use torch.load with map_location=torch.device('cpu') to map your storages "
            "to the CPU."
        ) from error
    return storage


# ---------------------------------------------------------------- looking without loading


def get_unsafe_globals_in_checkpoint(f: Any) -> list[str]:
    """The full names in a checkpoint that ``load`` with ``weights_only=True`` would refuse.

    Example:
        >>> import flambeau as torch
        >>> import io
        >>> import pathlib
        >>> file = io.BytesIO()
        >>> torch.save({"weight": torch.ones(2), "path": pathlib.PurePosixPath("a")}, file)
        >>> _ = file.seek(0)
        >>> torch.serialization.get_unsafe_globals_in_checkpoint(file)
        ['pathlib.PurePosixPath']
    """
    if isinstance(f, str | os.PathLike):
        with open(f, "rb") as file:
            return get_unsafe_globals_in_checkpoint(file)
    import pickletools

    from flambeau.serialization.unpickler import Unpickler

    structure = bytes(_opened(f, None, False).read("data.pkl"))
    rebuilder = Rebuilder(lambda key: b"", _put)
    probe = Unpickler(io.BytesIO(), rebuilder.functions, rebuilder.persistent_load)
    refused = []
    strings: list[str] = []
    for opcode, argument, _ in pickletools.genops(structure):
        if opcode.name == "GLOBAL":
            place = tuple(str(argument).split(" ", 1))
        elif opcode.name == "STACK_GLOBAL" and len(strings) > 1:
            place = (strings[-2], strings[-1])
        else:
            if isinstance(argument, str):
                strings.append(argument)
            continue
        try:
            probe.find_class(*place)
        except pickle.UnpicklingError:
            refused.append(".".join(place))
    return sorted(set(refused))

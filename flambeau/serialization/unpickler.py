"""An unpickler that runs nothing but what it knows.

A pickle is a program for a small stack machine, which can call anything that can be imported.  This machine has only
the instructions that data needs, looks names up in a table instead of importing them, and calls only what is in it.
"""

from __future__ import annotations

import codecs
import contextlib
import pickle
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

from flambeau.devices import device
from flambeau.serialization import names
from flambeau.tensor.tensor import Size, Tensor

_NEVER = frozenset(("sys", "os", "posix", "nt"))
_PYTHON_2 = {("__builtin__", name): ("builtins", name) for name in ("set", "frozenset", "complex", "bytearray")}

_safe: dict[str, Any] = {}


def add_safe_globals(safe_globals: list[Any]) -> None:
    """Lets ``load`` with ``weights_only=True`` make objects of classes, or call functions, of one's own.

    Args:
        safe_globals: classes and functions, or pairs of one and the full name that files use for it.

    Example:
        >>> import flambeau as torch
        >>> import io
        >>> import pathlib
        >>> file = io.BytesIO()
        >>> torch.save(pathlib.PurePosixPath("a/b"), file)
        >>> _ = file.seek(0)
        >>> torch.serialization.add_safe_globals([pathlib.PurePosixPath])
        >>> torch.load(file)
        PurePosixPath('a/b')
        >>> torch.serialization.clear_safe_globals()
    """
    _safe.update(_by_name(safe_globals))


def _by_name(safe_globals: list[Any]) -> dict[str, Any]:
    found = {}
    for entry in safe_globals:
        if isinstance(entry, tuple):
            if len(entry) != 2:
                raise ValueError(
                    f"Expected tuple of length 2 (global, str of callable full path), but got {len(entry)}"
                )
            if type(entry[1]) is not str:
                raise TypeError(f"Expected second item in tuple to be str of callable full path, but got {entry[1]!r}")
            found[entry[1]] = entry[0]
            continue
        found[f"{entry.__module__}.{entry.__qualname__}"] = entry
        known = names.written(entry)
        if known is not None:
            found[".".join(known)] = entry
    return found


def get_safe_globals() -> list[Any]:
    """What ``add_safe_globals`` was given.

    Example:
        >>> import flambeau as torch
        >>> import pathlib
        >>> with torch.serialization.safe_globals([pathlib.PurePosixPath]):
        ...     torch.serialization.get_safe_globals()
        [<class 'pathlib.PurePosixPath'>]
    """
    return list({id(entry): entry for entry in _safe.values()}.values())


def clear_safe_globals() -> None:
    """Forgets what ``add_safe_globals`` was given.

    Example:
        >>> import flambeau as torch
        >>> import pathlib
        >>> torch.serialization.add_safe_globals([pathlib.PurePosixPath])
        >>> torch.serialization.clear_safe_globals()
        >>> torch.serialization.get_safe_globals()
        []
    """
    _safe.clear()


@contextlib.contextmanager
def safe_globals(safe_globals: list[Any]) -> Iterator[None]:
    """Inside the block, ``load`` trusts these classes and functions, too.

    Example:
        >>> import flambeau as torch
        >>> import io
        >>> import pathlib
        >>> file = io.BytesIO()
        >>> torch.save(pathlib.PurePosixPath("a/b"), file)
        >>> _ = file.seek(0)
        >>> with torch.serialization.safe_globals([pathlib.PurePosixPath]):
        ...     torch.load(file)
        PurePosixPath('a/b')
    """
    before = dict(_safe)
    add_safe_globals(safe_globals)
    try:
        yield
    finally:
        _safe.clear()
        _safe.update(before)


def _encode(text: Any, encoding: Any = "utf-8") -> bytes:
    # The real one would import whatever module a codec's name leads to.
    if type(text) is not str or encoding not in ("latin1", "latin-1", "utf-8", "ascii"):
        raise pickle.UnpicklingError("only text in latin1, utf-8 or ascii is made into bytes")
    return codecs.encode(text, encoding)


def _bytearray(*args: Any) -> bytearray:
    if args and type(args[0]) is str:
        return bytearray(_encode(*args))
    if len(args) > 1 or (args and type(args[0]) is not bytes):
        raise pickle.UnpicklingError("a bytearray is made from bytes only")
    return bytearray(*args)


def _size(*args: Any) -> Size:
    if len(args) > 1 or (args and not (isinstance(args[0], tuple) and all(type(n) is int for n in args[0]))):
        raise pickle.UnpicklingError("a Size is made from whole numbers only")
    return Size(*args)


def _device(*args: Any) -> device:
    return device(*args)


_CALLED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("collections", "Counter"): Counter,
    ("torch", "Size"): _size,
    ("torch", "device"): _device,
    ("torch.serialization", "_get_layout"): names.named_layout,
    ("_codecs", "encode"): _encode,
    ("builtins", "bytearray"): _bytearray,
    ("builtins", "set"): set,
    ("builtins", "frozenset"): frozenset,
    ("builtins", "complex"): complex,
}


class Unpickler(pickle._Unpickler):
    """Reads data, tensors and what the program declared safe; refuses everything else.

    Args:
        file: where the pickle is read from.
        functions: PyTorch's functions that rebuild tensors, by module and name.
        persistent_load: gives the storage that an identity names.
        encoding: of the text in pickles of Python 2.
    """

    def __init__(
        self,
        file: Any,
        functions: dict[tuple[str, str], Any],
        persistent_load: Callable[[Any], Any],
        encoding: str = "utf-8",
    ) -> None:
        super().__init__(file, encoding=encoding)
        self._functions = functions
        self._storage = persistent_load
        # By identity: what may be called, and of what classes the attributes may be set.
        self._callable: dict[int, Any] = {}
        self._trusted: dict[int, Any] = {}

    def persistent_load(self, pid: Any) -> Any:
        return self._storage(pid)

    def find_class(self, module: str, name: str) -> Any:
        place = _PYTHON_2.get((module, name), (module, name))
        found = _CALLED.get(place) or self._functions.get(place)
        if found is not None:
            self._callable[id(found)] = found
            return found
        if place == ("torch.nn.parameter", "Parameter"):
            from flambeau.nn.parameter import Parameter

            return Parameter
        if place == ("torch", "Tensor"):
            return Tensor
        if place in names.STORAGE_CLASSES:
            return names.STORAGE_CLASSES[place]
        dtype = names.dtype_named(name) if module == "torch" else None
        if dtype is not None:
            return dtype
        full = ".".join(place)
        if full in _safe and module.partition(".")[0] not in _NEVER:
            found = _safe[full]
            self._callable[id(found)] = self._trusted[id(found)] = found
            return found
        if module.partition(".")[0] in _NEVER:
            raise pickle.UnpicklingError(f"Trying to load unsupported GLOBAL {full} whose module is blocked.")
        raise pickle.UnpicklingError(
            f"Unsupported global: GLOBAL {full} was not an allowed global by default. Please use "
            f"`torch.serialization.add_safe_globals([{name}])` or the `torch.serialization.safe_globals([{name}])` "
            "context manager to allowlist this global if you trust this class/function."
        )

    # ------------------------------------------------------------ the instructions that could do something

    def _reduce(self) -> None:
        args = self.stack.pop()
        function = self.stack[-1]
        self.stack[-1] = self._call(function, args)

    def _call(self, function: Any, args: Any) -> Any:
        if self._callable.get(id(function)) is not function or function is None:
            raise pickle.UnpicklingError(f"the file calls {str(function)[:80]}, which is not allowed")
        if type(args) is not tuple:
            raise pickle.UnpicklingError("the file calls a function with arguments that are no tuple")
        return function(*args)

    def _newobj(self) -> None:
        args = self.stack.pop()
        kind = self.stack.pop()
        if id(kind) in self._trusted and isinstance(kind, type):
            if type(args) is not tuple:
                raise pickle.UnpicklingError("the file makes an object from arguments that are no tuple")
            self.append(kind.__new__(kind, *args))
        elif kind is OrderedDict or kind is Counter or kind is set:
            self.append(self._call(kind, args))
        else:
            raise pickle.UnpicklingError(f"the file makes an object of {str(kind)[:80]}, which is not allowed")

    def _build(self) -> None:
        state = self.stack.pop()
        target = self.stack[-1]
        kind = type(target)
        if id(kind) in self._trusted:
            setter = getattr(target, "__setstate__", None)
            if setter is not None:
                setter(state)
                return
            slots = None
            if isinstance(state, tuple) and len(state) == 2:
                state, slots = state
            if state:
                target.__dict__.update(state)
            for name, value in (slots or {}).items():
                setattr(target, name, value)
        elif kind is OrderedDict:
            if type(state) is not dict or any(type(k) is not str or hasattr(OrderedDict, k) for k in state):
                raise pickle.UnpicklingError("the file gives a dictionary attributes that may not be set")
            target.__dict__.update(state)
        else:
            raise pickle.UnpicklingError(f"the file sets attributes of {str(kind)[:80]}, which is not allowed")

    def _container(self, depth: int, *kinds: type) -> Any:
        target = self.stack[depth]
        if type(target) not in kinds and id(type(target)) not in self._trusted:
            raise pickle.UnpicklingError(f"the file puts elements into {str(type(target))[:80]}, which is not allowed")
        return target

    def _append(self) -> None:
        value = self.stack.pop()
        self._container(-1, list).append(value)

    def _appends(self) -> None:
        items = self.pop_mark()
        self._container(-1, list).extend(items)

    def _setitem(self) -> None:
        value = self.stack.pop()
        key = self.stack.pop()
        self._container(-1, dict, OrderedDict, Counter)[key] = value

    def _setitems(self) -> None:
        items = self.pop_mark()
        target = self._container(-1, dict, OrderedDict, Counter)
        if len(items) % 2:
            raise pickle.UnpicklingError("the file puts a key without a value into a dictionary")
        for at in range(0, len(items), 2):
            target[items[at]] = items[at + 1]

    def _additems(self) -> None:
        items = self.pop_mark()
        self._container(-1, set).update(items)

    # Everything not listed (INST, OBJ, NEWOBJ_EX, EXT, PERSID, buffers out of band ...) does not exist here.
    _DATA = (
        *(pickle.PROTO, pickle.FRAME, pickle.STOP, pickle.MARK, pickle.POP, pickle.POP_MARK, pickle.DUP),
        *(pickle.NONE, pickle.NEWTRUE, pickle.NEWFALSE),
        *(pickle.BININT, pickle.BININT1, pickle.BININT2, pickle.LONG1, pickle.LONG4, pickle.BINFLOAT),
        *(pickle.SHORT_BINSTRING, pickle.BINSTRING),
        *(pickle.SHORT_BINBYTES, pickle.BINBYTES, pickle.BINBYTES8),
        *(pickle.SHORT_BINUNICODE, pickle.BINUNICODE, pickle.BINUNICODE8),
        *(pickle.EMPTY_TUPLE, pickle.TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3),
        *(pickle.EMPTY_LIST, pickle.EMPTY_DICT, pickle.EMPTY_SET, pickle.FROZENSET),
        *(pickle.BINGET, pickle.LONG_BINGET, pickle.BINPUT, pickle.LONG_BINPUT, pickle.MEMOIZE),
        *(pickle.GLOBAL, pickle.STACK_GLOBAL, pickle.BINPERSID),
    )
    dispatch: ClassVar[dict[int, Any]] = {
        **{code[0]: pickle._Unpickler.dispatch[code[0]] for code in _DATA},
        pickle.REDUCE[0]: _reduce,
        pickle.NEWOBJ[0]: _newobj,
        pickle.BUILD[0]: _build,
        pickle.APPEND[0]: _append,
        pickle.APPENDS[0]: _appends,
        pickle.SETITEM[0]: _setitem,
        pickle.SETITEMS[0]: _setitems,
        pickle.ADDITEMS[0]: _additems,
    }

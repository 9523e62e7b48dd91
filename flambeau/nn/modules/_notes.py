"""Where in a model an exception arose: one note on the exception, worked out as it passes outwards."""

from __future__ import annotations

from typing import Any

from flambeau.tensor.tensor import Tensor

_MARK = "_flambeau_module"


def annotate(error: BaseException, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Notes on an exception which module's forward it came out of.

    The innermost module writes the note; each module around it puts its own name in front of the path.
    """
    try:
        known = getattr(error, _MARK, None)
        if known is None:
            path = ""
            about = f"{_described(module)}{_inputs(args, kwargs)}"
            old = None
        else:
            inner, path, about, old = known
            if inner is module:
                # It called itself, or super().__call__.
                return
            step = _name_within(module, inner)
            path = "." + (step or f"<{type(inner).__name__}>") + path
        note = f"in {type(module).__name__}{path}: {about}"
        notes = getattr(error, "__notes__", None)
        if old is not None and notes and old in notes:
            notes[notes.index(old)] = note
        else:
            error.add_note(note)
        setattr(error, _MARK, (module, path, about, note))
    except Exception:
        # A description that cannot be had must never hide the error itself.
        return


def _name_within(module: Any, inner: Any) -> str | None:
    for name, found in module.named_modules():
        if found is inner:
            return name
    return None


def _described(module: Any) -> str:
    if not module._modules:
        return repr(module).replace("\n", " ")
    extra = module.extra_repr().replace("\n", " ")
    return f"{module._get_name()}({extra + ', ' if extra else ''}...)"


def _inputs(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    told = [_told(value) for value in args]
    told += [f"{name}={_told(value)}" for name, value in kwargs.items()]
    return f", input {', '.join(told)}" if told else ""


def _told(value: Any) -> str:
    if isinstance(value, Tensor):
        return str(tuple(value.shape))
    if isinstance(value, tuple | list):
        told = ", ".join(map(_told, value))
        return f"[{told}]"
    if value is None or isinstance(value, bool | int | float | str):
        return repr(value)
    return type(value).__name__

"""Random chains of views and writes, as lists of steps that run on PyTorch and on Flambeau alike.

A chain is drawn while it runs on PyTorch, whose tensors say which steps make sense next.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch as oracle
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

Step = Callable[[Any, list[Any]], Any]
"""``step(library, tensors)`` gives a view of one of the tensors, or writes to one and gives None."""

SHAPES = st.lists(st.integers(0, 4), min_size=0, max_size=4).map(tuple)
REFUSED = (IndexError, RuntimeError, ValueError, TypeError)


def numbers(shape: tuple[int, ...], dtype: str, seed: int = 0) -> np.ndarray:
    """Small whole numbers, so that every result is exact."""
    values = np.random.default_rng(seed).integers(-8, 9, shape)
    if dtype.startswith("complex"):
        return (values + 1j * np.random.default_rng(seed + 1).integers(-8, 9, shape)).astype(dtype)
    return values.astype(dtype)


def view_step(draw: Any, x: Any, differentiable: bool = False) -> tuple[str, Callable[[Any, Any], Any]]:
    """A view operation, mostly one that applies to a tensor laid out as ``x``."""
    shape, ndim = tuple(x.shape), x.dim()
    dims = st.integers(-ndim, ndim - 1) if ndim else st.just(0)
    kinds = [
        "unsqueeze",
        "squeeze",
        "squeeze_all",
        "alias",
        "expand",
        "view",
        "reshape",
    ]
    if not differentiable:
        # PyTorch allows no writes to several views made at once, once they are differentiated.
        kinds += ["detach", "bits"] + ["pieces"] * 2 * (ndim > 0)
    if not differentiable or x.numel() == len(x.untyped_storage()) // x.itemsize:
        # What it reads beside a view has a gradient there only if something was written since.
        kinds += ["as_strided"]
    if ndim:
        kinds += ["slice", "slice", "select", "select", "narrow", "unfold", "unfold", "unflatten"]
        kinds += ["flatten", "movedim", "index"]
    if ndim >= 2:
        kinds += ["transpose", "permute", "diagonal", "diagonal", "mT"]
    if x.dtype.is_complex:
        kinds += ["real", "imag", "view_as_real", "conj", "mH"]
    elif x.dtype.itemsize >= 4 and x.dtype.is_floating_point and ndim and shape[-1] == 2:
        kinds += ["view_as_complex"] * 3
    kind = draw(st.sampled_from(kinds))
    dim = draw(dims)
    n = shape[dim] if ndim else 1
    if kind in ("squeeze_all", "alias", "detach", "mT", "mH", "real", "imag", "conj"):
        return kind, {
            "squeeze_all": lambda lib, t: t.squeeze(),
            "alias": lambda lib, t: t[...],
            "detach": lambda lib, t: t.detach(),
            "mT": lambda lib, t: t.mT,
            "mH": lambda lib, t: t.mH,
            "real": lambda lib, t: t.real,
            "imag": lambda lib, t: t.imag,
            "conj": lambda lib, t: t.conj(),
        }[kind]
    if kind in ("view_as_real", "view_as_complex"):
        return kind, lambda lib, t: getattr(lib, kind)(t)
    if kind == "unsqueeze":
        at = draw(st.integers(-ndim - 1, ndim))
        return kind, lambda lib, t: t.unsqueeze(at)
    if kind == "squeeze":
        return kind, lambda lib, t: t.squeeze(dim)
    if kind == "expand":
        sizes = [draw(st.integers(0, 3)) if m == 1 else draw(st.sampled_from([m, -1])) for m in shape]
        lead = draw(st.lists(st.integers(0, 2), max_size=1))
        return kind, lambda lib, t: t.expand(*lead, *sizes) if lead or sizes else t.expand(())
    if kind in ("view", "reshape"):
        wanted = draw(shapes_of(x.numel()))
        return kind, lambda lib, t: getattr(t, kind)(wanted)
    if kind == "as_strided":
        size = tuple(draw(st.lists(st.integers(0, 3), max_size=3)))
        stride = tuple(draw(st.integers(0, 4)) for _ in size)
        offset = draw(st.none() | st.integers(0, 3))
        return kind, lambda lib, t: t.as_strided(size, stride, offset)
    if kind == "bits":
        name = draw(st.sampled_from(["int32", "float32", "int16", "uint8", "int64", "float64", "complex64"]))
        return kind, lambda lib, t: t.view(getattr(lib, name))
    if kind == "slice":
        start, stop = (draw(st.none() | st.integers(-5, 6)) for _ in range(2))
        key = (*[slice(None)] * (dim % ndim), slice(start, stop, draw(st.integers(1, 3))))
        return kind, lambda lib, t: t[key]
    if kind == "index":
        items = draw(st.lists(st.sampled_from([None, ..., slice(None), slice(1, None), 0, -1]), max_size=3))
        key = tuple(item for i, item in enumerate(items) if item is not ... or i == items.index(...))
        return kind, lambda lib, t: t[key]
    if kind == "narrow":
        start = draw(st.integers(-n, n))
        length = draw(st.integers(0, n - start % (n or 1) if start != n else 0))
        return kind, lambda lib, t: t.narrow(dim, start, length)
    if kind == "select":
        index = draw(st.integers(-n, max(n - 1, -n)))
        return kind, lambda lib, t: t.select(dim, index)
    if kind == "unfold":
        size, step = draw(st.integers(0, n)), draw(st.integers(1, 3))
        return kind, lambda lib, t: t.unfold(dim, size, step)
    if kind == "pieces":
        how = draw(st.sampled_from(["unbind", "split", "chunk", "tensor_split", "split_sizes"]))
        count, which = draw(st.integers(1, 3)), draw(st.integers(-1, 0))
        cut = draw(st.integers(0, n))
        return kind, {
            "unbind": lambda lib, t: t.unbind(dim)[which],
            "split": lambda lib, t: t.split(count, dim)[which],
            "chunk": lambda lib, t: t.chunk(count, dim)[which],
            "tensor_split": lambda lib, t: t.tensor_split(count, dim)[which],
            "split_sizes": lambda lib, t: t.split([cut, n - cut], dim)[which],
        }[how]
    if kind == "unflatten":
        sizes = draw(shapes_of(n, 2))
        return kind, lambda lib, t: t.unflatten(dim, sizes)
    if kind == "flatten":
        end = draw(dims)
        return kind, lambda lib, t: t.flatten(dim, end)
    if kind in ("movedim", "transpose"):
        other = draw(dims)
        name = draw(st.sampled_from(["movedim", "moveaxis"] if kind == "movedim" else ["transpose", "swapaxes"]))
        return kind, lambda lib, t: getattr(t, name)(dim, other)
    if kind == "permute":
        order = draw(st.permutations(range(ndim)))
        return kind, lambda lib, t: t.permute(order)
    assert kind == "diagonal"
    first, second = draw(st.permutations(range(-ndim, 0)))[:2]
    offset = draw(st.integers(-3, 3))
    return kind, lambda lib, t: t.diagonal(offset, first, second)


@st.composite
def shapes_of(draw: Any, count: int, longest: int = 3) -> tuple[int, ...]:
    """Sizes that multiply up to a number, one of them perhaps -1."""
    sizes = []
    left = count
    for _ in range(draw(st.integers(1, longest)) - 1):
        size = draw(st.sampled_from([d for d in range(1, max(left, 1) + 1) if left % d == 0]))
        sizes.append(size)
        left //= size
    sizes.append(left)
    if draw(st.booleans()):
        sizes[draw(st.integers(0, len(sizes) - 1))] = -1
    return tuple(sizes)


def write_step(draw: Any, x: Any, differentiable: bool = False) -> tuple[str, Callable[[Any, Any], Any]]:
    """A write into a tensor laid out as ``x``."""
    shape, ndim = tuple(x.shape), x.dim()
    kinds = ["fill_", "zero_", "add_", "mul_", "copy_", "copy_broadcast", "setitem", "setitem_tensor", "iadd", "where"]
    if not differentiable:
        kinds += ["out"]
    if ndim:
        kinds += ["setitem_part", "setitem_index", "setitem_mask", "index_add_"]
    kind = draw(st.sampled_from(kinds))
    number = draw(st.integers(-2, 3))
    name = str(x.dtype).removeprefix("torch.")

    def tensor(lib: Any, size: tuple[int, ...] = shape) -> Any:
        return lib.tensor(numbers(size, name, 3))

    if kind in ("fill_", "add_", "mul_"):
        return kind, lambda lib, t: getattr(t, kind)(number)
    if kind == "zero_":
        return kind, lambda lib, t: t.zero_()
    if kind == "copy_":
        return kind, lambda lib, t: t.copy_(tensor(lib))
    if kind == "copy_broadcast":
        narrow = tuple(1 if draw(st.booleans()) else n for n in shape)[draw(st.integers(0, ndim)) :]
        return kind, lambda lib, t: t.copy_(lib.tensor(numbers(narrow, "int64", 4)))
    if kind == "setitem":
        return kind, lambda lib, t: t.__setitem__(..., number)
    if kind == "setitem_tensor":
        return kind, lambda lib, t: t.__setitem__(slice(None) if ndim else ..., tensor(lib))
    if kind == "iadd":
        return kind, lambda lib, t: t.__iadd__(tensor(lib))
    if kind == "where":
        mask = np.random.default_rng(number + 9).random(shape) < 0.5
        return kind, lambda lib, t: t.masked_fill_(lib.tensor(mask), number)
    if kind == "out":
        return kind, lambda lib, t: lib.mul(tensor(lib), 2, out=t)
    n = shape[0]
    if kind == "setitem_part":
        part = slice(draw(st.integers(-4, 4)), None, draw(st.integers(1, 2)))
        return kind, lambda lib, t: t.__setitem__(part, number)
    if kind == "index_add_":
        places = np.random.default_rng(number + 9).permutation(n)
        return kind, lambda lib, t: t.index_add_(0, lib.tensor(places), tensor(lib))
    places = np.random.default_rng(number + 9).permutation(n)[: n // 2 + 1]
    if kind == "setitem_index":
        return kind, lambda lib, t: t.__setitem__(lib.tensor(places), tensor(lib, (len(places), *shape[1:])))
    mask = np.random.default_rng(number + 9).random(shape[: draw(st.integers(1, ndim))]) < 0.5
    return kind, lambda lib, t: t.__setitem__(lib.tensor(mask), number)


def overlaps(x: Any) -> bool:
    """Whether two elements of a tensor lie at one place: writes there have no defined order."""
    places = np.zeros(tuple(x.shape), np.int64)
    for d, (n, step) in enumerate(zip(x.shape, x.stride(), strict=True)):
        places += (np.arange(n) * step).reshape([-1 if i == d else 1 for i in range(x.dim())])
    return len(np.unique(places)) != places.size


def attempt(function: Callable[[], Any]) -> tuple[Any, Exception | None]:
    """What a call gives, or the error that it raises."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return function(), None
        except REFUSED as error:
            return None, error


def values(x: Any) -> np.ndarray:
    """The values as an array, of PyTorch's or of Flambeau's."""
    if x.requires_grad:
        x = x.detach()
    return (x.resolve_conj().resolve_neg() if isinstance(x, oracle.Tensor) else x).numpy()


def assert_alike(found: Any, expected: Any, layout: bool = True) -> None:
    """Fails unless two tensors have the same type, shape, values and layout."""
    assert str(found.dtype) == str(expected.dtype)
    assert tuple(found.shape) == tuple(expected.shape)
    np.testing.assert_array_equal(values(found), values(expected))
    if layout:
        assert tuple(found.stride()) == tuple(expected.stride())
        assert found.storage_offset() == expected.storage_offset()
        assert found.is_contiguous() == expected.is_contiguous()
        assert found._is_view() == expected._is_view()
        assert found.is_conj() == expected.is_conj()


# ---------------------------------------------------------------- whole chains


def several(usual: int, share: int = 1) -> settings:
    """Settings to draw ``usual`` examples, always the same; or that share of FLAMBEAU_EXAMPLES, always others."""
    wanted = os.environ.get("FLAMBEAU_EXAMPLES")
    return settings(
        max_examples=usual if wanted is None else max(int(wanted) // share, 1),
        derandomize=wanted is None,
        database=None,
        deadline=None,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )


def plain(library: Any, tensor: Any) -> Any:
    """A copy in row-major order."""
    return tensor.clone(memory_format=library.contiguous_format)


class Chain:
    """A start and the steps from there, with what they did on PyTorch.

    Attributes:
        array: the values to start from.
        differentiable: whether the steps begin at twice a leaf that requires a gradient.
        steps: their names with the steps themselves.
    """

    def __init__(self, array: np.ndarray, differentiable: bool) -> None:
        self.array = array
        self.differentiable = differentiable
        self.steps: list[tuple[str, Step]] = []

    def __repr__(self) -> str:
        kind = f"{self.array.dtype}{list(self.array.shape)}"
        return f"{kind}{' * 2' if self.differentiable else ''}: {', '.join(name for name, _ in self.steps)}"

    def leaf(self, library: Any, seed: int = 0) -> Any:
        """What the chain starts from, or a tensor of that kind with other values."""
        values = self.array if not seed else numbers(self.array.shape, str(self.array.dtype), seed)
        return plain(library, library.tensor(values)).requires_grad_(self.differentiable)

    def start(self, library: Any, leaf: Any) -> list[Any]:
        return [plain(library, leaf * 2) if self.differentiable else leaf]

    def run(self, library: Any, leaf: Any) -> tuple[list[Any], list[Exception | None]]:
        """The tensors of the chain: base, views and looks; and per step the error that it raised."""
        tensors, errors = self.start(library, leaf), []
        for _, step in self.steps:
            found, error = attempt(lambda step=step: step(library, tensors))
            errors.append(error)
            if found is not None:
                tensors.append(found)
        return tensors, errors


WORKING_TYPES = ("float32", "float32", "int64", "complex64", "bool", "float16", "uint8")


def chain_of(draw: Any, *, differentiable: bool = False, refused: bool = True, longest: int = 8) -> Chain:
    """Draws a chain of views and writes.

    Args:
        draw: hypothesis's.
        differentiable: start from twice a leaf, and leave out what PyTorch cannot go back through.
        refused: keep steps that raise.
        longest: how many steps at most.
    """
    dtype = draw(st.sampled_from(("float32", "complex64") if differentiable else WORKING_TYPES))
    chain = Chain(numbers(draw(SHAPES), dtype), differentiable)
    tensors = chain.start(oracle, chain.leaf(oracle))
    for _ in range(draw(st.integers(1, longest))):
        at = draw(st.integers(0, len(tensors) - 1))
        x = tensors[at]
        what = draw(st.sampled_from(["view", "view", "view", "write", "write", "across", "look"]))
        if what in ("write", "across") and overlaps(x):
            continue
        step: Step
        if what == "look":
            name, step = "look", lambda library, ts, at=at: plain(library, ts[at].detach())
        elif what == "across":
            other = draw(st.integers(0, len(tensors) - 1))
            name, function = across_step(draw, x)
            name = f"{name} of {other} to "
            step = lambda library, ts, at=at, f=function, other=other: f(library, ts[at], ts[other])  # noqa: E731
        else:
            name, function = (view_step if what == "view" else write_step)(draw, x, differentiable)
            step = lambda library, ts, at=at, f=function: f(library, ts[at])  # noqa: E731
        if what in ("write", "across"):
            quiet = differentiable and draw(st.integers(0, 3)) == 0
            name, step = f"no_grad {name}" if quiet else name, writing(step, quiet)
        found, error = attempt(lambda step=step: step(oracle, tensors))
        if error is not None and not refused:
            continue
        chain.steps.append((f"{name}({at})", step))
        if found is not None:
            tensors.append(found)
    return chain


def writing(step: Step, without_grad: bool) -> Step:
    """A step that gives nothing, and may not be noted for differentiation."""

    def write(library: Any, tensors: list[Any]) -> None:
        with library.set_grad_enabled(not without_grad):
            step(library, tensors)

    return write


def across_step(draw: Any, x: Any) -> tuple[str, Callable[[Any, Any, Any], Any]]:
    """A write of what another tensor of the chain, perhaps an alias, adds up to."""
    mask = np.random.default_rng(5).random(tuple(x.shape)) < 0.5
    places = np.random.default_rng(6).permutation(x.shape[0])[: x.shape[0] // 2 + 1] if x.dim() else None
    repeated = draw(st.booleans())
    kinds: dict[str, Callable[[Any, Any, Any], Any]] = {
        "add_": lambda lib, t, u: t.add_(u.sum()),
        "sub_": lambda lib, t, u: t.sub_(u.sum(), alpha=2),
        "copy_": lambda lib, t, u: t.copy_(u.sum()),
        "fill_": lambda lib, t, u: t.fill_(u.sum()),
        "setitem": lambda lib, t, u: t.__setitem__(..., u.sum()),
        "masked_fill_": lambda lib, t, u: t.masked_fill_(lib.tensor(mask), u.sum().to(t.dtype)),
        "setitem_mask": lambda lib, t, u: t.__setitem__(lib.tensor(mask), u.sum().to(t.dtype)),
    }
    if places is not None:
        kinds["setitem_part"] = lambda lib, t, u: t.__setitem__(slice(None, None, 2), u.sum())
        kinds["index_put_"] = lambda lib, t, u: t.index_put_(
            (lib.tensor(places),), u.sum().to(t.dtype), accumulate=repeated
        )
        kinds["index_fill_"] = lambda lib, t, u: t.index_fill_(0, lib.tensor(places), u.sum().to(t.dtype))
    kind = draw(st.sampled_from(sorted(kinds)))
    return kind, kinds[kind]

"""Sums of products named by subscripts: ``einsum`` and ``tensordot``, as batched matrix products."""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import Any

from flambeau.ops.matmul import MATMUL
from flambeau.ops.operator import inputs_of, public
from flambeau.ops.products import dot
from flambeau.ops.views import wrapped_dim
from flambeau.tensor.tensor import Tensor

LETTERS = string.ascii_uppercase + string.ascii_lowercase


# ---------------------------------------------------------------- tensordot


@public(out="exact")
def tensordot(a: Tensor, b: Tensor, dims: Any = 2) -> Tensor:
    """The sum of products over some dimensions of ``a`` and as many of ``b``, as one matrix product.

    Args:
        dims: how many, the last of ``a`` with the first of ``b``; or two lists of dimensions.

    Raises:
        RuntimeError: if the lists or the sizes do not fit.

    Example:
        >>> import flambeau as torch
        >>> torch.tensordot(torch.ones(2, 3, 4), torch.ones(3, 4, 5), dims=2).shape
        torch.Size([2, 5])
    """
    ours, theirs = _contracted(a, b, dims)
    for one, two in zip(ours, theirs, strict=True):
        named = one - a.ndim if isinstance(dims, int) else one
        if a.shape[one] != b.shape[two] and 1 not in (a.shape[one], b.shape[two]):
            raise RuntimeError(
                f"contracted dimensions need to match, but first has size {a.shape[one]} in dim {named} and second has "
                f"size {b.shape[two]} in dim {two}"
            )
        # A dimension of size one stands for its sum over the other's.
        if a.shape[one] == 1 != b.shape[two]:
            b = b.sum(two, keepdim=True)
        elif b.shape[two] == 1 != a.shape[one]:
            a = a.sum(one, keepdim=True)
    if a.dtype is not b.dtype:
        raise RuntimeError("both inputs should have same dtype")
    kept_a = [d for d in range(a.ndim) if d not in ours]
    kept_b = [d for d in range(b.ndim) if d not in theirs]
    rows, columns = [a.shape[d] for d in kept_a], [b.shape[d] for d in kept_b]
    inner = _count([a.shape[d] for d in ours])
    left = a.permute(kept_a + ours).reshape(_count(rows), inner)
    right = b.permute(theirs + kept_b).reshape(inner, _count(columns))
    if _count(rows) == _count(columns) == 1:
        return dot(left.reshape(inner), right.reshape(inner)).reshape(rows + columns)
    return MATMUL(left, right).reshape(rows + columns)


def _count(sizes: Sequence[int]) -> int:
    total = 1
    for n in sizes:
        total *= n
    return total


def _contracted(a: Tensor, b: Tensor, dims: Any) -> tuple[list[int], list[int]]:
    if isinstance(dims, Tensor):
        dims = dims.tolist()
        if isinstance(dims, list) and len(dims) == 1 and not isinstance(dims[0], list):
            dims = dims[0]
    if isinstance(dims, int):
        if dims < 0:
            raise RuntimeError(f"tensordot expects dims >= 0, but got dims={dims}")
        if dims > min(a.ndim, b.ndim):
            raise RuntimeError(f"tensordot expects dims < ndim_a or ndim_b, but got dims={dims}")
        return list(range(a.ndim - dims, a.ndim)), list(range(dims))
    first, second = (([d] if isinstance(d, int) else list(d)) for d in dims)
    if len(first) != len(second):
        raise RuntimeError("both dimension lists should have same length")
    ours = [wrapped_dim(d, a.ndim) for d in first]
    theirs = [wrapped_dim(d, b.ndim) for d in second]
    for dims_of in (ours, theirs):
        for d in dims_of:
            if dims_of.count(d) > 1:
                raise RuntimeError(f"dim {d} appears multiple times in the list of dims")
    return ours, theirs


# ---------------------------------------------------------------- reading the equation

ELLIPSIS = "."


def _subscripts(text: str, operand: int) -> list[str]:
    """One operand's subscripts, an ellipsis as one."""
    found = []
    i = 0
    while i < len(text):
        letter = text[i]
        if letter == ".":
            if ELLIPSIS in found:
                raise RuntimeError(f"einsum(): found '.' for operand {operand} for which an ellipsis was already found")
            if text[i : i + 3] != "...":
                raise RuntimeError(f"einsum(): found '.' for operand {operand} that is not part of any ellipsis")
            found.append(ELLIPSIS)
            i += 3
            continue
        found.append(letter)
        i += 1
    return found


def _read(equation: str, count: int) -> tuple[list[list[str]], list[str] | None]:
    left, arrow, right = equation.partition("->")
    for i, letter in enumerate(left):
        if letter not in LETTERS and letter not in " .,":
            raise RuntimeError(
                f"einsum(): invalid subscript given at index {i} in the equation string, subscripts must be in [a-zA-Z]"
            )
    for i, letter in enumerate(right):
        if letter not in LETTERS and letter not in " .":
            raise RuntimeError(
                f"einsum(): invalid subscript given at index {len(left) + 2 + i} in the equation string, subscripts "
                "must be in [a-zA-Z]"
            )
    parts = left.replace(" ", "").split(",")
    if len(parts) > count:
        raise RuntimeError("einsum(): fewer operands were provided than specified in the equation")
    if len(parts) < count:
        raise RuntimeError("einsum(): more operands were provided than specified in the equation")
    named = [_subscripts(part, i) for i, part in enumerate(parts)]
    if not arrow:
        return named, None
    text = right.replace(" ", "")
    if text.count(".") not in (0, 3) or ("." in text and "..." not in text):
        raise RuntimeError("einsum(): found '.' for output but an ellipsis (...) was expected")
    return named, _subscripts(text, -1)


def _letters_of(sublist: Any) -> str:
    text = ""
    for item in sublist:
        if item is Ellipsis:
            text += "..."
        elif not 0 <= item < len(LETTERS):
            raise ValueError(f"einsum(): subscript {item} is not within the valid range [0, 52)")
        else:
            text += LETTERS[item]
    return text


def _arguments(args: tuple[Any, ...]) -> tuple[str, list[Tensor]]:
    """The equation and the operands, from either way of giving them."""
    if len(args) < 2:
        raise ValueError(
            "einsum(): must specify the equation string and at least one operand, or at least one operand and its "
            "subscripts list"
        )
    if isinstance(args[0], Tensor):
        operands = list(args[: len(args) - len(args) % 2 : 2])
        equation = ",".join(_letters_of(sublist) for sublist in args[1 : len(operands) * 2 : 2])
        if len(args) % 2:
            equation += "->" + _letters_of(args[-1])
        return equation, operands
    if len(args) == 2 and isinstance(args[1], list | tuple):
        return _arguments((args[0], *args[1]))
    if not isinstance(args[0], str):
        raise TypeError(f"einsum(): argument 'equation' (position 1) must be str, not {type(args[0]).__name__}")
    return args[0], inputs_of(args[1:])


# ---------------------------------------------------------------- the sum of products

# Dimensions are named by ints here: a letter by its code, those of an ellipsis by negative numbers.
Names = list[int]


def _named_dims(named: list[list[str]], operands: list[Tensor]) -> tuple[list[Names], int]:
    widest = 0
    for i, (letters, operand) in enumerate(zip(named, operands, strict=True)):
        count = len(letters) - (ELLIPSIS in letters)
        if ELLIPSIS in letters:
            if count > operand.ndim:
                raise RuntimeError(
                    f"einsum(): the number of subscripts in the equation ({count}) is more than the number of "
                    f"dimensions ({operand.ndim}) for operand {i}"
                )
            widest = max(widest, operand.ndim - count)
        elif count != operand.ndim:
            raise RuntimeError(
                f"einsum(): the number of subscripts in the equation ({count}) does not match the number of dimensions "
                f"({operand.ndim}) for operand {i} and no ellipsis was given"
            )
    names = []
    for letters, operand in zip(named, operands, strict=True):
        dims: Names = []
        for letter in letters:
            if letter == ELLIPSIS:
                # Those of a shorter ellipsis are the last of the widest.
                dims.extend(range(-(operand.ndim - len(letters) + 1), 0))
            else:
                dims.append(ord(letter))
        names.append(dims)
    return names, widest


def _output_names(named: list[list[str]], out: list[str] | None, widest: int) -> Names:
    every = [letter for letters in named for letter in letters if letter != ELLIPSIS]
    ellipsis = list(range(-widest, 0))
    if out is None:
        return ellipsis + [ord(letter) for letter in sorted(set(every)) if every.count(letter) == 1]
    result: Names = []
    for letter in out:
        if letter == ELLIPSIS:
            result.extend(ellipsis)
            continue
        if out.count(letter) > 1:
            raise RuntimeError(f"einsum(): output subscript {letter} appears more than once in the output")
        if letter not in every:
            raise RuntimeError(
                f"einsum(): output subscript {letter} does not appear in the equation for any input operand"
            )
        result.append(ord(letter))
    return result


def _without_repeats(operand: Tensor, names: Names, i: int) -> tuple[Tensor, Names]:
    """A name that an operand has twice stands for its diagonal."""
    for name in list(names):
        while names.count(name) > 1:
            first = names.index(name)
            second = names.index(name, first + 1)
            if operand.shape[first] != operand.shape[second]:
                raise RuntimeError(
                    f"einsum(): subscript {chr(name)} is repeated for operand {i} but the sizes don't match, "
                    f"{operand.shape[second]} != {operand.shape[first]}"
                )
            operand = operand.diagonal(0, first, second)
            names = [n for d, n in enumerate(names) if d not in (first, second)] + [name]
    return operand, names


def _check_sizes(operands: list[Tensor], names: list[Names]) -> dict[int, int]:
    sizes: dict[int, int] = {}
    for i, (operand, dims) in enumerate(zip(operands, names, strict=True)):
        for name, size in zip(dims, operand.shape, strict=True):
            known = sizes.get(name, 1)
            if known != size and 1 not in (known, size):
                what = f"subscript {chr(name)}" if name > 0 else "dimension of the ellipsis"
                raise RuntimeError(
                    f"einsum(): {what} has size {size} for operand {i} which does not broadcast with previously seen "
                    f"size {known}"
                )
            sizes[name] = size if known == 1 else known
    return sizes


def _summed(operand: Tensor, names: Names, kept: set[int]) -> tuple[Tensor, Names]:
    gone = [d for d, name in enumerate(names) if name not in kept]
    if not gone:
        return operand, names
    return operand.sum(gone), [name for name in names if name in kept]


def _without_ones(operand: Tensor, names: Names, sizes: dict[int, int]) -> tuple[Tensor, Names]:
    """Drops dimensions of size one that broadcast against a larger size."""
    ones = [d for d, name in enumerate(names) if operand.shape[d] == 1 != sizes[name]]
    if not ones:
        return operand, names
    return operand.squeeze(ones), [name for d, name in enumerate(names) if d not in ones]


def _pair(a: Tensor, a_names: Names, b: Tensor, b_names: Names, kept: set[int]) -> tuple[Tensor, Names]:
    """The product of two operands, summed over what is not kept: one batched matrix product."""
    a, a_names = _summed(a, a_names, kept | set(b_names))
    b, b_names = _summed(b, b_names, kept | set(a_names))
    batch = [n for n in a_names if n in b_names and n in kept]
    inner = [n for n in a_names if n in b_names and n not in kept]
    rows = [n for n in a_names if n not in b_names]
    columns = [n for n in b_names if n not in a_names]
    sizes = dict(zip(a_names, a.shape, strict=True)) | dict(zip(b_names, b.shape, strict=True))
    a = a.permute([a_names.index(n) for n in batch + rows + inner])
    b = b.permute([b_names.index(n) for n in batch + inner + columns])
    result = batch + rows + columns
    shape = [sizes[n] for n in result]
    b_sizes, r_sizes, i_sizes, c_sizes = ([sizes[n] for n in names] for names in (batch, rows, inner, columns))
    if not inner:
        left = a.reshape(b_sizes + r_sizes + [1] * len(columns))
        return left * b.reshape(b_sizes + [1] * len(rows) + c_sizes), result
    flat = [_count(b_sizes)] if batch else []
    left = a.reshape([*flat, _count(r_sizes), _count(i_sizes)])
    right = b.reshape([*flat, _count(i_sizes), _count(c_sizes)])
    return MATMUL(left, right).reshape(shape), result


def _cheapest(names: list[Names], sizes: dict[int, int], kept: set[int]) -> tuple[int, int]:
    """The pair whose product grows the least over its two operands."""
    best, found = None, (0, 1)
    for i in range(len(names)):
        for j in range(i + 1, len(names)):
            rest = kept.union(*(n for k, n in enumerate(names) if k not in (i, j)))
            result = [n for n in {*names[i], *names[j]} if n in rest]
            growth = _count([sizes[n] for n in result]) - sum(_count([sizes[n] for n in names[k]]) for k in (i, j))
            if best is None or growth < best:
                best, found = growth, (i, j)
    return found


@public()
def einsum(*args: Any) -> Tensor:
    """Sums of products over named dimensions.

    ``einsum(equation, *operands)`` names the dimensions of each operand by letters, ``"bij,bjk->bik"``; names
    that the output lacks are summed over, ``...`` stands for any further dimensions, which broadcast.  Without
    an output, names that occur once are kept, in the order of the alphabet, after those of the ellipsis.
    Also ``einsum(operand, [0, 1], operand, [1, 2], [0, 2])``.  Operands are multiplied two at a time, the pair
    first whose product grows the least.

    Raises:
        RuntimeError: if the equation and the shapes do not fit.

    Example:
        >>> import flambeau as torch
        >>> torch.einsum("ij,jk->ik", torch.ones(2, 3), torch.ones(3, 1))
        tensor([[3.],
                [3.]])
    """
    equation, operands = _arguments(args)
    named, out = _read(equation, len(operands))
    names, widest = _named_dims(named, operands)
    wanted = _output_names(named, out, widest)
    for i, operand in enumerate(operands):
        operands[i], names[i] = _without_repeats(operand, names[i], i)
    sizes = _check_sizes(operands, names)
    kept = set(wanted)
    for i, operand in enumerate(operands):
        operands[i], names[i] = _without_ones(operand, names[i], sizes)
    while len(operands) > 1:
        i, j = _cheapest(names, sizes, kept) if len(operands) > 2 else (0, 1)
        second, second_names = operands.pop(j), names.pop(j)
        first, first_names = operands.pop(i), names.pop(i)
        rest = kept.union(*names)
        product, product_names = _pair(first, first_names, second, second_names, rest)
        operands.append(product)
        names.append(product_names)
    result, have = _summed(operands[0], names[0], kept)
    return result.permute([have.index(name) for name in wanted])

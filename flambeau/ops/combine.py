"""Compositions of joining and cutting: stacks, splits, products of sets, differences and integrals."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from flambeau import dtypes
from flambeau.ops.index import INDEX
from flambeau.ops.join import CAT, cat, stack
from flambeau.ops.operator import inputs_of, labelled, public
from flambeau.ops.shape import atleast_1d, atleast_2d, atleast_3d
from flambeau.ops.slicing import SLICE, tensor_split
from flambeau.ops.views import wrapped_dim
from flambeau.tensor.tensor import Tensor, from_array

# ---------------------------------------------------------------- stacks


def _check_list(name: str, tensors: Any) -> None:
    if isinstance(tensors, Tensor) or not isinstance(tensors, list | tuple):
        raise TypeError(
            f"{name}(): argument 'tensors' (position 1) must be tuple of Tensors, not {type(tensors).__name__}"
        )
    if not tensors:
        raise RuntimeError(f"{name} expects a non-empty TensorList")


@public(out=True)
def hstack(tensors: Any) -> Tensor:
    """Tensors side by side: joined along dimension 1, vectors along 0.

    Example:
        >>> import flambeau as torch
        >>> torch.hstack((torch.tensor([1, 2]), torch.tensor([3])))
        tensor([1, 2, 3])
        >>> torch.hstack((torch.tensor([[1], [2]]), torch.tensor([[3], [4]])))
        tensor([[1, 3],
                [2, 4]])
    """
    _check_list("hstack", tensors)
    given = atleast_1d(tuple(tensors))
    return cat(given, 0 if given[0].ndim == 1 else 1)


@public(out=True)
def vstack(tensors: Any) -> Tensor:
    """Tensors one below the other: joined along dimension 0, vectors as rows.

    Example:
        >>> import flambeau as torch
        >>> torch.vstack((torch.tensor([1, 2]), torch.tensor([3, 4])))
        tensor([[1, 2],
                [3, 4]])
    """
    _check_list("vstack", tensors)
    return cat(atleast_2d(tuple(tensors)), 0)


row_stack = public("row_stack", out=True)(vstack)


@public(out=True)
def dstack(tensors: Any) -> Tensor:
    """Tensors one behind the other: joined along dimension 2.

    Example:
        >>> import flambeau as torch
        >>> torch.dstack((torch.tensor([[1, 2]]), torch.tensor([[3, 4]])))
        tensor([[[1, 3],
                 [2, 4]]])
    """
    _check_list("dstack", tensors)
    return cat(atleast_3d(tuple(tensors)), 2)


@public(out=True)
def column_stack(tensors: Any) -> Tensor:
    """Tensors side by side, vectors as columns.

    Example:
        >>> import flambeau as torch
        >>> torch.column_stack((torch.tensor([1, 2]), torch.tensor([[3, 4], [5, 6]])))
        tensor([[1, 3, 4],
                [2, 5, 6]])
    """
    _check_list("column_stack", tensors)
    return hstack([t.reshape((t.numel(), 1)) if t.ndim <= 1 else t for t in inputs_of(tensors)])


def _splitter(name: str, dim: int, least: int, example: str) -> None:
    def split(input: Tensor, indices_or_sections: Any = None, *, indices: Any = None, sections: Any = None) -> Any:
        given = next(x for x in (indices_or_sections, indices, sections) if x is not None)
        if input.ndim < least:
            raise RuntimeError(
                f"torch.{name} requires a tensor with at least {least} dimension{'s' if least > 1 else ''}, but got a "
                "tensor "
                f"with {input.ndim} dimensions!"
            )
        at = 0 if name == "hsplit" and input.ndim == 1 else dim
        n = input._node.aval.shape[at]
        if isinstance(given, int) and (given <= 0 or n % given):
            raise RuntimeError(
                f"torch.{name} attempted to split along dimension {at}, but the size of the dimension {n} is not "
                "divisible "
                f"by the split_size {given}!"
            )
        return tensor_split(input, given, at)

    split.__name__ = split.__qualname__ = name
    vectors = ", of vectors along 0" if name == "hsplit" else ""
    split.__doc__ = f"""Pieces along dimension {dim}{vectors}: so many of equal size, or cut at the indices listed.

    Raises:
        RuntimeError: if there are too few dimensions, or pieces of equal size would leave a rest.

    Example:
        >>> import flambeau as torch
        >>> [part.tolist() for part in torch.{name}(torch.arange(4).reshape({"1, " if dim == 2 else ""}2, 2), 2)]
        {example}
    """
    public(name, method=True)(split)


_splitter("hsplit", 1, 1, "[[[0], [2]], [[1], [3]]]")
_splitter("vsplit", 0, 2, "[[[0, 1]], [[2, 3]]]")
_splitter("dsplit", 2, 3, "[[[[0], [2]]], [[[1], [3]]]]")


@public()
def block_diag(*tensors: Any) -> Tensor:
    """A matrix with the given ones along its diagonal, and zero elsewhere.

    Raises:
        RuntimeError: for a tensor of more than two dimensions.

    Example:
        >>> import flambeau as torch
        >>> torch.block_diag(torch.tensor([[1, 2], [3, 4]]), torch.tensor([5, 6]))
        tensor([[1, 2, 0, 0],
                [3, 4, 0, 0],
                [0, 0, 5, 6]])
    """
    dtype = None
    for i, t in enumerate(tensors):
        if not isinstance(t, Tensor):
            raise TypeError(f"block_diag(): expected Tensor as element {i} in argument 0, but got {type(t).__name__}")
        if t.ndim > 2:
            raise RuntimeError(
                f"torch.block_diag: Input tensors must have 2 or fewer dimensions. Input {i} has {t.ndim} dimensions"
            )
        dtype = t.dtype if dtype is None else dtypes.promote_types(dtype, t.dtype)
    if not tensors:
        from flambeau.ops.create import empty

        return empty((1, 0))
    blocks = [t.to(dtype).reshape((1, t.numel()) if t.ndim < 2 else tuple(t.shape)) for t in tensors]
    width = sum(b.shape[1] for b in blocks)
    rows = []
    start = 0
    for block in blocks:
        height, n = block.shape
        rows.append(CAT([block.new_zeros((height, start)), block, block.new_zeros((height, width - start - n))], 1))
        start += n
    return labelled(CAT(rows, 0), "BlockDiagBackward0")


@public()
def cartesian_prod(*tensors: Tensor) -> Tensor:
    """All combinations of one element of each vector, one row for each.

    Raises:
        RuntimeError: for a tensor that is no vector.

    Example:
        >>> import flambeau as torch
        >>> torch.cartesian_prod(torch.tensor([1, 2]), torch.tensor([3, 4]))
        tensor([[1, 3],
                [1, 4],
                [2, 3],
                [2, 4]])
    """
    from flambeau.ops.arrange import meshgrid

    for t in tensors:
        if t.ndim != 1:
            raise RuntimeError(f"Expect a 1D vector, but got shape {list(t.shape)}")
    if len(tensors) == 1:
        return tensors[0]
    return stack([g.reshape(-1) for g in meshgrid(*tensors)], 1)


@public()
def combinations(input: Tensor, r: int = 2, with_replacement: bool = False) -> Tensor:
    """All combinations of ``r`` elements of a vector, one row for each, in order.

    Raises:
        RuntimeError: for a tensor that is no vector, or a negative ``r``.

    Example:
        >>> import flambeau as torch
        >>> torch.combinations(torch.tensor([1, 2, 3]))
        tensor([[1, 2],
                [1, 3],
                [2, 3]])
    """
    if input.ndim != 1:
        raise RuntimeError(f"Expect a 1D vector, but got shape {list(input.shape)}")
    if r < 0:
        raise RuntimeError(f"Expect a non-negative number, but got {r}")
    if r == 0:
        return input.new_empty((0,))
    choose = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    rows = list(choose(range(len(input)), r))
    places = np.asarray(rows, np.int64).reshape(len(rows), r)
    return INDEX([input, from_array(places, device=input.device)])


@public()
def vander(x: Tensor, N: int | None = None, increasing: bool = False) -> Tensor:
    """Powers of a vector's elements as columns, from N - 1 down to 0, or up if ``increasing``.

    Raises:
        RuntimeError: for a tensor that is no vector, or a negative ``N``.

    Example:
        >>> import flambeau as torch
        >>> torch.vander(torch.tensor([2, 3]), N=3)
        tensor([[4, 2, 1],
                [9, 3, 1]])
    """
    if x.ndim != 1:
        raise RuntimeError("x must be a one-dimensional tensor.")
    N = len(x) if N is None else N
    if N < 0:
        raise RuntimeError("N must be non-negative.")
    base = x if x.dtype.category >= dtypes.FLOATING else x.to(dtypes.int64)
    columns = base.new_ones((len(x), N))
    if N > 1:
        powers = base.unsqueeze(1).expand((len(x), N - 1)).cumprod(1)
        columns = CAT([base.new_ones((len(x), 1)), powers], 1)
    return columns if increasing else columns.flip(1)


# ---------------------------------------------------------------- differences


def _cut(x: Tensor, dim: int, start: int, stop: int) -> Tensor:
    """The elements from ``start`` to ``stop``, which counts from the end unless positive."""
    n = x._node.aval.shape[dim]
    stop = n + stop if stop <= 0 else stop
    return SLICE(x, start, dim, max(stop - start, 0), 1)


@public(method=True, out=True)
def diff(
    input: Tensor, n: int = 1, dim: int = -1, prepend: Tensor | None = None, append: Tensor | None = None
) -> Tensor:
    """The differences of neighbours along ``dim``, ``n`` times over.

    Raises:
        RuntimeError: for a negative ``n``, no dimensions, or a ``prepend`` or ``append`` of another shape.

    Example:
        >>> import flambeau as torch
        >>> torch.diff(torch.tensor([1, 4, 9]))
        tensor([3, 5])
    """
    if not input.ndim:
        raise RuntimeError("diff expects input to be at least one-dimensional")
    dim = wrapped_dim(dim, input.ndim)
    for name, other in (("prepend", prepend), ("append", append)):
        if other is not None:
            if other.ndim != input.ndim:
                raise RuntimeError("diff expects prepend or append to be the same dimension as input")
            for d in range(input.ndim):
                if d != dim and other.shape[d] != input.shape[d]:
                    raise RuntimeError(
                        "diff expects the shape of tensor to prepend or append to match that of input except along "
                        "the "
                        f"differencing dimension; input.size({d}) = {input.shape[d]}, but got {name}.size({d}) = "
                        f"{other.shape[d]}"
                    )
    if n < 0:
        raise RuntimeError(f"order must be non-negative but got {n}")
    if n == 0:
        return input.clone()
    parts = [t for t in (prepend, input, append) if t is not None]
    x = cat(parts, dim) if len(parts) > 1 else input
    for _ in range(min(n, x.shape[dim])):
        later, earlier = _cut(x, dim, 1, 0), _cut(x, dim, 0, -1)
        x = later.logical_xor(earlier) if x.dtype is dtypes.bool_ else later - earlier
    return x


def _gradient_along(x: Tensor, dim: int, spacing: Any, edge_order: int) -> Tensor:
    """Second-order differences inside, one-sided ones at the edges."""
    n = x._node.aval.shape[dim]
    if isinstance(spacing, Tensor) and spacing.ndim:
        shape = [1] * x.ndim
        shape[dim] = -1
        steps = diff(spacing).reshape(tuple(shape))
    else:
        steps = (
            x.new_ones(
                [n - 1 if d == dim else 1 for d in range(x.ndim)],
                dtype=None if x.dtype.category >= dtypes.FLOATING else dtypes.get_default_dtype(),
            )
            * spacing
        )
    left, right = _cut(steps, dim, 0, -1), _cut(steps, dim, 1, 0)
    before, at, after = _cut(x, dim, 0, -2), _cut(x, dim, 1, -1), _cut(x, dim, 2, 0)
    inner = (
        before * (-right / (left * (left + right)))
        + at * ((right - left) / (left * right))
        + after * (left / (right * (left + right)))
    )
    if edge_order == 1:
        first = (_cut(x, dim, 1, 2) - _cut(x, dim, 0, 1)) / _cut(steps, dim, 0, 1)
        last = (_cut(x, dim, n - 1, n) - _cut(x, dim, n - 2, n - 1)) / _cut(steps, dim, n - 2, n - 1)
    else:
        a, b = _cut(steps, dim, 0, 1), _cut(steps, dim, 1, 2)
        first = (
            _cut(x, dim, 0, 1) * (-(a * 2 + b) / (a * (a + b)))
            + _cut(x, dim, 1, 2) * ((a + b) / (a * b))
            + _cut(x, dim, 2, 3) * (-a / (b * (a + b)))
        )
        a, b = _cut(steps, dim, n - 3, n - 2), _cut(steps, dim, n - 2, n - 1)
        last = (
            _cut(x, dim, n - 3, n - 2) * (b / (a * (a + b)))
            + _cut(x, dim, n - 2, n - 1) * (-(b + a) / (a * b))
            + _cut(x, dim, n - 1, n) * ((b * 2 + a) / (b * (a + b)))
        )
    return cat([first, inner, last], dim)


@public()
def gradient(input: Tensor, *, spacing: Any = 1, dim: Any = None, edge_order: int = 1) -> tuple[Tensor, ...]:
    """Estimates of the partial derivatives of a function given at the points of a grid, one tensor per dimension.

    Args:
        spacing: the distance of the points, one for all or one per dimension; or their coordinates as vectors.
        dim: the dimensions; all if None.
        edge_order: 1 or 2, the order of the one-sided differences at the edges.

    Raises:
        RuntimeError: for another ``edge_order``, a dimension given twice, too few points, or a wrong ``spacing``.

    Example:
        >>> import flambeau as torch
        >>> y = torch.tensor([0.0, 1.0, 4.0, 9.0])
        >>> torch.gradient(y)
        (tensor([1., 2., 4., 5.]),)
        >>> torch.gradient(y, spacing=0.5, edge_order=2)
        (tensor([ 0.,  4.,  8., 12.]),)
    """
    spacing = 1 if spacing is None else spacing
    if edge_order not in (1, 2):
        raise RuntimeError("torch.gradient only supports edge_order=1 and edge_order=2.")
    dims = tuple(range(input.ndim)) if dim is None else (dim,) if isinstance(dim, int) else tuple(dim)
    dims = tuple([wrapped_dim(d, input.ndim) for d in dims])
    if len(set(dims)) != len(dims):
        raise RuntimeError(
            "dim " + str(next(d for d in dims if dims.count(d) > 1)) + " appears multiple times in the list of dims"
        )
    if isinstance(spacing, list | tuple):
        spacings = list(spacing)
        if len(spacings) != len(dims):
            raise RuntimeError(
                f"torch.gradient expected spacing to be unspecified, a scalar or a list of length equal to "
                f"'self.dim() - {input.ndim}' or to the number of dims, but got a list of length {len(spacings)}"
            )
    elif isinstance(spacing, Tensor) and spacing.ndim:
        spacings = [spacing]
    else:
        spacings = [spacing] * len(dims)
    for d, step in zip(dims, spacings, strict=True):
        n = input.shape[d]
        if n < edge_order + 1:
            raise RuntimeError("torch.gradient expected each dimension size to be at least edge_order+1")
        if isinstance(step, Tensor) and step.ndim and len(step) != n:
            raise RuntimeError(
                f"torch.gradient expected coordinates of length {n} in dimension {d}, but got {len(step)}"
            )
    return tuple([_gradient_along(input, d, step, edge_order) for d, step in zip(dims, spacings, strict=True)])


# ---------------------------------------------------------------- integrals


def _areas(y: Tensor, x: Any, dx: Any, dim: int) -> Tensor:
    """The areas of the trapezoids between neighbours."""
    dim = wrapped_dim(dim, y.ndim)
    if x is None:
        return (_cut(y, dim, 1, 0) + _cut(y, dim, 0, -1)) * dx / 2
    if not x.ndim:
        raise RuntimeError("trapezoid: There must be one `x` value for each sample point")
    if x.ndim == 1 or x.ndim < y.ndim:
        if x.ndim == 1 and len(x) != y.shape[dim]:
            raise RuntimeError("trapezoid: There must be one `x` value for each sample point")
        shape = [1] * y.ndim
        if x.ndim == 1:
            shape[dim] = len(x)
        else:
            shape[y.ndim - x.ndim :] = list(x.shape)
        x = x.reshape(tuple(shape))
    elif x.shape[x.ndim - y.ndim + dim] != y.shape[dim]:
        raise RuntimeError("trapezoid: There must be one `x` value for each sample point")
    at = x.ndim - y.ndim + dim
    return (_cut(x, at, 1, 0) - _cut(x, at, 0, -1)) * (_cut(y, dim, 1, 0) + _cut(y, dim, 0, -1)) / 2


def _given(y: Tensor, x: Any, dx: Any) -> tuple[Any, Any]:
    if x is not None and dx is not None:
        raise TypeError("trapezoid() takes either x or dx")
    if y.dtype is dtypes.bool_ or (isinstance(x, Tensor) and x.dtype is dtypes.bool_):
        raise RuntimeError("trapezoid: received a bool input for `x` or `y`, but bool is not supported")
    return (x, None) if isinstance(x, Tensor) else (None, 1 if dx is None else dx) if x is None else (None, x)


@public()
def trapezoid(y: Tensor, x: Any = None, *, dx: Any = None, dim: int = -1) -> Tensor:
    """The integral of ``y`` along ``dim`` by the trapezoidal rule.

    Args:
        x: where the values are; or ``dx``, how far apart they are (1 unless given).

    Raises:
        TypeError: if both ``x`` and ``dx`` are given.
        RuntimeError: for bools, no dimensions, or an ``x`` of another size.

    Example:
        >>> import flambeau as torch
        >>> y = torch.tensor([1.0, 2.0, 3.0])
        >>> torch.trapezoid(y)
        tensor(4.)
        >>> torch.trapezoid(y, torch.tensor([0.0, 1.0, 3.0]))
        tensor(6.5000)
    """
    x, dx = _given(y, x, dx)
    at = wrapped_dim(dim, y.ndim)
    if not y.ndim:
        raise RuntimeError("trapezoid: y must have at least one dimension")
    if y.shape[at] == 0:
        return y.new_zeros((*y.shape[:at], *y.shape[at + 1 :])).to(_real_type(y))
    areas = _areas(y, x, dx, dim)
    return areas.sum(at - y.ndim)


def _real_type(y: Tensor) -> Any:
    return y.dtype if y.dtype.category >= dtypes.FLOATING else dtypes.get_default_dtype()


@public()
def trapz(y: Tensor, x: Any = None, *, dx: Any = None, dim: int = -1) -> Tensor:
    """Another name for :func:`trapezoid`.

    Example:
        >>> import flambeau as torch
        >>> torch.trapz(torch.tensor([1.0, 2.0, 3.0]), dx=2.0)
        tensor(8.)
    """
    return trapezoid(y, x, dx=dx, dim=dim)


@public()
def cumulative_trapezoid(y: Tensor, x: Any = None, *, dx: Any = None, dim: int = -1) -> Tensor:
    """The running integral of ``y`` along ``dim`` by the trapezoidal rule.

    Example:
        >>> import flambeau as torch
        >>> torch.cumulative_trapezoid(torch.tensor([1.0, 2.0, 3.0]))
        tensor([1.5000, 4.0000])
    """
    x, dx = _given(y, x, dx)
    return _areas(y, x, dx, dim).cumsum(wrapped_dim(dim, y.ndim) - y.ndim)


# ---------------------------------------------------------------- covariance


@public(method=True)
def cov(
    input: Tensor, *, correction: int = 1, fweights: Tensor | None = None, aweights: Tensor | None = None
) -> Tensor:
    """The covariance matrix of variables in rows, observations in columns.

    Args:
        correction: what to take off the number of observations.
        fweights: how often each observation is to be counted.
        aweights: how much each observation weighs.

    Raises:
        RuntimeError: for more than two dimensions, bools, or weights that are negative, of the wrong type or number.

    Example:
        >>> import flambeau as torch
        >>> x = torch.tensor([[0.0, 1.0, 2.0], [2.0, 1.0, 0.0]])
        >>> torch.cov(x)
        tensor([[ 1., -1.],
                [-1.,  1.]])
        >>> torch.cov(x[0], correction=0)
        tensor(0.6667)
    """
    if input.ndim > 2:
        raise RuntimeError(
            f"cov(): expected input to have two or fewer dimensions but got an input with {input.ndim} dimensions"
        )
    if input.dtype is dtypes.bool_:
        raise RuntimeError("cov(): bool dtype is not supported for input")
    rows = input if input.ndim == 2 else input.reshape(1, -1)
    n = rows.shape[1]
    weights = None
    for name, given, least in (("fweights", fweights, dtypes.INTEGER), ("aweights", aweights, dtypes.FLOATING)):
        if given is None:
            continue
        if given.ndim > 1:
            raise RuntimeError(
                f"cov(): expected {name} to have one or fewer dimensions but got {name} with {given.ndim} dimensions"
            )
        if given.dtype.category != least:
            kind = "integral" if name == "fweights" else "floating point"
            raise RuntimeError(
                f"cov(): expected {name} to have {kind} dtype but got {name} with {given.dtype.title} dtype"
            )
        if given.numel() != n:
            raise RuntimeError(
                f"cov(): expected {name} to have the same numel as there are observations in the input but got "
                f"{given.numel()} "
                f"!= {n}"
            )
        if n and (given._array() < 0).any():
            raise RuntimeError(f"cov(): {name} cannot be negative")
        weights = given if weights is None else weights * given
    if weights is None:
        total: Any = n
        mean = (
            rows.to(_real_type(rows)).sum(1, keepdim=True) / n
            if n
            else rows.to(_real_type(rows)).sum(1, keepdim=True) * float("nan")
        )
    else:
        total = weights.sum()
        mean = (rows * weights).sum(1, keepdim=True) / total
    if weights is None or aweights is None or correction == 0:
        free = total - correction
    else:
        free = total - correction * (weights * aweights).sum() / total
    free = max(free, 0) if not isinstance(free, Tensor) else free.clamp(min=0)
    away = rows - mean
    weighed = away if weights is None else away * weights
    other = weighed.mT.conj() if weighed.dtype.is_complex else weighed.mT
    product = away @ other.to(away.dtype)
    found = product / (product.new_full((), float(free)) if not isinstance(free, Tensor) else free)
    return found.squeeze() if input.ndim < 2 or rows.shape[0] == 1 else found


@public(method=True)
def corrcoef(input: Tensor) -> Tensor:
    """Pearson's correlation coefficients of variables in rows, observations in columns.

    Raises:
        RuntimeError: for more than two dimensions.

    Example:
        >>> import flambeau as torch
        >>> torch.corrcoef(torch.tensor([[0.0, 1.0, 2.0], [4.0, 2.0, 0.0]]))
        tensor([[ 1., -1.],
                [-1.,  1.]])
    """
    if input.ndim > 2:
        raise RuntimeError(
            f"corrcoef(): expected input to have two or fewer dimensions but got an input with {input.ndim} dimensions"
        )
    found = cov(input)
    if not found.ndim:
        return found / found
    spread = found.diagonal()
    spread = (spread.real if spread.dtype.is_complex else spread).sqrt()
    found = found / spread.unsqueeze(1) / spread.unsqueeze(0)
    if found.dtype.is_complex:
        from flambeau.ops.operator import NAMESPACES

        return NAMESPACES["torch"]["complex"](found.real.clamp(-1, 1), found.imag.clamp(-1, 1))
    return found.clamp(-1, 1)


@public(into="", method=True)
def sum_to_size(input: Tensor, *size: Any) -> Tensor:
    """Summed over the dimensions along which the given shape has one, or none.

    Raises:
        RuntimeError: if the shape could not be expanded to that of the tensor.

    Example:
        >>> import flambeau as torch
        >>> torch.ones(2, 3).sum_to_size(1, 3)
        tensor([[2., 2., 2.]])
    """
    from flambeau.ops.views import sizes_of

    shape = sizes_of(size)
    have = input._node.aval.shape
    extra = len(have) - len(shape)
    if extra < 0 or any(n not in (1, m) for n, m in zip(shape, have[extra:], strict=True)):
        raise RuntimeError(f"size {{{list(shape)}}} is not expandable to size {{{list(have)}}}.")
    if not shape:
        return input.sum()
    dims = [i for i in range(len(have)) if i < extra or (shape[i - extra] == 1 and have[i] != 1)]
    if dims:
        input = input.sum(dims, keepdim=True)
    return input.reshape(shape) if extra else input


@public()
def unravel_index(indices: Tensor, shape: Any) -> tuple[Tensor, ...]:
    """The coordinates, in a tensor of ``shape``, of places in the flattened tensor.

    Raises:
        ValueError: if the indices are no integers, or a size is negative.

    Example:
        >>> import flambeau as torch
        >>> torch.unravel_index(torch.tensor([0, 5]), (2, 3))
        (tensor([0, 1]), tensor([0, 2]))
    """
    if indices.dtype.category != dtypes.INTEGER:
        raise ValueError(f"expected 'indices' to be integer dtype, but got {indices.dtype}")
    sizes = (shape,) if isinstance(shape, int) else tuple(int(n) for n in shape)
    if any(n < 0 for n in sizes):
        raise ValueError(f"'shape' cannot have negative values, but got {sizes}")
    found = []
    for n in reversed(sizes):
        found.append(indices % n)
        indices = indices.div(n, rounding_mode="floor")
    return tuple(reversed(found))

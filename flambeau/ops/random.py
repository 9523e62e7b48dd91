"""Random tensors: drawn at once from the generator, so that a seed gives PyTorch's numbers.

The values become leaves; nothing random is recorded.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from flambeau import devices, dtypes
from flambeau.autograd.grad_mode import mode, no_grad
from flambeau.graph.node import Aval
from flambeau.graph.op import check_devices
from flambeau.ops.cast import checked_format
from flambeau.ops.create import empty, empty_like
from flambeau.ops.operator import operator, public
from flambeau.ops.pointwise import broadcast_shapes, with_example
from flambeau.ops.samples import T, case
from flambeau.ops.views import sizes_of
from flambeau.random import generator_for
from flambeau.tensor.out import write_out
from flambeau.tensor.tensor import Tensor, from_array, from_draw
from flambeau.tensor.views import check_writable, is_contiguous, layout, write

# ---------------------------------------------------------------- what the family shares


def _sampled_rule(drawn: Aval, source: Aval, *, name: str) -> Aval:
    return drawn.of()


def _sampled_kernel(xp: Any, drawn: Any, source: Any, *, name: str) -> Any:
    return drawn


def _sampled_derivative(grad: Tensor, source_shape: tuple[int, ...]) -> Any:
    # Steps of a distribution function: flat wherever they have a slope.
    return None, grad.new_zeros(source_shape)


SAMPLED = operator(
    "sampled",
    _sampled_rule,
    _sampled_kernel,
    _sampled_derivative,
    moves=True,
    grad_name=lambda call: f"{call.attrs[0]}",
    samples=lambda: [
        case("bernoulli", T(3, 4, low=0.0, high=1.0), compare=False, gradgrad=False),
        case("poisson", T(3, 4, low=0.0, high=9.0), compare=False, gradgrad=False),
    ],
)


def _drawn_from(source: Tensor, array: np.ndarray, dtype: dtypes.dtype, name: str) -> Tensor:
    """A sample as a tensor, through which the source gets a gradient of zero."""
    drawn = from_array(array, dtype, source.device)
    return SAMPLED(drawn, source, name) if source._rg and mode.grad else drawn


def _need_floating(dtype: dtypes.dtype, kernel: str, complex_too: bool = False) -> None:
    if (dtype.is_floating_point and dtype.itemsize > 1) or (complex_too and dtype.is_complex):
        return
    raise NotImplementedError(f"\"{kernel}\" not implemented for '{dtype.title}'")


def _checked_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    for n in shape:
        if n < 0:
            raise RuntimeError(f"Trying to create tensor with negative dimension {n}: {list(shape)}")
    return shape


def _made(
    draw: Any,
    shape: tuple[int, ...],
    dtype: dtypes.dtype,
    device: Any,
    generator: Any,
    requires_grad: bool,
) -> Tensor:
    """A new tensor of ``draw(samplers, shape, numpy dtype)``."""
    _checked_shape(shape)
    where = devices.resolve(device)
    bits = generator_for(where, generator)
    if where.type == "meta":
        result = empty(shape, dtype=dtype, device=where)
    else:
        result = from_draw(lambda: draw(bits.bits, shape, dtype.numpy), where)
    return result.requires_grad_() if requires_grad else result


def _made_like(
    input: Tensor,
    wanted: Any,
    draw: Any,
    dtype: dtypes.dtype,
    device: Any,
    generator: Any,
    requires_grad: bool,
) -> Tensor:
    """A new tensor as :func:`_made`, of another's shape and, unless told otherwise, its order in memory."""
    result = empty_like(input, dtype=dtype, device=device, memory_format=wanted)
    if is_contiguous(result):
        made = _made(draw, input._node.aval.shape, dtype, device, generator, requires_grad)
        made._layout = result._layout
        return made
    result = _refill(result, _pairwise(0.0, 1.0) if draw is _normal else draw, generator, "")
    return result.requires_grad_() if requires_grad else result


def _pairwise(mean: float, std: float) -> Any:
    """Draws normal numbers pair by pair at any size, as PyTorch does where memory is not in order."""
    from flambeau.random_transforms import cast

    def draw(bits: Any, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        if dtype.kind == "c":
            return bits.normal(shape, dtype, mean, std)
        return cast(bits._normal_pairs(math.prod(shape), mean, std), dtype).reshape(shape)

    return draw


def _memory_order(tensor: Tensor) -> tuple[int, ...] | None:
    """The dimensions from the outermost in memory to the innermost; None if that is their order already."""
    if tensor._base is None and tensor._layout is None:
        return None
    strides = layout(tensor)[0]
    order = tuple(sorted(range(len(strides)), key=lambda d: -strides[d]))
    return None if order == tuple(range(len(strides))) else order


def _refill(tensor: Tensor, draw: Any, generator: Any, name: str) -> Tensor:
    """Writes ``draw(samplers, shape, numpy dtype)`` into a tensor, in the order of its memory."""
    check_writable(tensor)
    aval = tensor._node.aval
    bits = generator_for(aval.device, generator)
    if aval.device.type == "meta":
        return tensor
    order = _memory_order(tensor)

    def drawn() -> np.ndarray:
        if order is None:
            return draw(bits.bits, aval.shape, aval.dtype.numpy)
        array = draw(bits.bits, tuple(aval.shape[d] for d in order), aval.dtype.numpy)
        return np.ascontiguousarray(np.transpose(array, np.argsort(order)))

    new = from_draw(drawn, aval.device)
    if tensor._rg and mode.grad:
        new = SAMPLED(new, tensor, name)
    return write(tensor, new)


# ---------------------------------------------------------------- new tensors


def _uniform(bits: Any, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    return bits.uniform(shape, dtype)


def _normal(bits: Any, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    return bits.normal(shape, dtype)


@public(out="made")
def rand(
    *size: Any,
    generator: Any = None,
    names: Any = None,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
    **named: Any,
) -> Tensor:
    """Uniform numbers in [0, 1) in the given shape.

    Example:
        >>> import flambeau as torch
        >>> _ = torch.manual_seed(0)
        >>> torch.rand(2)
        tensor([0.4963, 0.7682])
    """
    dtype = dtype or dtypes.get_default_dtype()
    _need_floating(dtype, "check_uniform_bounds", complex_too=True)
    return _made(_uniform, _size("rand", size, named), dtype, device, generator, requires_grad)


@public(out="made")
def randn(
    *size: Any,
    generator: Any = None,
    names: Any = None,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
    **named: Any,
) -> Tensor:
    """Normal numbers of mean 0 and variance 1 in the given shape.

    Example:
        >>> import flambeau as torch
        >>> _ = torch.manual_seed(0)
        >>> torch.randn(2)
        tensor([ 1.5410, -0.2934])
    """
    dtype = dtype or dtypes.get_default_dtype()
    _need_floating(dtype, "normal_kernel_cpu", complex_too=True)
    return _made(_normal, _size("randn", size, named), dtype, device, generator, requires_grad)


def _size(name: str, size: tuple[Any, ...], named: dict[str, Any]) -> tuple[int, ...]:
    given = named.pop("size", None)
    if named:
        raise TypeError(f"{name}() got an unexpected keyword argument '{next(iter(named))}'")
    if given is None and not size:
        raise TypeError(f'{name}() missing 1 required positional arguments: "size"')
    return sizes_of(size if given is None else (given,), name)


def _like(name: str, draw: Any, kernel: str) -> Any:
    def like(
        input: Tensor,
        *,
        generator: Any = None,
        dtype: dtypes.dtype | None = None,
        layout: Any = None,
        device: Any = None,
        pin_memory: bool = False,
        requires_grad: bool = False,
        memory_format: Any = None,
    ) -> Tensor:
        aval = input._node.aval
        kind = dtype or aval.dtype
        _need_floating(kind, kernel, complex_too=True)
        wanted = checked_format(f"{name}_like", memory_format)
        return _made_like(input, wanted, draw, kind, device or aval.device, generator, requires_grad)

    like.__name__ = f"{name}_like"
    like.__doc__ = with_example(
        f"As :func:`{name}`, with the shape, type and device of ``input``.",
        f"torch.{name}_like(torch.zeros(2, 3, dtype=torch.float64)).dtype",
        "torch.float64",
    )
    return public(like.__name__)(like)


rand_like = _like("rand", _uniform, "check_uniform_bounds")
randn_like = _like("randn", _normal, "normal_kernel_cpu")


def _integers(low: int, high: int) -> Any:
    return lambda bits, shape, dtype: bits.randint(shape, low, high, dtype)


def _bounds(args: tuple[Any, ...], named: dict[str, Any], names: tuple[str, ...]) -> list[Any]:
    """Arguments (low=0, high, further ...), by position or by name, low being left out or not."""
    names = names if len(args) + len(named) >= len(names) or "low" in named else names[1:]
    found = dict(zip(names, args, strict=False))
    if len(args) > len(names):
        raise TypeError(f"expected at most {len(names)} arguments, but got {len(args)}")
    for name, value in named.items():
        if name not in names or name in found:
            raise TypeError(f"got an unexpected keyword argument '{name}'")
        found[name] = value
    for name in names:
        if name not in found:
            raise TypeError(f"missing a required argument: '{name}'")
    found.setdefault("low", 0)
    return [found["low"], found["high"], *(found[name] for name in names if name not in ("low", "high"))]


@public(out="made")
def randint(
    *args: Any,
    generator: Any = None,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
    **named: Any,
) -> Tensor:
    """Whole numbers from low to high - 1: ``randint(low=0, high, size)``.

    Raises:
        RuntimeError: if ``low`` is not below ``high``.

    Example:
        >>> import flambeau as torch
        >>> torch.randint(3, 4, (2,))
        tensor([3, 3])
    """
    low, high, size = _bounds(args, named, ("low", "high", "size"))
    for name, bound in (("low", low), ("high", high)):
        if not hasattr(bound, "__int__"):
            raise TypeError(f"randint(): argument '{name}' must be int, not {type(bound).__name__}")
    if not isinstance(size, list | tuple):
        raise TypeError(f"randint(): argument 'size' must be tuple of ints, not {type(size).__name__}")
    dtype = dtype or dtypes.int64
    return _made(_integers(int(low), int(high)), sizes_of((size,), "randint"), dtype, device, generator, requires_grad)


@public()
def randint_like(
    input: Tensor,
    *args: Any,
    generator: Any = None,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
    memory_format: Any = None,
    **named: Any,
) -> Tensor:
    """As :func:`randint`, with the shape, type and device of ``input``.

    Example:
        >>> import flambeau as torch
        >>> torch.randint_like(torch.zeros(2, 3), 5, 6)
        tensor([[5., 5., 5.],
                [5., 5., 5.]])
    """
    low, high = _bounds(args, named, ("low", "high"))
    aval = input._node.aval
    draw = _integers(int(low), int(high))
    wanted = checked_format("randint_like", memory_format)
    return _made_like(input, wanted, draw, dtype or aval.dtype, device or aval.device, generator, requires_grad)


@public(out="made")
def randperm(
    n: int,
    *,
    generator: Any = None,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
) -> Tensor:
    """The numbers from 0 to n - 1 in random order.

    Shape: (n).

    Raises:
        RuntimeError: if ``n`` is negative, or the type cannot hold ``n - 1``.

    Example:
        >>> import flambeau as torch
        >>> torch.randperm(5).sort().values
        tensor([0, 1, 2, 3, 4])
    """
    if not hasattr(n, "__int__"):
        raise TypeError(f"randperm(): argument 'n' (position 1) must be int, not {type(n).__name__}")
    n = int(n)
    dtype = dtype or dtypes.int64
    if n < 0:
        raise RuntimeError(f"Trying to create tensor with negative dimension {n}: [{n}]")
    if dtype.category < dtypes.FLOATING and n > 0 and n - 1 > dtypes.iinfo(dtype).max:
        raise RuntimeError(f"value cannot be converted to type {dtype.name}_t without overflow")
    return _made(lambda bits, shape, kind: bits.randperm(n, kind), (n,), dtype, device, generator, requires_grad)


# ---------------------------------------------------------------- samples of given distributions


@public(out=True)
def normal(
    mean: Any = 0.0,
    std: Any = 1.0,
    size: Any = None,
    *,
    generator: Any = None,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
) -> Tensor:
    """Normal numbers of given means and standard deviations, tensors or numbers.

    Args:
        mean, std: tensors that broadcast, or numbers; if both are numbers, ``size`` is needed.
        size: the shape, where both are numbers.

    Raises:
        RuntimeError: if a standard deviation is negative.

    Example:
        >>> import flambeau as torch
        >>> torch.normal(torch.tensor([1., 2.]), torch.tensor([0., 0.]))
        tensor([1., 2.])
        >>> torch.normal(0., 1., size=(2, 3)).shape
        torch.Size([2, 3])
    """
    if size is not None:
        dtype = dtype or dtypes.get_default_dtype()
        _need_floating(dtype, "normal_kernel_cpu", complex_too=True)

        def draw(bits: Any, shape: tuple[int, ...], kind: np.dtype) -> np.ndarray:
            return bits.normal(shape, kind, float(mean), float(std))

        return _made(draw, sizes_of((size,), "normal"), dtype, device, generator, requires_grad)
    if not isinstance(mean, Tensor) and not isinstance(std, Tensor):
        raise TypeError(
            f"normal() received an invalid combination of arguments - got ({type(mean).__name__}, "
            f"{type(std).__name__}); numbers need size="
        )
    like = mean if isinstance(mean, Tensor) else std
    shape = like._node.aval.shape
    if isinstance(std, Tensor):
        if std.dtype.is_complex:
            raise RuntimeError("normal expects standard deviation to be non-complex")
        if isinstance(mean, Tensor):
            shape = broadcast_shapes(shape, std._node.aval.shape)
        if std._node.aval.size and not bool((std._array() >= 0).all()):
            raise RuntimeError("normal expects all elements of std >= 0.0")
    elif std < 0:
        raise RuntimeError(f"normal expects std >= 0.0, but found std {std:g}")
    _need_floating(like.dtype, "normal_kernel_cpu", complex_too=True)
    scale = 1.0 if isinstance(std, Tensor) else float(std)
    bits = generator_for(like.device, generator).bits
    with no_grad():
        values = from_array(bits.normal(shape, like.dtype.numpy, 0.0, scale), like.dtype, like.device)
        if isinstance(std, Tensor):
            values = values * std
        values = (values + mean).to(like.dtype)
    if not mode.grad:
        return values
    name = "NormalBackward3" if isinstance(mean, Tensor) and isinstance(std, Tensor) else None
    for source, own in ((mean, "NormalBackward1"), (std, "NormalBackward2")):
        if isinstance(source, Tensor) and source._rg:
            values = SAMPLED(values, source, name or own)
    return values


@public(method=True, out=True)
def bernoulli(input: Tensor, p: float | None = None, *, generator: Any = None) -> Tensor:
    """1 with the probability that each element gives, else 0; with ``p``, that probability for all.

    Shape: that of ``input``.

    Raises:
        RuntimeError: if a probability is outside [0, 1].

    Example:
        >>> import flambeau as torch
        >>> torch.bernoulli(torch.tensor([0., 1., 1.]))
        tensor([0., 1., 1.])
    """
    bits = generator_for(input.device, generator).bits
    kind = input.dtype.numpy
    if p is None:
        _need_floating(input.dtype, "bernoulli_tensor_cpu_p_")
        array = bits.bernoulli(input._array(), dtype=kind)
    else:
        array = bits.bernoulli(float(p), input._node.aval.shape, kind)
    return _drawn_from(input, array, input.dtype, "BernoulliBackward0")


@public(method=True)
def multinomial(
    input: Tensor, num_samples: int, replacement: bool = False, *, generator: Any = None, out: Tensor | None = None
) -> Tensor:
    """Indices of categories, drawn by the weights in each row.

    Shape: input (C) or (N, C), result (num_samples) or (N, num_samples), int64.

    Args:
        input: weights, not negative; they need not add up to one.
        num_samples: how many are drawn for each row.
        replacement: whether a category may be drawn twice.
        out: an int64 tensor that receives the result.

    Raises:
        RuntimeError: if a weight is negative, infinite or NaN, or there are not enough categories.

    Example:
        >>> import flambeau as torch
        >>> torch.multinomial(torch.tensor([0., 0., 1.]), 4, replacement=True)
        tensor([2, 2, 2, 2])
        >>> torch.multinomial(torch.tensor([1., 0., 1.]), 2).sort().values
        tensor([0, 2])
    """
    if not input.dtype.is_floating_point:
        raise RuntimeError(f"multinomial only supports floating-point dtypes for input, got: {input.dtype.title}")
    if out is not None and out.dtype is not dtypes.int64:
        raise RuntimeError(f"multinomial expects Long tensor out, got: {out.dtype.title}")
    bits = generator_for(input.device, generator).bits
    picks = bits.multinomial(input._array(), num_samples, replacement)
    result = from_array(np.ascontiguousarray(picks), dtypes.int64, input.device)
    return result if out is None else write_out("multinomial", result, out)


@public()
def poisson(input: Tensor, generator: Any = None) -> Tensor:
    """Poisson counts, each of the rate that an element gives.

    Shape: that of ``input``.

    Raises:
        RuntimeError: if a rate is negative.

    Example:
        >>> import flambeau as torch
        >>> _ = torch.manual_seed(0)
        >>> rates = torch.full((10000,), 4.)
        >>> (torch.poisson(rates).mean() - 4).abs() < 0.1
        tensor(True)
    """
    _need_floating(input.dtype, "poisson_cpu")
    bits = generator_for(input.device, generator).bits
    return _drawn_from(input, bits.poisson(input._array()), input.dtype, "PoissonBackward0")


@public()
def binomial(count: Tensor, prob: Tensor, generator: Any = None) -> Tensor:
    """Successes among ``count`` trials of probability ``prob``, element by element.

    Shape: that of ``count`` and ``prob``, broadcast.

    Raises:
        RuntimeError: if the types differ.
        NotImplementedError: unless they are floating.

    Example:
        >>> import flambeau as torch
        >>> torch.binomial(torch.tensor([10., 10.]), torch.tensor([0., 1.]))
        tensor([ 0., 10.])
    """
    if count.dtype not in (dtypes.float32, dtypes.float64):
        raise NotImplementedError(f"\"binomial_cpu\" not implemented for '{count.dtype.title}'")
    if count.dtype is not prob.dtype:
        raise RuntimeError(f"Found dtype {prob.dtype.title} but expected {count.dtype.title}")
    check_devices("binomial", (count._node.aval, prob._node.aval))
    bits = generator_for(count.device, generator).bits
    values = from_array(bits.binomial(count._array(), prob._array()), count.dtype, count.device)
    if mode.grad:
        for source in (count, prob):
            if source._rg:
                values = SAMPLED(values, source, "BinomialBackward0")
    return values


# ---------------------------------------------------------------- filling a tensor


@public(into="", method=True)
def uniform_(input: Tensor, a: Any = None, b: Any = None, *, generator: Any = None, **named: Any) -> Tensor:
    """Fills the tensor with uniform numbers in [from, to): ``uniform_(from=0, to=1)``.

    Example:
        >>> import flambeau as torch
        >>> x = torch.empty(1000).uniform_(2, 3)
        >>> x.min() >= 2, x.max() < 3
        (tensor(True), tensor(True))
    """
    low, high = _ends(a, b, named, 0.0, 1.0)
    _need_floating(input.dtype, "check_uniform_bounds", complex_too=True)
    return _refill(
        input,
        lambda bits, shape, dtype: bits.uniform(shape, dtype, float(low), float(high)),
        generator,
        "UniformBackward0",
    )


def _ends(a: Any, b: Any, named: dict[str, Any], low: Any, high: Any) -> tuple[Any, Any]:
    """The arguments ``from`` and ``to``, the first of which is no Python name."""
    low = named.pop("from", low if a is None else a)
    high = named.pop("to", high if b is None else b)
    if named:
        raise TypeError(f"got an unexpected keyword argument '{next(iter(named))}'")
    return low, high


@public(into="", method=True)
def normal_(input: Tensor, mean: float = 0, std: float = 1, *, generator: Any = None) -> Tensor:
    """Fills the tensor with normal numbers.

    Example:
        >>> import flambeau as torch
        >>> _ = torch.manual_seed(0)
        >>> x = torch.empty(10000).normal_(mean=5, std=2)
        >>> (x.mean() - 5).abs() < 0.1, (x.std() - 2).abs() < 0.1
        (tensor(True), tensor(True))
    """
    _need_floating(input.dtype, "normal_kernel_cpu", complex_too=True)

    def draw(bits: Any, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        return bits.normal(shape, dtype, float(mean), float(std))

    draw = draw if is_contiguous(input) else _pairwise(float(mean), float(std))
    return _refill(input, draw, generator, "NormalBackward0")


@public(into="", method=True)
def bernoulli_(input: Tensor, p: Any = 0.5, *, generator: Any = None) -> Tensor:
    """Fills the tensor with ones of probability ``p``, a number or a tensor that broadcasts, and zeros.

    Raises:
        NotImplementedError: for complex numbers.

    Example:
        >>> import flambeau as torch
        >>> torch.empty(3).bernoulli_(1)
        tensor([1., 1., 1.])
    """
    if isinstance(p, Tensor):
        _need_floating(p.dtype, "bernoulli_tensor_cpu_p_")
        probabilities = p._array()

        def draw(bits: Any, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
            return bits.bernoulli(probabilities, shape, dtype)

        return _refill(input, draw, generator, "BernoulliBackward1")
    if input.dtype.is_complex:
        raise NotImplementedError(f"\"bernoulli_scalar_cpu_\" not implemented for '{input.dtype.title}'")
    return _refill(
        input, lambda bits, shape, dtype: bits.bernoulli(float(p), shape, dtype), generator, "BernoulliBackward2"
    )


@public(into="", method=True)
def exponential_(input: Tensor, lambd: float = 1, *, generator: Any = None) -> Tensor:
    """Fills the tensor with exponential numbers of rate ``lambd``.

    Raises:
        RuntimeError: unless the type is floating and ``lambd`` positive.

    Example:
        >>> import flambeau as torch
        >>> _ = torch.manual_seed(0)
        >>> (torch.empty(10000).exponential_(lambd=2).mean() - 0.5).abs() < 0.05
        tensor(True)
    """
    if not input.dtype.is_floating_point:
        raise RuntimeError(
            "Exponential distribution is a continuous probability distribution. dtype must be a floating point but you "
            f"specified {input.dtype.title}"
        )
    return _refill(
        input,
        lambda bits, shape, dtype: bits.exponential(shape, dtype, float(lambd)),
        generator,
        "ExponentialBackward0",
    )


@public(into="", method=True)
def geometric_(input: Tensor, p: float, *, generator: Any = None) -> Tensor:
    """Fills the tensor with numbers of trials up to the first success, each of probability ``p``.

    Example:
        >>> import flambeau as torch
        >>> torch.empty(3).geometric_(0.5) >= 1
        tensor([True, True, True])
    """
    return _refill(
        input, lambda bits, shape, dtype: bits.geometric(shape, float(p), dtype), generator, "GeometricBackward0"
    )


@public(into="", method=True)
def cauchy_(input: Tensor, median: float = 0, sigma: float = 1, *, generator: Any = None) -> Tensor:
    """Fills the tensor with Cauchy numbers.

    Raises:
        RuntimeError: unless the type is floating.

    Example:
        >>> import flambeau as torch
        >>> _ = torch.manual_seed(0)
        >>> (torch.empty(10000).cauchy_(median=3).median() - 3).abs() < 0.1
        tensor(True)
    """
    if not input.dtype.is_floating_point:
        raise RuntimeError(
            "Cauchy distribution is a continuous probability distribution. dtype must be a floating point but you "
            f"specified {_C_NAMES.get(input.dtype.name, input.dtype.name)}"
        )
    return _refill(
        input,
        lambda bits, shape, dtype: bits.cauchy(shape, dtype, float(median), float(sigma)),
        generator,
        "CauchyBackward0",
    )


_C_NAMES = {"int64": "long int", "int32": "int", "int16": "short int", "int8": "signed char", "uint8": "unsigned char"}


@public(into="", method=True)
def log_normal_(input: Tensor, mean: float = 1, std: float = 2, *, generator: Any = None) -> Tensor:
    """Fills the tensor with exponentials of normal numbers.

    Example:
        >>> import flambeau as torch
        >>> _ = torch.manual_seed(0)
        >>> (torch.empty(10000).log_normal_(mean=1, std=0.5).log().mean() - 1).abs() < 0.1
        tensor(True)
    """
    _need_floating(input.dtype, "log_normal_cpu")
    return _refill(
        input,
        lambda bits, shape, dtype: bits.log_normal(shape, dtype, float(mean), float(std)),
        generator,
        "LogNormalBackward0",
    )


@public(into="", method=True)
def random_(input: Tensor, a: Any = None, b: Any = None, *, generator: Any = None, **named: Any) -> Tensor:
    """Fills the tensor with whole numbers from ``from`` to ``to - 1``: ``random_(from=0, to)``.

    Without arguments, with numbers of the whole range of its type from 0 on.

    Example:
        >>> import flambeau as torch
        >>> torch.empty(4, dtype=torch.int64).random_(3, 4)
        tensor([3, 3, 3, 3])
    """
    one_bound = a is not None and b is None and not named
    low, high = (0, a) if one_bound else _ends(a, b, named, None, None)

    def draw(bits: Any, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        if high is None:
            return bits.random(shape, dtype, None if low is None else int(low))
        return bits.randint(shape, int(low or 0), int(high), dtype)

    name = "RandomBackward1" if one_bound else "RandomBackward2" if high is None else "RandomBackward0"
    return _refill(input, draw, generator, name)

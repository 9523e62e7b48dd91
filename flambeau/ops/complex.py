"""Complex numbers: their parts, conjugates and angles."""

from __future__ import annotations

from typing import Any

from flambeau import dtypes
from flambeau.dtypes import FLOATING
from flambeau.graph.node import Aval
from flambeau.graph.op import check_devices
from flambeau.ops.compare import eq, where
from flambeau.ops.operator import METHODS, labelled, operator, public
from flambeau.ops.pointwise import broadcast_shapes, checked_tensor, common_device, no_slope
from flambeau.ops.samples import T, case
from flambeau.ops.views import view_operator
from flambeau.tensor.out import write_out
from flambeau.tensor.tensor import Tensor
from flambeau.tensor.views import layout, view_of
from flambeau.user_warnings import warn

Shape = tuple[int, ...]
Strides = tuple[Shape, Shape, int]


def C(*shape: int) -> T:
    """A complex example."""
    return T(*shape, dtype="complex64")


# ---------------------------------------------------------------- real and imaginary part


def _part_rule(x: Aval) -> Aval:
    return x.of(dtype=x.dtype.to_real())


def _part_restride(part: int) -> Any:
    def restride(shape: Shape, strides: Shape, offset: int) -> Strides:
        # Counted in real elements, two of which make a complex one.
        return shape, tuple([2 * n for n in strides]), 2 * offset + part

    return restride


REAL = view_operator(
    "real",
    _part_rule,
    lambda xp, x: xp.real(x),
    lambda grad, x_dtype: grad.to(x_dtype),
    grad_name="SelectBackward0",
    scatter=lambda parent, value: COMPLEX_OF(value, IMAG(parent)),
    restride=_part_restride(0),
    samples=lambda: [case("real", C(3, 4)), case("real", C())],
)

IMAG = view_operator(
    "imag",
    _part_rule,
    lambda xp, x: xp.imag(x),
    lambda grad, x_dtype: grad.to(x_dtype) * 1j,
    grad_name="SelectBackward0",
    scatter=lambda parent, value: COMPLEX_OF(REAL(parent), value),
    restride=_part_restride(1),
    samples=lambda: [case("imag", C(3, 4)), case("imag", C(0, 2))],
)


@public()
def real(input: Tensor) -> Tensor:
    """The real parts, a view; of a real tensor the tensor itself.

    Example:
        >>> import flambeau as torch
        >>> torch.real(torch.tensor([1 + 2j, 3j]))
        tensor([1., 0.])
    """
    checked_tensor("real", "input", 1, input)
    return view_of(REAL, input) if input.dtype.is_complex else input


@public()
def imag(input: Tensor) -> Tensor:
    """The imaginary parts, a view.

    Raises:
        RuntimeError: if the tensor is real.

    Example:
        >>> import flambeau as torch
        >>> torch.imag(torch.tensor([1 + 2j, 3j]))
        tensor([2., 3.])
    """
    checked_tensor("imag", "input", 1, input)
    if not input.dtype.is_complex:
        raise RuntimeError("imag is not implemented for tensors with non-complex dtypes.")
    return view_of(IMAG, input)


def _set_part(op: Any) -> Any:
    def assign(self: Tensor, value: Any) -> None:
        part = (real if op is REAL else imag)(self)
        part.copy_(value if isinstance(value, Tensor) else part.new_tensor(value))

    return assign


public("real", into="", method=True)(property(real, _set_part(REAL)))  # type: ignore[arg-type]
public("imag", into="", method=True)(property(imag, _set_part(IMAG)))  # type: ignore[arg-type]


# ---------------------------------------------------------------- complex from real


def _complex_rule(x: Aval, y: Aval) -> Aval:
    shape = broadcast_shapes(x.shape, y.shape)
    return Aval(shape, x.dtype.to_complex(), common_device(x, y))


def _complex_kernel(xp: Any, x: Any, y: Any) -> Any:
    if xp.__name__ != "numpy":
        from jax import lax

        return lax.complex(*xp.broadcast_arrays(x, y))
    # Not as x + 1j * y, in which an infinite part would make the other one nan.
    result = xp.empty(xp.broadcast_shapes(x.shape, y.shape), dtype="c16" if x.dtype.itemsize == 8 else "c8")
    result.real = x
    result.imag = y
    return result


COMPLEX_OF = operator(
    "complex",
    _complex_rule,
    _complex_kernel,
    lambda grad, needs: (REAL(grad) if needs[0] else None, IMAG(grad) if needs[1] else None),
    samples=lambda: [case("complex", T(3, 4), T(3, 4)), case("complex", T(3, 1), T(4))],
)


def _checked_parts(name: str, first: Tensor, second: Tensor, names: tuple[str, str]) -> None:
    for position, (given, called) in enumerate(zip((first, second), names, strict=True)):
        checked_tensor(name, called, position + 1, given)
    if first.dtype.category != FLOATING or second.dtype.category != FLOATING:
        raise RuntimeError(
            f"Expected both inputs to be Half, Float or Double tensors but got {first.dtype.title} and "
            f"{second.dtype.title}"
        )
    if first.dtype is not second.dtype:
        raise RuntimeError(
            f"Expected object of scalar type {first.dtype.title} but got scalar type {second.dtype.title} for second "
            "argument"
        )
    check_devices(name, (first._node.aval, second._node.aval))


@public()
def complex(real: Tensor, imag: Tensor, *, out: Tensor | None = None) -> Tensor:
    """``real + imag * 1j``, broadcast.

    Raises:
        RuntimeError: unless both have the same floating-point type.

    Example:
        >>> import flambeau as torch
        >>> torch.complex(torch.tensor([1.0, 2.0]), torch.tensor([3.0, 0.0]))
        tensor([1.+3.j, 2.+0.j])
    """
    _checked_parts("complex", real, imag, ("real", "imag"))
    result = COMPLEX_OF(real, imag)
    return result if out is None else _written("complex", result, out)


def _written(name: str, result: Tensor, out: Tensor) -> Tensor:
    if out.dtype is not result.dtype:
        raise RuntimeError(
            f"Expected object of scalar type {result.dtype.title} but got scalar type {out.dtype.title} for argument "
            "'out'"
        )
    return write_out(name, result, out)


@public()
def polar(abs: Tensor, angle: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The complex number of that distance from zero and that angle, broadcast.

    Raises:
        RuntimeError: unless both have the same floating-point type.

    Example:
        >>> import flambeau as torch
        >>> torch.polar(torch.tensor([1.0, 2.0]), torch.tensor([0.0, 1.0]))
        tensor([1.0000+0.0000j, 1.0806+1.6829j])
    """
    _checked_parts("polar", abs, angle, ("abs", "angle"))
    result = COMPLEX_OF(abs * angle.cos(), abs * angle.sin())
    return labelled(result, "PolarBackward0") if out is None else _written("polar", result, out)


# ---------------------------------------------------------------- pairs


def _pairs_rule(x: Aval) -> Aval:
    return x.of((*x.shape, 2), x.dtype.to_real())


VIEW_AS_REAL = view_operator(
    "view_as_real",
    _pairs_rule,
    lambda xp, x: xp.stack([xp.real(x), xp.imag(x)], axis=-1),
    lambda grad: VIEW_AS_COMPLEX(grad),
    scatter=lambda parent, value: VIEW_AS_COMPLEX(value),
    restride=lambda shape, strides, offset: ((*shape, 2), (*[2 * n for n in strides], 1), 2 * offset),
    samples=lambda: [case("view_as_real", C(3, 4)), case("view_as_real", C())],
)


def _from_pairs_rule(x: Aval) -> Aval:
    return x.of(x.shape[:-1], x.dtype.to_complex())


VIEW_AS_COMPLEX = view_operator(
    "view_as_complex",
    _from_pairs_rule,
    lambda xp, x: _complex_kernel(xp, x[..., 0], x[..., 1]),
    lambda grad: VIEW_AS_REAL(grad),
    scatter=lambda parent, value: VIEW_AS_REAL(value),
    restride=lambda shape, strides, offset: (shape[:-1], tuple([n // 2 for n in strides[:-1]]), offset // 2),
    samples=lambda: [case("view_as_complex", T(3, 4, 2)), case("view_as_complex", T(2))],
)


@public()
def view_as_real(input: Tensor) -> Tensor:
    """A complex tensor as pairs of real and imaginary part, in a new last dimension; a view.

    Raises:
        RuntimeError: for tensors that are not complex, and views of conjugates.

    Example:
        >>> import flambeau as torch
        >>> x = torch.tensor([1 + 2j, 3j])
        >>> torch.view_as_real(x)
        tensor([[1., 2.],
                [0., 3.]])
    """
    checked_tensor("view_as_real", "input", 1, input)
    if not input.dtype.is_complex:
        raise RuntimeError("view_as_real is only supported for complex tensors")
    if is_conj(input):
        raise RuntimeError(
            "view_as_real doesn't work on unresolved conjugated tensors.  To resolve the conjugate tensor so you can "
            "view it as real, use self.resolve_conj(); however, be warned that the resulting tensor will NOT alias the "
            "original."
        )
    return view_of(VIEW_AS_REAL, input)


@public()
def view_as_complex(input: Tensor) -> Tensor:
    """A real tensor whose last dimension holds pairs as a complex tensor; a view.

    Raises:
        RuntimeError: if the last dimension is not of size 2, or the layout does not let pairs be read.

    Example:
        >>> import flambeau as torch
        >>> torch.view_as_complex(torch.tensor([[1.0, 2.0], [0.0, 3.0]]))
        tensor([1.+2.j, 0.+3.j])
    """
    checked_tensor("view_as_complex", "input", 1, input)
    if input.dtype.category != FLOATING or input.dtype not in (dtypes.float16, dtypes.float32, dtypes.float64):
        raise RuntimeError(
            f"view_as_complex is only supported for half, float and double tensors, but got a tensor of scalar type: "
            f"{input.dtype.title}"
        )
    if input.dtype is dtypes.float16:
        raise NotImplementedError("view_as_complex(): flambeau has no complex32; convert to float32 before")
    if not input.ndim:
        raise RuntimeError("Input tensor must have one or more dimensions")
    if input.shape[-1] != 2:
        raise RuntimeError("Tensor must have a last dimension of size 2")
    strides, offset = layout(input)
    if strides[-1] != 1:
        raise RuntimeError("Tensor must have a last dimension with stride 1")
    if any(n % 2 for n in strides[:-1]):
        raise RuntimeError("Tensor must have a stride divisible by 2 for all but last dimension")
    if offset % 2:
        raise RuntimeError("Tensor must have a storage_offset divisible by 2")
    return view_of(VIEW_AS_COMPLEX, input)


# ---------------------------------------------------------------- conjugate


CONJ = view_operator(
    "conj",
    lambda x: x.of(),
    lambda xp, x: xp.conj(x),
    lambda grad: CONJ(grad) if grad.dtype.is_complex else grad,
    scatter=lambda parent, value: CONJ(value),
    restride=lambda shape, strides, offset: (shape, strides, offset),
    samples=lambda: [case("conj", C(3, 4)), case("conj", C())],
)


@public(method=True)
def conj(input: Tensor) -> Tensor:
    """The conjugate: a view of a complex tensor, and of a real one the tensor itself.

    Example:
        >>> import flambeau as torch
        >>> x = torch.tensor([1 + 2j])
        >>> torch.conj(x)
        tensor([1.-2.j])
        >>> torch.conj(x).is_conj()
        True
    """
    checked_tensor("conj", "input", 1, input)
    return view_of(CONJ, input) if input.dtype.is_complex else input


@public(method=True, inplace=True, out="exact")
def conj_physical(input: Tensor) -> Tensor:
    """The conjugate in memory of its own; of a real tensor the tensor itself.

    Example:
        >>> import flambeau as torch
        >>> torch.conj_physical(torch.tensor([1 + 2j]))
        tensor([1.-2.j])
    """
    checked_tensor("conj_physical", "input", 1, input)
    return CONJ(input) if input.dtype.is_complex else input


@public(method=True)
def resolve_conj(input: Tensor) -> Tensor:
    """The tensor without a pending conjugation: itself, or a copy.

    Example:
        >>> import flambeau as torch
        >>> y = torch.tensor([1 + 2j]).conj().resolve_conj()
        >>> y
        tensor([1.-2.j])
        >>> y.is_conj()
        False
    """
    return input.clone() if is_conj(input) else input


@public(method=True)
def resolve_neg(input: Tensor) -> Tensor:
    """The tensor without a pending negation: itself, or a copy.

    Example:
        >>> import flambeau as torch
        >>> torch.resolve_neg(torch.tensor([1 + 2j]).conj().imag)
        tensor([-2.])
    """
    return input


@public(method=True)
def is_conj(input: Tensor) -> bool:
    """Whether it is a conjugate view.

    Example:
        >>> import flambeau as torch
        >>> torch.is_conj(torch.tensor([1j]).conj())
        True
    """
    if not input.dtype.is_complex:
        return False
    return sum(op is CONJ for op, _ in input._chain) % 2 == 1


@public(method=True)
def is_neg(input: Tensor) -> bool:
    """Whether it is a negated view; never the case here, where imaginary parts of conjugates are computed.

    Example:
        >>> import flambeau as torch
        >>> torch.is_neg(torch.tensor([-1.0]))
        False
    """
    return False


@public(method=True)
def is_complex(input: Tensor) -> bool:
    """Whether its type is a complex one.

    Example:
        >>> import flambeau as torch
        >>> torch.is_complex(torch.tensor([1j]))
        True
    """
    return input.dtype.is_complex


# ---------------------------------------------------------------- transposes of matrices


def _turned(input: Tensor, name: str) -> Tensor:
    if input.ndim == 1:
        raise RuntimeError(f"tensor.{name} is only supported on matrices or batches of matrices. Got 1-D tensor.")
    if input.ndim:
        input = input.transpose(-2, -1)
    return input if name == "mT" else conj(input)


def _warn_of_scalar(input: Tensor, name: str, instead: str) -> None:
    if not input.ndim:
        warn(f"{name} is deprecated on 0-D tensors. {instead}")


@public(method=True)
def adjoint(input: Tensor) -> Tensor:
    """The last two dimensions exchanged, and conjugated.

    Example:
        >>> import flambeau as torch
        >>> torch.adjoint(torch.tensor([[1 + 1j, 2j]]))
        tensor([[1.-1.j],
                [0.-2.j]])
    """
    _warn_of_scalar(input, "adjoint()", "Consider using x.conj().")
    return _turned(input, "adjoint()")


def _T(self: Tensor) -> Tensor:
    """The dimensions in reverse order: the transpose of a matrix."""
    _warn_of_scalar(self, "Tensor.T", "This function is the identity in these cases.")
    if self.ndim not in (0, 2):
        warn(
            "The use of `x.T` on tensors of dimension other than 2 to reverse their shape is deprecated and it will "
            "throw an error in a future release. Consider `x.mT` to transpose batches of matrices or "
            "`x.permute(*torch.arange(x.ndim - 1, -1, -1))` to reverse the dimensions of a tensor.",
        )
    return self.permute(tuple(reversed(range(self.ndim))))


def _mT(self: Tensor) -> Tensor:
    """The transposes of a batch of matrices."""
    if not self.dtype.is_complex:
        _warn_of_scalar(self, "Tensor.mT", "This function is the identity in these cases.")
    return _turned(self, "mT")


def _H(self: Tensor) -> Tensor:
    """The conjugate transpose of a matrix."""
    _warn_of_scalar(self, "Tensor.H", "Consider using x.conj().")
    if self.ndim not in (0, 2):
        raise RuntimeError(
            f"tensor.H is only supported on matrices (2-D tensors). Got {self.ndim}-D tensor."
            + (" For batches of matrices, consider using tensor.mH" if self.ndim > 2 else "")
        )
    return _turned(self, "H")


def _mH(self: Tensor) -> Tensor:
    """The conjugate transposes of a batch of matrices."""
    _warn_of_scalar(self, "Tensor.mH", "Consider using x.conj().")
    return _turned(self, "mH")


for _name, _property in {"T": _T, "mT": _mT, "H": _H, "mH": _mH}.items():
    METHODS[_name] = property(_property)  # type: ignore[assignment]


# ---------------------------------------------------------------- angle


def _angle_rule(x: Aval) -> Aval:
    if x.dtype.category < FLOATING:
        return x.of(dtype=dtypes.get_default_dtype())
    return x.of(dtype=x.dtype.to_real())


def _angle_kernel(xp: Any, x: Any) -> Any:
    if x.dtype.kind == "c":
        return xp.arctan2(xp.imag(x), xp.real(x))
    if x.dtype.kind != "f":
        x = x.astype(dtypes.get_default_dtype().numpy)
    turned = xp.where(x < 0, x.dtype.type(xp.pi), x.dtype.type(0))
    return xp.where(xp.isnan(x), x, turned)


def _angle_derivative(grad: Tensor, x: Tensor) -> Tensor:
    if not x.dtype.is_complex:
        return no_slope(grad)
    first, second = REAL(x), IMAG(x)
    square = first * first + second * second
    shared = where(eq(square, 0), 0, grad / square)
    return COMPLEX_OF(-second * shared, first * shared)


ANGLE = operator(
    "angle",
    _angle_rule,
    _angle_kernel,
    _angle_derivative,
    samples=lambda: [case("angle", C(3, 4)), case("angle", T(3, 4)), case("angle", T(3, dtype="int64"))],
)


@public(method=True, out=True)
def angle(input: Tensor) -> Tensor:
    """The angle in the complex plane; of a negative real number pi, of any other 0.

    Example:
        >>> import flambeau as torch
        >>> torch.angle(torch.tensor([1j, -1.0, 1 + 1j]))
        tensor([1.5708, 3.1416, 0.7854])
        >>> torch.angle(torch.tensor([-1.0, 0.0, 2.0]))
        tensor([3.1416, 0.0000, 0.0000])
    """
    checked_tensor("angle", "input", 1, input)
    return ANGLE(input)

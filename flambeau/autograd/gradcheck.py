"""Derivatives held against finite differences."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import numpy as np

from flambeau.autograd.backward import grad
from flambeau.autograd.function import Function
from flambeau.autograd.grad_mode import enable_grad, no_grad
from flambeau.dtypes import complex128, float64
from flambeau.ops.create import zeros_like
from flambeau.tensor.tensor import Tensor, from_array
from flambeau.tensor.views import layout
from flambeau.user_warnings import warn

__all__ = ["GradcheckError", "gradcheck", "gradgradcheck"]


class GradcheckError(RuntimeError):
    """A derivative does not stand up to :func:`gradcheck` or :func:`gradgradcheck`.

    Example:
        >>> import flambeau as torch
        >>> class Wrong(torch.autograd.Function):
        ...     @staticmethod
        ...     def forward(ctx, x):
        ...         return x * 2
        ...     @staticmethod
        ...     def backward(ctx, grad):
        ...         return grad * 3
        >>> try:
        ...     torch.autograd.gradcheck(Wrong.apply, torch.ones(1, dtype=torch.float64, requires_grad=True))
        ... except RuntimeError as error:
        ...     print(type(error).__name__)
        GradcheckError
    """


def gradcheck(
    func: Callable[..., Any],
    inputs: Any,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_batched_forward_grad: bool = False,
    check_forward_ad: bool = False,
    check_backward_ad: bool = True,
    fast_mode: bool = False,
    masked: bool | None = None,
) -> bool:
    """Whether the gradients of a function agree with central differences.

    Checked is every element of the Jacobian: ``|analytical - numerical| <= atol + rtol |numerical|``; the real and
    the imaginary part of complex results each by itself.  The default tolerances are meant for float64.

    Args:
        func: takes the inputs, returns a tensor or a tuple of them.
        inputs: a tensor or a tuple of anything; checked are the tensors that require gradients.
        eps: the step of the differences.
        atol, rtol: tolerances.
        raise_exception: raise if the check fails, instead of returning False.
        nondet_tol: by how much the gradients of two passes may differ.
        check_undefined_grad: check as well that results without a gradient do no harm.
        check_grad_dtypes: check as well that gradients have the inputs' types.
        check_batched_grad, check_batched_forward_grad: check as well that ``vmap`` of the derivative gives the same.
        check_forward_ad: check ``func.jvp`` as well.
        check_backward_ad: whether gradients are checked at all.
        fast_mode: check ``vᵀJu`` for random vectors instead of every element of J.
        masked: accepted; there are no sparse tensors.

    Raises:
        GradcheckError: if the check fails; tells both Jacobians.
        ValueError: if no input requires a gradient.

    Example:
        >>> import flambeau as torch
        >>> x = torch.tensor([0.1, 0.7], dtype=torch.float64, requires_grad=True)
        >>> torch.autograd.gradcheck(torch.sin, x)
        True
    """
    assert check_forward_ad or check_backward_ad, (
        "Expected at least one of check_forward_ad or check_backward_ad to be True"
    )
    assert check_backward_ad or not check_batched_grad, (
        "Setting check_batched_grad=True requires check_backward_ad to be True"
    )
    assert check_forward_ad or not check_batched_forward_grad, (
        "Setting check_batched_forward_grad=True requires check_forward_ad to be True"
    )
    try:
        check = _Check(func, inputs, eps, atol, rtol, nondet_tol, check_grad_dtypes, fast_mode)
        for part in check.parts():
            if check_backward_ad:
                part.check(forward=False)
            if check_forward_ad:
                part.check(forward=True)
        if check_batched_forward_grad:
            check.check_batches_forward()
        if check_backward_ad:
            if check_batched_grad:
                check.check_batches()
            check.check_zero_gradients()
            if check_undefined_grad:
                check.check_undefined_gradients()
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def gradgradcheck(
    func: Callable[..., Any],
    inputs: Any,
    grad_outputs: Any = None,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    gen_non_contig_grad_outputs: bool = False,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_fwd_over_rev: bool = False,
    check_rev_over_rev: bool = True,
    fast_mode: bool = False,
    masked: bool = False,
) -> bool:
    """Whether the gradients of the gradients of a function agree with central differences.

    Args:
        grad_outputs: the gradients of the results to start from; random ones if None.
        gen_non_contig_grad_outputs: make those not contiguous.
        check_fwd_over_rev: check ``func.jvp`` of the gradients as well.
        check_rev_over_rev: whether gradients of the gradients are checked at all.

    The other arguments, and what is raised, are those of :func:`gradcheck`.

    Example:
        >>> import flambeau as torch
        >>> x = torch.tensor([0.1, 0.7], dtype=torch.float64, requires_grad=True)
        >>> torch.autograd.gradgradcheck(torch.sin, x)
        True
    """
    assert check_fwd_over_rev or check_rev_over_rev, (
        "Expected at least one of check_fwd_over_rev or check_rev_over_rev to be True"
    )
    assert check_rev_over_rev or not check_undefined_grad, (
        "Setting check_undefined_grad=True requires check_rev_over_rev to be True"
    )
    assert check_rev_over_rev or not check_batched_grad, (
        "Setting check_batched_grad=True requires check_rev_over_rev to be True"
    )
    given = inputs if isinstance(inputs, tuple) else (inputs,)
    if grad_outputs is None:
        random = np.random.default_rng(0)
        outs = _differentiable(func(*given))
        factors = tuple(_random_like(out, random, gen_non_contig_grad_outputs) for out in outs)
    else:
        factors = grad_outputs if isinstance(grad_outputs, tuple | list) else (grad_outputs,)
    count = len(factors)
    wanted = [i for i, x in enumerate(given) if isinstance(x, Tensor) and x.requires_grad]
    factor_flags = [factor.requires_grad for factor in factors]

    def first_derivative(*args: Any) -> tuple[Tensor, ...]:
        own, rows = args[:-count], args[-count:]
        for i in wanted:
            own[i].requires_grad_()
        for row, flag in zip(rows, factor_flags, strict=True):
            row.requires_grad_(flag)
        found = grad(_differentiable(func(*own)), [own[i] for i in wanted], rows, create_graph=True, allow_unused=True)
        return tuple(g for g in found if g is not None)

    return gradcheck(
        first_derivative,
        (*given, *factors),
        eps=eps,
        atol=atol,
        rtol=rtol,
        raise_exception=raise_exception,
        nondet_tol=nondet_tol,
        check_undefined_grad=check_undefined_grad,
        check_grad_dtypes=check_grad_dtypes,
        check_batched_grad=check_batched_grad,
        check_forward_ad=check_fwd_over_rev,
        check_backward_ad=check_rev_over_rev,
        fast_mode=fast_mode,
        masked=masked,
    )


def _random_like(out: Tensor, random: np.random.Generator, strided: bool) -> Tensor:
    shape = (*out.shape, 2) if strided else tuple(out.shape)
    values = random.uniform(-1, 1, shape)
    if out.is_complex():
        values = values + 1j * random.uniform(-1, 1, shape)
    kind = out.dtype if out.is_floating_point() or out.is_complex() else float64
    made = from_array(values.astype(kind.numpy), kind, out.device)
    if strided:
        made = made[..., 0].detach()
    return made.requires_grad_()


# ---------------------------------------------------------------- one function


def _tupled(result: Any) -> tuple[Any, ...]:
    return tuple(result) if isinstance(result, tuple | list) else (result,)


def _differentiable(result: Any) -> tuple[Tensor, ...]:
    return tuple(out for out in _tupled(result) if out.requires_grad)


def _values(tensor: Tensor) -> np.ndarray:
    """A tensor's values in double precision, in one dimension."""
    array = tensor.detach()._array()
    return array.astype(np.complex128 if array.dtype.kind == "c" else np.float64).reshape(-1)


class _Check:
    """A function with its inputs, and how closely its derivative is looked at."""

    def __init__(
        self,
        func: Callable[..., Any],
        inputs: Any,
        eps: float,
        atol: float,
        rtol: float,
        nondet_tol: float,
        check_types: bool,
        fast: bool,
    ) -> None:
        self.func = func
        self.inputs = inputs if isinstance(inputs, tuple) else tuple(inputs) if isinstance(inputs, list) else (inputs,)
        self.eps, self.atol, self.rtol = eps, atol, rtol
        self.nondet_tol = nondet_tol
        self.check_types = check_types
        self.fast = fast
        self.places = self._checked_inputs()
        self.wanted = [self.inputs[i] for i in self.places]
        with enable_grad():
            self.outputs = _differentiable(func(*self.inputs))

    def _checked_inputs(self) -> list[int]:
        places = []
        for i, x in enumerate(self.inputs):
            if not isinstance(x, Tensor) or not x.requires_grad:
                continue
            if x.dtype not in (float64, complex128):
                warn(
                    f"Input #{i} requires gradient and is not a double precision floating point or complex. This check "
                    "will likely fail if all the inputs are not of double precision floating point or complex. ",
                )
            if any(step == 0 and n > 1 for n, step in zip(x.shape, layout(x)[0], strict=True)):
                raise RuntimeError(
                    f"The {i}th input has a dimension with stride 0. gradcheck only supports inputs that are "
                    "non-overlapping to be able to compute the numerical gradients correctly. You should call "
                    ".contiguous on the input before passing it to gradcheck."
                )
            places.append(i)
        if not places:
            raise ValueError(
                "gradcheck expects at least one input tensor to require gradient, but none of them have "
                "requires_grad=True."
            )
        return places

    def parts(self) -> list[_Part]:
        """The function as one of real results: the imaginary parts of complex ones by themselves."""
        func = self.func
        if not any(out.is_complex() for out in self.outputs):
            return [_Part(self, func, "")]

        def imaginary(*args: Any) -> tuple[Tensor, ...]:
            return tuple(out.imag for out in _tupled(func(*args)) if out.is_complex())

        def real(*args: Any) -> tuple[Tensor, ...]:
            return tuple(out.real if out.is_complex() else out for out in _tupled(func(*args)))

        told = "While considering the {} part of complex outputs only, "
        return [_Part(self, imaginary, told.format("imaginary")), _Part(self, real, told.format("real"))]

    # ------------------------------------------------------------ other properties

    def check_zero_gradients(self) -> None:
        """Zero gradients of the results must give zero gradients of the inputs, of their types and shapes."""
        if not self.outputs:
            return
        found = grad(self.outputs, self.wanted, [zeros_like(o) for o in self.outputs], True, allow_unused=True)
        for g, x in zip(found, self.wanted, strict=True):
            if g is None:
                continue
            if _values(g).any():
                raise GradcheckError("backward not multiplied by grad_output")
            if g.dtype is not x.dtype:
                raise GradcheckError("grad is incorrect type")
            if g.shape != x.shape:
                raise GradcheckError("grad is incorrect size")

    def check_undefined_gradients(self) -> None:
        """Results without a gradient must do no harm: all of them, and each by itself."""
        count = len(self.outputs)
        for absent in [set(range(count)), *([{i} for i in range(count)] if count > 1 else [])]:
            with enable_grad():
                outs = _differentiable(self.func(*self.inputs))
            shown = [_Undefined.apply(out) if i in absent else out for i, out in enumerate(outs)]
            if not shown:
                return
            try:
                found = grad(shown, self.wanted, [zeros_like(out) for out in shown], allow_unused=True)
            except RuntimeError as error:
                raise GradcheckError(
                    'Expected backward function to handle undefined output grads. Please look at "Notes about '
                    'undefined output gradients" in "tools/autograd/derivatives.yaml"'
                ) from error
            if any(g is not None and _values(g).any() for g in found):
                raise GradcheckError(
                    "Expected all input grads to be undefined or zero when all output grads are undefined or zero. "
                    'Please look at "Notes about undefined output gradients" in "tools/autograd/derivatives.yaml"'
                )

    def check_batches(self) -> None:
        """``vmap`` of the way back must give what one pass after the other gives."""
        for i, out in enumerate(self.outputs):

            def pull(v: Tensor, out: Tensor = out) -> tuple[Tensor, ...]:
                found = grad(out, self.wanted, v, True, allow_unused=True)
                return tuple(zeros_like(x) if g is None else g for g, x in zip(found, self.wanted, strict=True))

            self._compare_batch(pull, [out], f"For output {i} and input", "gradcheck or gradgradcheck")

    def check_batches_forward(self) -> None:
        """``vmap`` of the directional derivative must give what one direction after the other gives."""
        from flambeau.func.gradients import jvp

        for place, x in zip(self.places, self.wanted, strict=True):

            def push(tangent: Tensor, place: int = place, x: Tensor = x) -> tuple[Tensor, ...]:
                def alone(changed: Tensor) -> tuple[Tensor, ...]:
                    args = [changed if i == place else arg for i, arg in enumerate(self.inputs)]
                    return _differentiable(self.func(*args))

                return jvp(alone, (x.detach(),), (tangent,))[1]

            self._compare_batch(push, [x], f"For input {place} and output", "gradcheck")

    def _compare_batch(self, mapped: Callable[..., Any], like: Sequence[Tensor], what: str, api: str) -> None:
        from flambeau.func.vmap import vmap
        from flambeau.ops.join import stack

        random = np.random.default_rng(0)
        rows = [_random_like(like[0], random, False).detach() for _ in range(2)]
        expected = [stack(parts) for parts in zip(*[mapped(row) for row in rows], strict=True)]
        try:
            found = vmap(mapped)(stack(rows))
        except RuntimeError as error:
            raise GradcheckError(
                f"While computing batched gradients, got: {error}\n\n{api} failed while testing batched gradient "
                "computation."
            ) from error
        for i, (one, other) in enumerate(zip(found, expected, strict=True)):
            if not np.allclose(_values(one), _values(other), rtol=1e-5, atol=1e-8):
                raise GradcheckError(
                    f"{what} {i}:\n\n{api} failed while testing batched gradient computation.\nGot:\n{one}\n\n"
                    f"Expected:\n{other}\n"
                )


class _Undefined(Function):
    """Its argument, whose gradient never arrives."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return None


# ---------------------------------------------------------------- one function of real results


class _Part:
    """A function of real results, whose Jacobians are computed and compared."""

    def __init__(self, check: _Check, func: Callable[..., Any], told: str) -> None:
        self._check = check
        self._func = func
        self._told = told

    def check(self, forward: bool) -> None:
        """Raises unless the analytical derivative agrees with the numerical one."""
        check = self._check
        with enable_grad():
            results = _tupled(self._func(*check.inputs))
        outs = [out for out in results if out.requires_grad]
        if not outs:
            self._check_constant()
            return
        random = np.random.default_rng(0)
        directions = [self._direction(x, random) for x in check.wanted] if check.fast else None
        factors = [_unit(out._node.aval.size, random) for out in outs] if check.fast else None
        # Per input: what the results change by, in each direction looked at.
        numerical = [
            self._numerical(i, None if directions is None else [directions[i]]) for i in range(len(check.wanted))
        ]
        flags = [out.requires_grad for out in results]
        numerical = [[part for part, flag in zip(parts, flags, strict=True) if flag] for parts in numerical]
        for o, out in enumerate(outs):
            pulled = (
                self._pushed(o, len(outs))
                if forward
                else self._analytical(out, None if factors is None else factors[o])
            )
            for i, a in enumerate(pulled):
                n = numerical[i][o]
                atol = check.atol
                if factors is not None and directions is not None:
                    n = n @ factors[o]
                    a = a @ factors[o] if forward else a[:, 0]
                    a, n = np.asarray(_dot(a, directions[i])), n.reshape(())
                    atol *= abs(float(sum(part.sum() for part in directions[i])) * float(factors[o].sum()))
                if not np.allclose(a, n, rtol=check.rtol, atol=atol, equal_nan=False):
                    raise GradcheckError(self._mismatch(a, n, o, i, forward))

    def _mismatch(self, a: np.ndarray, n: np.ndarray, o: int, i: int, forward: bool) -> str:
        how = "computed with forward mode " if forward else ""
        text = (
            f"{self._told}Jacobian {how}mismatch for output {o} with respect to input {i},\n"
            f"numerical:{_shown(n)}\nanalytical:{_shown(a)}\n"
        )
        check = self._check
        if not check.fast:
            return text
        with enable_grad():
            outs = _differentiable(self._func(*check.inputs))
        slow = self._numerical(i, None)[o]
        exact = self._pushed(o, len(outs))[i] if forward else self._analytical(outs[o], None)[i]
        return (
            f"{text}\nThe above quantities relating the numerical and analytical jacobians are computed \nin fast "
            "mode. See: https://github.com/pytorch/pytorch/issues/53876 for more background \nabout fast mode. "
            f"Below, we recompute numerical and analytical jacobians in slow mode:\n\nNumerical:\n {_shown(slow)}\n"
            f"Analytical:\n{_shown(exact)}\n\n"
            f"The max per-element difference (slow mode) is: {np.abs(slow - exact).max()}.\n"
        )

    def _direction(self, x: Tensor, random: np.random.Generator) -> tuple[np.ndarray, ...]:
        size = x._node.aval.size
        return (_unit(size, random), _unit(size, random)) if x.is_complex() else (_unit(size, random),)

    def _check_constant(self) -> None:
        for i in range(len(self._check.wanted)):
            if any(part.any() for part in self._numerical(i, None)):
                raise GradcheckError("Numerical gradient for function expected to be zero")

    # ------------------------------------------------------------ numerical

    def _numerical(self, i: int, directions: Any) -> list[np.ndarray]:
        """Per result, the change along each direction of an input (each of its elements if None) by differences."""
        x = self._check.wanted[i]
        size = x._node.aval.size
        if directions is None:
            units = (np.eye(size)[k] for k in range(size))
            directions = ((unit, unit) if x.is_complex() else (unit,) for unit in units)
        rows: list[list[np.ndarray]] = []
        for direction in directions:
            changes = self._change(x, direction[0])
            if x.is_complex():
                imaginary = self._change(x, 1j * direction[1])
                changes = [re + 1j * im for re, im in zip(changes, imaginary, strict=True)]
            rows.append(changes)
        if not rows:
            with enable_grad():
                outs = _tupled(self._func(*self._check.inputs))
            return [np.zeros((0, out._node.aval.size)) for out in outs]
        return [np.stack(column) for column in zip(*rows, strict=True)]

    def _change(self, x: Tensor, direction: np.ndarray) -> list[np.ndarray]:
        eps = self._check.eps
        before, after = self._moved(x, -eps * direction), self._moved(x, eps * direction)
        changes = []
        for low, high in zip(before, after, strict=True):
            if low.shape != high.shape:
                raise AssertionError(
                    "Expected `func` to return outputs with the same shape when inputs are perturbed by "
                    f"{eps}, but got: shapes {low.shape} and {high.shape}."
                )
            if low.dtype is not high.dtype:
                raise AssertionError(
                    "Expected `func` to return outputs with the same dtype when inputs are perturbed by "
                    f"{eps}, but got: dtypes {low.dtype} and {high.dtype}."
                )
            changes.append((_values(high) - _values(low)) / (2 * eps))
        return changes

    def _moved(self, x: Tensor, step: np.ndarray) -> list[Tensor]:
        """The results with an input moved a little.  It is moved in place: the function may have it by other ways."""
        data = x.data
        kept = data.clone()
        shifted = kept._array().reshape(-1) + step
        with no_grad():
            data.copy_(_like(x, shifted))
        try:
            # Gradients stay on, for functions that take derivatives themselves.
            with enable_grad():
                return [out.detach().clone() for out in _tupled(self._func(*self._check.inputs))]
        finally:
            with no_grad():
                data.copy_(kept)

    # ------------------------------------------------------------ analytical

    def _analytical(self, out: Tensor, factor: np.ndarray | None) -> list[np.ndarray]:
        """Per input, the gradient for each element of a result (for one factor, if given), as columns."""
        first, second = self._pulled(out, factor), self._pulled(out, factor)
        for one, other in zip(first, second, strict=True):
            if one.size and np.abs(one - other).max() > self._check.nondet_tol:
                raise GradcheckError(
                    "Backward is not reentrant, i.e., running backward with same input and grad_output multiple times "
                    "gives different values, although analytical gradient matches numerical gradient.The tolerance for "
                    f"nondeterminism was {self._check.nondet_tol}."
                )
        return first

    def _pulled(self, out: Tensor, factor: np.ndarray | None) -> list[np.ndarray]:
        check = self._check
        size = out._node.aval.size
        columns: list[list[np.ndarray]] = [[] for _ in check.wanted]
        for row in np.eye(size) if factor is None else factor[None]:
            given = _like(out, row)
            found = grad(out, check.wanted, given, True, allow_unused=True)
            for column, x, g in zip(columns, check.wanted, found, strict=True):
                if g is not None and g.shape != x.shape:
                    raise GradcheckError("Analytical gradient has incorrect size")
                if g is not None and check.check_types and g.dtype is not x.dtype:
                    raise GradcheckError("Gradient has dtype mismatch")
                column.append(_values(zeros_like(x) if g is None else g))
        return [
            np.stack(column, 1) if column else np.zeros((x._node.aval.size, 0))
            for column, x in zip(columns, check.wanted, strict=True)
        ]

    def _pushed(self, which: int, count: int) -> list[np.ndarray]:
        """Per input, the derivative of a result along each of its elements, by ``func.jvp``, as rows."""
        from flambeau.func.gradients import jvp

        check = self._check
        found = []
        for place, x in zip(check.places, check.wanted, strict=True):

            def alone(changed: Tensor, place: int = place) -> Tensor:
                args = [changed if i == place else arg for i, arg in enumerate(check.inputs)]
                return _differentiable(self._func(*args))[which]

            rows = []
            for unit in np.eye(x._node.aval.size):
                steps = (unit, 1j * unit) if x.is_complex() else (unit,)
                changes = [_values(jvp(alone, (x.detach(),), (_like(x, step),))[1]) for step in steps]
                rows.append(changes[0] + 1j * changes[1] if x.is_complex() else changes[0])
            found.append(np.stack(rows) if rows else np.zeros((0, 0)))
        return found


def _like(x: Tensor, values: np.ndarray) -> Tensor:
    """Values as a tensor of another's shape, type and device."""
    return from_array(values.astype(x.dtype.numpy).reshape(tuple(x.shape)), x.dtype, x.device)


def _unit(size: int, random: np.random.Generator) -> np.ndarray:
    vector = random.uniform(0, 1, size)
    return vector / max(float(np.linalg.norm(vector)), 1e-300)


def _dot(gradient: np.ndarray, direction: tuple[np.ndarray, ...]) -> Any:
    if len(direction) == 1:
        return gradient @ direction[0]
    return gradient.real @ direction[0] + 1j * (gradient.imag @ direction[1])


class _Callable(ModuleType):
    """This module: PyTorch's name for it is its function's as well."""

    def __call__(self, *args: Any, **kwargs: Any) -> bool:
        return gradcheck(*args, **kwargs)


sys.modules[__name__].__class__ = _Callable


def _shown(jacobian: np.ndarray) -> Tensor:
    return from_array(np.asarray(jacobian))

"""Derivatives of functions by the tape: Jacobians, Hessians and their products with vectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from flambeau.autograd.backward import grad
from flambeau.autograd.grad_mode import enable_grad, mode, set_grad_enabled
from flambeau.tensor.tensor import Tensor

__all__ = ["hessian", "hvp", "jacobian", "jvp", "vhp", "vjp"]

_STRICT = "This is not allowed in strict mode"


def vjp(
    func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """The result of a function and the product of a vector with its Jacobian.

    Args:
        func: takes tensors, returns a tensor or a tuple of them.
        inputs: a tensor or a tuple of them.
        v: made as the result is; may be left out where that is a single element.
        create_graph: make the products differentiable.
        strict: raise where a result does not depend on an input, instead of giving zeros.

    Returns:
        (result, product); the product is made as the inputs are.

    Raises:
        TypeError: if something is no tensor.
        RuntimeError: if v does not fit, or in strict mode.

    Example:
        >>> import flambeau as torch
        >>> torch.autograd.functional.vjp(torch.exp, torch.zeros(2), torch.tensor([1.0, 2.0]))
        (tensor([1., 1.]), tensor([1., 2.]))
    """
    with enable_grad():
        call = _Call("vjp", func, inputs, create_graph, strict)
        factors = call.vector(v, call.outputs, call.several_outputs, _NO_OUTPUT_VECTOR)
    with set_grad_enabled(create_graph or mode.grad):
        found = _gradients(call.outputs, call.inputs, factors, create_graph)
        products = call.filled(found, call.inputs, "jacobian", "The output of the user-provided function is")
    return call.result(), call.like_inputs(products)


def jvp(
    func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """The result of a function and the product of its Jacobian with a vector, by going backward twice.

    Arguments and errors are those of :func:`vjp`, but v and the inputs are made alike, and so are the product and
    the result.

    Example:
        >>> import flambeau as torch
        >>> torch.autograd.functional.jvp(torch.exp, torch.zeros(2), torch.tensor([1.0, 2.0]))
        (tensor([1., 1.]), tensor([1., 2.]))
    """
    with enable_grad():
        call = _Call("jvp", func, inputs, create_graph, strict)
        tangents = call.vector(v, call.inputs, call.several_inputs, _NO_INPUT_VECTOR)
        probes = tuple(out.new_zeros(out.shape).requires_grad_() for out in call.outputs)
        pulled = _gradients(call.outputs, call.inputs, probes, True)
        _check_depends(pulled, "grad_inputs", strict)
    with set_grad_enabled(create_graph or mode.grad):
        found = _gradients(pulled, probes, tangents, create_graph)
        products = call.filled(found, call.outputs, "jacobian", None)
    return call.result(), call.like_outputs(products)


def vhp(
    func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """The result of a function of a single element, and the product of a vector with its Hessian.

    Arguments and errors are those of :func:`jvp`.

    Example:
        >>> import flambeau as torch
        >>> torch.autograd.functional.vhp(lambda x: (x ** 3).sum(), torch.ones(2), torch.tensor([1.0, 2.0]))
        (tensor(2.), tensor([ 6., 12.]))
    """
    with enable_grad():
        call = _Call("vhp", func, inputs, create_graph, strict)
        vector = call.vector(v, call.inputs, call.several_inputs, _NO_INPUT_VECTOR)
        gradient = call.gradient()
    with set_grad_enabled(create_graph or mode.grad):
        found = _gradients(gradient, call.inputs, vector, create_graph)
        products = call.filled(found, call.inputs, "hessian", "The jacobian of the user-provided function is")
    return call.result(), call.like_inputs(products)


def hvp(
    func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """The result of a function of a single element, and the product of its Hessian with a vector.

    Arguments and errors are those of :func:`jvp`; :func:`vhp` costs less.

    Example:
        >>> import flambeau as torch
        >>> torch.autograd.functional.hvp(lambda x: (x ** 3).sum(), torch.ones(2), torch.tensor([1.0, 2.0]))
        (tensor(2.), tensor([ 6., 12.]))
    """
    with enable_grad():
        call = _Call("hvp", func, inputs, create_graph, strict)
        vector = call.vector(v, call.inputs, call.several_inputs, _NO_INPUT_VECTOR)
        gradient = call.gradient()
        probes = tuple(x.new_zeros(x.shape).requires_grad_() for x in call.inputs)
        pulled = _gradients(gradient, call.inputs, probes, True)
        _check_depends(gradient, "hessian", strict)
    with set_grad_enabled(create_graph or mode.grad):
        found = _gradients(pulled, probes, vector, create_graph)
        products = call.filled(found, call.inputs, "hessian", None)
    return call.result(), call.like_inputs(products)


def jacobian(
    func: Callable[..., Any],
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    strategy: str = "reverse-mode",
) -> Any:
    """The Jacobian of a function.

    Args:
        func: takes tensors, returns a tensor or a tuple of them.
        inputs: a tensor or a tuple of them.
        create_graph: make the Jacobian differentiable.
        strict: raise where a result does not depend on an input, instead of giving zeros.
        vectorize: go back for all elements together, by ``vmap``.
        strategy: ``"reverse-mode"``, or with ``vectorize`` ``"forward-mode"``.

    Returns:
        Per result, per input, a tensor of the result's shape followed by the input's.

    Raises:
        TypeError, RuntimeError: as :func:`vjp`.
        AssertionError, NotImplementedError: for a strategy that is unknown, or does not go with the other options.

    Example:
        >>> import flambeau as torch
        >>> torch.autograd.functional.jacobian(lambda x: x * x, torch.tensor([1.0, 2.0]))
        tensor([[2., 0.],
                [0., 4.]])
    """
    if strategy not in ("forward-mode", "reverse-mode"):
        raise AssertionError(
            'Expected strategy to be either "forward-mode" or "reverse-mode". Hint: If your function has more outputs '
            'than inputs, "forward-mode" tends to be more performant. Otherwise, prefer to use "reverse-mode".'
        )
    if strategy == "forward-mode":
        return _forward_jacobian(func, inputs, create_graph, strict, vectorize)
    if strict and vectorize:
        raise RuntimeError(
            "torch.autograd.functional.jacobian: `strict=True` and `vectorized=True` are not supported together. "
            "Please either set `strict=False` or `vectorize=False`."
        )
    with enable_grad():
        call = _Call("jacobian", func, inputs, create_graph, strict)
        rows = _all_rows(call) if vectorize else [_rows(call, i) for i in range(len(call.outputs))]
    return call.like_both(rows)


def _all_rows(call: _Call) -> list[tuple[Tensor, ...]]:
    """Per output, per input, the Jacobian, by one pass back for all elements."""
    # Imported here: transforms build on the tape.
    from flambeau.func.gradients import standard_basis

    sizes = [out._node.aval.size for out in call.outputs]
    found = _gradients(call.outputs, call.inputs, standard_basis(call.outputs), call.create_graph, True)
    columns = []
    for x, column in zip(call.inputs, found, strict=True):
        if column is None:
            column = x.new_zeros(x.shape).expand(sum(sizes), *x.shape)
        parts = column.split(sizes, 0)
        columns.append([part.reshape(*out.shape, *x.shape) for part, out in zip(parts, call.outputs, strict=True)])
    return [tuple(row) for row in zip(*columns, strict=True)]


def _rows(call: _Call, which: int) -> tuple[Tensor, ...]:
    """Per input, the Jacobian of one output, by one pass back per element."""
    from flambeau.ops.join import stack

    out = call.outputs[which]
    flat = out.reshape(-1)
    columns: list[list[Tensor]] = [[] for _ in call.inputs]
    for element in range(out._node.aval.size):
        found = _gradients((flat[element],), call.inputs, (None,), call.create_graph, retain_graph=True)
        for i, (x, g) in enumerate(zip(call.inputs, found, strict=True)):
            if g is None:
                if call.strict:
                    raise RuntimeError(
                        f"Output {which} of the user-provided function is independent of input {i}. {_STRICT}."
                    )
                g = x.new_zeros(x.shape)
            elif call.strict and call.create_graph and not g.requires_grad:
                raise RuntimeError(
                    f"The jacobian of the user-provided function is independent of input {which}. {_STRICT} when "
                    "create_graph=True."
                )
            columns[i].append(g)
    return tuple(
        stack(column).reshape(*out.shape, *x.shape) if column else out.new_zeros((*out.shape, *x.shape))
        for column, x in zip(columns, call.inputs, strict=True)
    )


def _forward_jacobian(func: Any, inputs: Any, create_graph: bool, strict: bool, vectorize: bool) -> Any:
    from flambeau.func.gradients import jacfwd

    if create_graph:
        raise NotImplementedError(
            'torch.autograd.functional.jacobian: `create_graph=True` and `strategy="forward-mode"` are not supported '
            'together (yet). Please either set `create_graph=False` or `strategy="reverse-mode"`.'
        )
    if strict:
        raise RuntimeError(
            'torch.autograd.functional.jacobian: `strict=True` and `strategy="forward-mode"` are not supported '
            'together (yet). Please either set `strict=False` or `strategy="reverse-mode"`.'
        )
    if not vectorize:
        raise NotImplementedError(
            "Computing Jacobian using forward-AD or forward-over-reverse Hessian isonly implemented for "
            "`vectorize=True`."
        )
    several, given = _checked(inputs, "inputs", "jacobian")
    found = jacfwd(func, argnums=tuple(range(len(given))))(*[x.detach() for x in given])
    rows = found if isinstance(found[0], tuple) else (found,)
    shown = tuple(tuple(part.detach() for part in row) if several else row[0].detach() for row in rows)
    return shown if isinstance(found[0], tuple) else shown[0]


def hessian(
    func: Callable[..., Any],
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    outer_jacobian_strategy: str = "reverse-mode",
) -> Any:
    """The Hessian of a function of a single element: the Jacobian of its Jacobian.

    Arguments and errors are those of :func:`jacobian`.

    Returns:
        Per input, per input, a tensor of the one's shape followed by the other's.

    Example:
        >>> import flambeau as torch
        >>> torch.autograd.functional.hessian(lambda x: (x ** 3).sum(), torch.tensor([1.0, 2.0]))
        tensor([[ 6.,  0.],
                [ 0., 12.]])
    """
    several, _ = _checked(inputs, "inputs", "hessian")
    if outer_jacobian_strategy not in ("forward-mode", "reverse-mode"):
        raise AssertionError('Expected strategy to be either "forward-mode" or "reverse-mode".')

    def single(*given: Tensor) -> Tensor:
        out = func(*given)
        tupled, outs = _checked(out, "outputs of the user-provided function", "hessian")
        _check_depends(outs, "outputs", strict)
        _check_single("hessian", tupled, outs)
        return outs[0].squeeze()

    def first(*given: Tensor) -> Any:
        found = jacobian(single, given, create_graph=True)
        _check_depends(found, "jacobian", strict)
        return found

    found = jacobian(first, inputs, create_graph, strict, vectorize, outer_jacobian_strategy)
    # The inner Jacobian always is a tuple over the inputs.
    return found if several else found[0]


# ---------------------------------------------------------------- what they share

_NO_OUTPUT_VECTOR = (
    "The vector v can only be None if the user-provided function returns a single Tensor with a single element."
)
_NO_INPUT_VECTOR = (
    "The vector v can only be None if the input to the user-provided function is a single Tensor with a single element."
)


class _Call:
    """One call of a function on tensors whose gradients can be told from those of what it captures.

    Attributes:
        inputs, outputs: of the function, as tuples.
        several_inputs, several_outputs: whether they were tuples.
    """

    def __init__(self, api: str, func: Callable[..., Any], inputs: Any, create_graph: bool, strict: bool) -> None:
        self.api = api
        self.create_graph = create_graph
        self.strict = strict
        self.several_inputs, given = _checked(inputs, "inputs", api)
        self.inputs = tuple(self._fresh(x, True) for x in given)
        result = func(*self.inputs)
        self.several_outputs, self.outputs = _checked(result, "outputs of the user-provided function", api)
        _check_depends(self.outputs, "outputs", strict)

    def _fresh(self, x: Tensor, requires_grad: bool) -> Tensor:
        if self.create_graph and x.requires_grad:
            return x.view_as(x)
        return x.detach().requires_grad_(requires_grad)

    def vector(self, v: Any, like: tuple[Tensor, ...], several: bool, absent: str) -> tuple[Any, ...]:
        """The vector as a tuple of tensors, checked against what it must be like."""
        if v is None:
            if len(like) != 1 or like[0]._node.aval.size != 1:
                raise RuntimeError(absent)
            return (None,)
        vector = tuple(self._fresh(x, False) for x in _checked(v, "v", self.api)[1])
        if len(vector) != len(like):
            if several:
                raise RuntimeError(f"v is a tuple of invalid length: should be {len(like)} but got {len(vector)}.")
            raise RuntimeError("The given v should contain a single Tensor.")
        for i, (given, wanted) in enumerate(zip(vector, like, strict=True)):
            if given.shape != wanted.shape:
                where = f"Entry {i} in " if several else ""
                raise RuntimeError(f"{where}v has invalid size: should be {wanted.shape} but got {given.shape}.")
        return vector

    def gradient(self) -> tuple[Any, ...]:
        """The gradient of the single element that is the result, itself differentiable."""
        _check_single(self.api, self.several_outputs, self.outputs)
        found = _gradients(self.outputs, self.inputs, (None,), True)
        _check_depends(found, "jacobian", self.strict)
        return found

    def filled(self, found: Sequence[Any], like: Sequence[Tensor], what: str, where: str | None) -> tuple[Tensor, ...]:
        """Zeros in the place of what there is not; in strict mode an error."""
        products = []
        for i, (g, x) in enumerate(zip(found, like, strict=True)):
            if g is None:
                if self.strict:
                    raise RuntimeError(_absent(i, what, where))
                g = x.new_zeros(x.shape)
            elif self.strict and self.create_graph and not g.requires_grad:
                raise RuntimeError(
                    f"The {what} of the user-provided function is independent of input {i}. {_STRICT} when "
                    "create_graph=True."
                )
            products.append(g)
        return tuple(products)

    # ------------------------------------------------------------ results in the form of what was given

    def _shown(self, tensor: Tensor) -> Tensor:
        return tensor if self.create_graph else tensor.detach()

    def result(self) -> Any:
        return self.like_outputs(self.outputs)

    def like_inputs(self, tensors: Sequence[Tensor]) -> Any:
        shown = tuple(self._shown(tensor) for tensor in tensors)
        return shown if self.several_inputs else shown[0]

    def like_outputs(self, tensors: Sequence[Tensor]) -> Any:
        shown = tuple(self._shown(tensor) for tensor in tensors)
        return shown if self.several_outputs else shown[0]

    def like_both(self, rows: Sequence[tuple[Tensor, ...]]) -> Any:
        shown = tuple(self.like_inputs(row) for row in rows)
        return shown if self.several_outputs else shown[0]


def _absent(i: int, what: str, where: str | None) -> str:
    if where is not None:
        return f"{where} independent of input {i}. {_STRICT}."
    if what == "jacobian":
        return (
            f"The gradient with respect to the input is independent of entry {i} in the grad_outputs when using the "
            f"double backward trick to compute forward mode gradients. {_STRICT}."
        )
    return (
        f"The hessian of the user-provided function is independent of entry {i} in the grad_jacobian. {_STRICT} as it "
        "prevents from using the double backward trick to replace forward mode AD."
    )


def _checked(given: Any, what: str, api: str) -> tuple[bool, tuple[Tensor, ...]]:
    """Whether it is a tuple, and the tuple."""
    several = isinstance(given, tuple)
    tensors = given if several else (given,)
    for i, tensor in enumerate(tensors):
        if not isinstance(tensor, Tensor):
            which = f"value at index {i}" if several else f"given {what}"
            raise TypeError(
                f"The {what} given to {api} must be either a Tensor or a tuple of Tensors but the {which} has type "
                f"{type(tensor)}."
            )
    return several, tensors


def _check_single(api: str, several: bool, outputs: tuple[Tensor, ...]) -> None:
    if several:
        raise RuntimeError(f"The function given to {api} should return a single Tensor")
    if outputs[0]._node.aval.size != 1:
        raise RuntimeError(f"The Tensor returned by the function given to {api} should contain a single element")


def _check_depends(tensors: Sequence[Any], what: str, strict: bool) -> None:
    """In strict mode, raises unless all can be differentiated."""
    if not strict:
        return
    for i, tensor in enumerate(tensors):
        if tensor is None:
            raise RuntimeError(f"The output of the user-provided function is independent of input {i}. {_STRICT}.")
        if tensor.requires_grad:
            continue
        if what == "outputs":
            raise RuntimeError(
                f"Output {i} of the user-provided function does not require gradients. The outputs must be computed in "
                "a differentiable manner from the input when running in strict mode."
            )
        if what == "grad_inputs":
            raise RuntimeError(
                f"The gradient with respect to input {i} is independent of the inputs of the user-provided function. "
                f"{_STRICT}."
            )
        if what == "jacobian":
            raise RuntimeError(
                "While computing the hessian, found that the jacobian of the user-provided function with respect to "
                f"input {i} is independent of the input. {_STRICT}. You should ensure that your function is twice "
                "differentiable and that the jacobian depends on the inputs (this would be violated by a linear "
                "function for example)."
            )
        raise RuntimeError(
            f"The hessian of the user-provided function with respect to input {i} is independent of the input. "
            f"{_STRICT}. You should ensure that your function is thrice differentiable and that the hessian depends on "
            "the inputs."
        )


def _gradients(
    outputs: Sequence[Any],
    inputs: Sequence[Tensor],
    factors: Sequence[Any],
    create_graph: bool,
    batched: bool = False,
    retain_graph: bool | None = None,
) -> tuple[Any, ...]:
    """The gradients of those outputs that have any; None for an input that none of them depends on."""
    pairs = [
        (out, factor) for out, factor in zip(outputs, factors, strict=True) if out is not None and out.requires_grad
    ]
    if not pairs:
        return (None,) * len(inputs)
    return grad(
        [out for out, _ in pairs],
        tuple(inputs),
        [factor for _, factor in pairs],
        retain_graph=retain_graph,
        create_graph=create_graph,
        allow_unused=True,
        is_grads_batched=batched,
    )

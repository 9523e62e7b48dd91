"""Transforms that differentiate: a function becomes its gradient, its Jacobian or its Hessian."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from flambeau import dtypes
from flambeau.autograd.grad_mode import mode
from flambeau.func.entry import Call, Linear, pullback, released
from flambeau.func.vmap import vmap
from flambeau.tensor.tensor import Tensor
from flambeau.utils._pytree import TreeSpec, tree_flatten, tree_leaves, tree_map, tree_unflatten

Argnums = int | tuple[int, ...]


def grad(func: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False) -> Callable[..., Any]:
    """A function that gives the gradient of ``func``, which returns a scalar.

    Args:
        func: the function.
        argnums: the argument, or the arguments, to differentiate with respect to; structures of tensors.
        has_aux: whether ``func`` returns (scalar, something else), and the gradient is to come with the latter.

    Raises:
        RuntimeError: if the result is no scalar tensor, or an argument is not of a floating-point type.

    Example:
        >>> import flambeau as torch
        >>> torch.func.grad(torch.func.grad(torch.sin))(torch.tensor(0.5))
        tensor(-0.4794)
    """
    with_value = grad_and_value(func, argnums, has_aux)

    @functools.wraps(func)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        found, value = with_value(*args, **kwargs)
        return (found, value[1]) if has_aux else found

    return wrapped


def grad_and_value(func: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False) -> Callable[..., Any]:
    """As :func:`grad`, giving (gradient, value), or (gradient, (value, something else)).

    Example:
        >>> import flambeau as torch
        >>> torch.func.grad_and_value(lambda x: x * x)(torch.tensor(3.0))
        (tensor(6.), tensor(9.))
    """
    what = "grad_and_value(f)(*args): "

    @functools.wraps(func)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        call = Call()
        leaves, spec, put = _differentiated(args, argnums)
        given, wanted = call.enter(leaves)
        with call.running():
            output = func(*put(tree_unflatten(given, spec)), **kwargs)
            output, aux = _with_aux(output, has_aux, what)
            if not isinstance(output, Tensor):
                raise RuntimeError(f"{what}Expected f(*args) to return a Tensor, got {type(output)}")
            if output.ndim != 0:
                raise RuntimeError(
                    f"{what}Expected f(*args) to return a scalar Tensor, got tensor with {output.ndim} dims. Maybe you "
                    "wanted to use the vjp or jacrev APIs instead?"
                )
            found = pullback([output], wanted, [None])
        aux_leaves, aux_spec = tree_flatten(aux)
        shown = call.leave([*found, output, *aux_leaves])
        gradient = tree_unflatten(shown[: len(found)], spec)
        value = shown[len(found)]
        return gradient, (value, tree_unflatten(shown[len(found) + 1 :], aux_spec)) if has_aux else value

    return wrapped


def vjp(func: Callable[..., Any], *primals: Any, has_aux: bool = False) -> Any:
    """The result of a function, and a function that gives the vector-Jacobian product.

    Args:
        func: takes the primals, returns tensors.
        primals: tensors or structures of them.
        has_aux: whether ``func`` returns (results, something else), which is then given as a third.

    Returns:
        ``(output, vjp_fn)``; ``vjp_fn`` takes cotangents, in the structure of the output, and gives a tuple of
        gradients, one per primal.

    Raises:
        RuntimeError: if an output is not a tensor of a floating-point or complex type, or the cotangents are not
            made as the output is.

    Example:
        >>> import flambeau as torch
        >>> value, pull = torch.func.vjp(torch.sin, torch.zeros(2))
        >>> pull(torch.ones(2))
        (tensor([1., 1.]),)
    """
    output, pull, aux = _vjp(func, primals, None, has_aux)
    return (output, pull, aux) if has_aux else (output, pull)


def _vjp(func: Callable[..., Any], primals: tuple[Any, ...], argnums: Argnums | None, has_aux: bool) -> Any:
    call = Call()
    leaves, spec, put = _differentiated(primals, argnums)
    given, wanted = call.enter(leaves)
    with call.running():
        output = func(*put(tree_unflatten(given, spec)))
        output, aux = _with_aux(output, has_aux, "vjp(f, *primals): ")
        outs, out_spec = tree_flatten(output)
        _check_outputs(outs, "vjp(f, *primals)")
        for out in outs:
            if out.dtype.category < dtypes.FLOATING:
                raise RuntimeError(
                    "vjp(f, ...): All outputs of f must be floating-point or complex Tensors, got Tensor with dtype "
                    f"{out.dtype}"
                )

    def pull(cotangents: Any, retain_graph: bool = True, create_graph: bool | None = None) -> Any:
        flat, given_spec = tree_flatten(cotangents)
        if given_spec != out_spec:
            raise RuntimeError(
                "Expected pytree structure of cotangents to be the same as pytree structure of outputs to the "
                f"function. cotangents: {given_spec}, primal output: {out_spec}"
            )
        create = mode.grad if create_graph is None else create_graph
        found = pullback(outs, wanted, flat, retain_graph, create)
        return tree_unflatten([released(g) for g in found], spec)

    aux_leaves, aux_spec = tree_flatten(aux)
    shown = call.leave([*outs, *aux_leaves])
    aux = tree_unflatten(shown[len(outs) :], aux_spec)
    return tree_unflatten(shown[: len(outs)], out_spec), pull, aux


def jvp(func: Callable[..., Any], primals: Any, tangents: Any, *, strict: bool = False, has_aux: bool = False) -> Any:
    """The result of a function, and its derivative in a direction: the Jacobian-vector product.

    It is computed by differentiating backward twice.

    Args:
        func: takes the primals, returns tensors.
        primals: a tuple of tensors or structures of them.
        tangents: the direction, made as the primals are.
        strict: raise if an output does not depend on the primals, instead of giving zeros.
        has_aux: whether ``func`` returns (results, something else), which is then given as a third.

    Raises:
        RuntimeError: if primals or tangents are not such tuples, or differ in structure or shape.

    Example:
        >>> import flambeau as torch
        >>> torch.func.jvp(torch.sin, (torch.zeros(2),), (torch.tensor([1.0, 2.0]),))
        (tensor([0., 0.]), tensor([1., 2.]))
    """
    output, tangent, aux = _jvp(func, primals, tangents, None, strict, has_aux)
    return (output, tangent, aux) if has_aux else (output, tangent)


_JVP = "jvp(f, primals, tangents)"


def _jvp(
    func: Callable[..., Any], primals: Any, tangents: Any, argnums: Argnums | None, strict: bool, has_aux: bool
) -> Any:
    if not isinstance(primals, tuple):
        raise RuntimeError(f"{_JVP}: Expected primals to be a tuple. E.g. it should be valid to call f(*primals).")
    leaves, spec, put = _differentiated(primals, argnums)
    flat, given_spec = tree_flatten(tangents)
    if given_spec != spec:
        raise RuntimeError(
            f"{_JVP}: Expected primals and tangents to have the same python structure. For example, if primals is a "
            f"tuple of 3 tensors, tangents also must be. Got primals with structure {spec} and tangents with structure "
            f"{given_spec}"
        )
    for name, tensors in (("primals", leaves), ("tangents", flat)):
        _check_tensors(tensors, name)
    _check_tangents(leaves, flat)
    call = Call()
    given, wanted = call.enter(leaves)
    with call.running():
        output = func(*put(tree_unflatten(given, spec)))
        output, aux = _with_aux(output, has_aux, f"{_JVP}: ")
        outs, out_spec = tree_flatten(output)
        _check_outputs(outs, _JVP)
        pushed = Linear(outs, wanted)(flat)
    if strict and None in [None if t is None else 0 for t in pushed]:
        raise RuntimeError(
            "jvp(f, primals, tangents, strict=True): The output of f is independent of the inputs. This is not allowed "
            "with strict=True."
        )
    moved = [out.new_zeros(out.shape) if t is None else t for out, t in zip(outs, pushed, strict=True)]
    aux_leaves, aux_spec = tree_flatten(aux)
    shown = call.leave([*outs, *moved, *aux_leaves])
    n = len(outs)
    return (
        tree_unflatten(shown[:n], out_spec),
        tree_unflatten(shown[n : 2 * n], out_spec),
        tree_unflatten(shown[2 * n :], aux_spec),
    )


def linearize(func: Callable[..., Any], *primals: Any) -> tuple[Any, Callable[..., Any]]:
    """The result of a function, and its derivative there as a function of tangents.

    Example:
        >>> import flambeau as torch
        >>> value, derivative = torch.func.linearize(torch.sin, torch.zeros(2))
        >>> derivative(torch.tensor([1.0, 2.0]))
        tensor([1., 2.])
    """
    call = Call()
    leaves, spec, put = _differentiated(primals, None)
    given, wanted = call.enter(leaves)
    with call.running():
        outs, out_spec = tree_flatten(func(*put(tree_unflatten(given, spec))))
        _check_outputs(outs, "linearize(f, *primals)")
        linear = Linear(outs, wanted)
    avals = [leaf._node.aval for leaf in leaves]

    def push(*tangents: Any) -> Any:
        flat, given_spec = tree_flatten(tangents)
        if given_spec != spec:
            raise RuntimeError(f"Expected the tangents {given_spec} to have the same argspec as the primals {spec}")
        for i, (tangent, aval) in enumerate(zip(flat, avals, strict=True)):
            if tuple(tangent.shape) != aval.shape:
                raise RuntimeError(
                    f"tangent:{i} with shape {tangent.shape} in flattened pytree doesn't match the shape "
                    f"{list(aval.shape)} of the corresponding primal."
                )
            if tangent.dtype is not aval.dtype:
                raise RuntimeError(
                    f"tangent:{i} with dtype {tangent.dtype} in flattened pytree doesn't match the dtype {aval.dtype} "
                    "of the corresponding primal."
                )
        pushed = linear(flat, mode.grad)
        zeros = [out.new_zeros(out.shape) if t is None else released(t) for out, t in zip(outs, pushed, strict=True)]
        return tree_unflatten(zeros, out_spec)

    return tree_unflatten(call.leave(outs), out_spec), push


def jacrev(
    func: Callable[..., Any],
    argnums: Argnums = 0,
    *,
    has_aux: bool = False,
    chunk_size: int | None = None,
    _preallocate_and_copy: bool = False,
) -> Callable[..., Any]:
    """A function that gives the Jacobian of ``func``, by going backward once per element of its result.

    Args:
        func: takes and returns real tensors or structures of them.
        argnums: the argument, or the arguments, to differentiate with respect to.
        has_aux: whether ``func`` returns (results, something else), and the Jacobian is to come with the latter.
        chunk_size: how many elements to take at a time; all if None.

    Returns:
        For each result, for each argument, a tensor of the result's shape followed by the argument's.

    Example:
        >>> import flambeau as torch
        >>> torch.func.jacrev(lambda x: x * x)(torch.tensor([1.0, 2.0]))
        tensor([[2., 0.],
                [0., 4.]])
    """
    if chunk_size is not None and chunk_size <= 0:
        raise ValueError("jacrev: `chunk_size` should be greater than 0.")

    @functools.wraps(func)
    def wrapped(*args: Any) -> Any:
        _refuse_complex("jacrev", args, "inputs")
        outer = mode.grad
        output, pull, aux = _vjp(func, args, argnums, has_aux)
        outs, out_spec = tree_flatten(output)
        _refuse_complex("jacrev", outs, "outputs")
        leaves, spec, _ = _differentiated(args, argnums)
        columns = _by_chunks(pull, standard_basis(outs), out_spec, chunk_size)
        sizes = [_count(out) for out in outs]
        per_input = [column.split(sizes, 0) for column in columns]
        found = []
        for i, out in enumerate(outs):
            row = [
                released(parts[i].reshape(*out.shape, *leaf.shape), outer)
                for parts, leaf in zip(per_input, leaves, strict=True)
            ]
            found.append(tree_unflatten(row, spec))
        jacobian = tree_unflatten(found, out_spec)
        return (jacobian, aux) if has_aux else jacobian

    return wrapped


def _by_chunks(pull: Callable[..., Any], basis: list[Tensor], spec: TreeSpec, chunk_size: int | None) -> list[Tensor]:
    """Per input, the gradients for each row of the basis, stacked."""
    from flambeau.ops.join import cat

    total = basis[0].shape[0]
    step = total if chunk_size is None else min(chunk_size, total)
    if not step:
        return tree_leaves(vmap(pull)(tree_unflatten(basis, spec)))
    parts = []
    for start in range(0, total, step):
        rows = [b[start : start + step] for b in basis]
        if chunk_size == 1:
            found = tree_leaves(pull(tree_unflatten([row[0] for row in rows], spec)))
            parts.append([g.unsqueeze(0) for g in found])
        else:
            parts.append(tree_leaves(vmap(pull)(tree_unflatten(rows, spec))))
    return parts[0] if len(parts) == 1 else [cat(column) for column in zip(*parts, strict=True)]


def jacfwd(
    func: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False, *, randomness: str = "error"
) -> Callable[..., Any]:
    """A function that gives the Jacobian of ``func``, by one directional derivative per element of its arguments.

    Arguments and result are those of :func:`jacrev`; ``randomness`` is that of :func:`vmap`.

    Example:
        >>> import flambeau as torch
        >>> torch.func.jacfwd(lambda x: x * x)(torch.tensor([1.0, 2.0]))
        tensor([[2., 0.],
                [0., 4.]])
    """

    @functools.wraps(func)
    def wrapped(*args: Any) -> Any:
        _refuse_complex("jacfwd", args, "inputs")
        outer = mode.grad
        leaves, spec, _ = _differentiated(args, argnums)
        sizes = [_count(leaf) for leaf in leaves]

        def push(basis: Any) -> Any:
            output, tangent, aux = _jvp(func, args, basis, argnums, False, has_aux)
            _refuse_complex("jacfwd", output, "outputs")
            return (tangent, aux) if has_aux else tangent

        found = vmap(push, randomness=randomness)(tree_unflatten(standard_basis(leaves), spec))
        aux = None
        if has_aux:
            found, aux = found
            aux = tree_map(lambda value: value[0], aux)
        outs, out_spec = tree_flatten(found)
        rows = []
        for out in outs:
            parts = out.movedim(0, -1).split(sizes, -1)
            row = [
                released(part.reshape(*out.shape[1:], *leaf.shape), outer)
                for part, leaf in zip(parts, leaves, strict=True)
            ]
            rows.append(tree_unflatten(row, spec))
        jacobian = tree_unflatten(rows, out_spec)
        return (jacobian, aux) if has_aux else jacobian

    return wrapped


def hessian(func: Callable[..., Any], argnums: Argnums = 0) -> Callable[..., Any]:
    """A function that gives the second derivatives of ``func``: the Jacobian of its Jacobian.

    Example:
        >>> import flambeau as torch
        >>> torch.func.hessian(lambda x: (x ** 3).sum())(torch.tensor([1.0, 2.0]))
        tensor([[ 6.,  0.],
                [ 0., 12.]])
    """
    # Forward mode costs two passes backward here, so the outer Jacobian goes backward as well.
    return jacrev(jacrev(func, argnums), argnums)


# ---------------------------------------------------------------- arguments and results


def _differentiated(args: tuple[Any, ...], argnums: Argnums | None) -> tuple[list[Any], TreeSpec, Any]:
    """The leaves of what is differentiated, their structure, and how to put new ones among the arguments."""
    if argnums is None:
        leaves, spec = tree_flatten(args)
        return leaves, spec, lambda given: given
    places = _checked_argnums(argnums, len(args))
    chosen = tuple(args[i] for i in places)
    leaves, spec = tree_flatten(chosen[0] if isinstance(argnums, int) else chosen)

    def put(given: Any) -> tuple[Any, ...]:
        new = dict(zip(places, (given,) if isinstance(argnums, int) else given, strict=True))
        return tuple(new.get(i, arg) for i, arg in enumerate(args))

    return leaves, spec, put


def _checked_argnums(argnums: Any, count: int) -> tuple[int, ...]:
    if not isinstance(argnums, int | tuple):
        raise RuntimeError(f"argnums must be int or Tuple[int, ...], got: {type(argnums)}")
    places = []
    for place in (argnums,) if isinstance(argnums, int) else argnums:
        if not isinstance(place, int):
            raise RuntimeError(f"argnum must be int, got: {type(place)}")
        if not -count <= place < count:
            raise RuntimeError(f"Got argnum={place}, but only {count} positional inputs")
        places.append(place % count)
    if not places:
        raise RuntimeError("argnums must be non-empty")
    if len(set(places)) != len(places):
        raise RuntimeError(f"argnums elements must be unique, got {tuple(places)}")
    return tuple(places)


def _with_aux(output: Any, has_aux: bool, what: str) -> tuple[Any, Any]:
    if not has_aux:
        return output, None
    if not (isinstance(output, tuple) and len(output) == 2):
        raise RuntimeError(f"{what}output of function f should be a tuple: (output, aux) if has_aux is True")
    return output


def _check_outputs(outs: list[Any], api: str) -> None:
    if not outs or (len(outs) == 1 and outs[0] is None):
        raise RuntimeError(f"{api}: Expected f to be a function that has non-empty output (got output = {outs})")
    for out in outs:
        if not isinstance(out, Tensor):
            raise RuntimeError(f"{api}: expected f(*primals) to return only tensors, got unsupported type {type(out)}")


def _check_tensors(tensors: list[Any], name: str) -> None:
    if not tensors:
        raise RuntimeError(f"{_JVP}: Expected {name} to contain at least one Tensor.")
    for tensor in tensors:
        if not isinstance(tensor, Tensor):
            raise RuntimeError(f"{_JVP}: Expected {name} to only contain Tensors, got {type(tensor)}")


def _check_tangents(primals: list[Tensor], tangents: list[Tensor]) -> None:
    for primal, tangent in zip(primals, tangents, strict=True):
        if primal.shape != tangent.shape:
            raise RuntimeError(
                f"Trying to set a forward gradient that has a different size than that of the original Tensor, this is "
                f"not supported. Tensor is of size {list(primal.shape)} while the given forward gradient is of size "
                f"{list(tangent.shape)}."
            )


def _refuse_complex(api: str, args: Any, what: str) -> None:
    for i, arg in enumerate(tree_leaves(args)):
        if isinstance(arg, Tensor) and arg.dtype.is_complex:
            raise RuntimeError(
                f"{api}: Expected all {what} to be real but received complex tensor at flattened input idx: {i}"
            )


def _count(tensor: Tensor) -> int:
    return tensor._node.aval.size


def standard_basis(tensors: Sequence[Tensor]) -> list[Tensor]:
    """The unit vectors of a space made of the elements of several tensors, each cut to the tensors' shapes."""
    from flambeau.ops.ranges import eye

    total = sum(_count(tensor) for tensor in tensors)
    found = []
    start = 0
    for tensor in tensors:
        size = _count(tensor)
        unit = eye(total, dtype=tensor.dtype, device=tensor.device)
        found.append(unit[:, start : start + size].reshape(total, *tensor.shape))
        start += size
    return found

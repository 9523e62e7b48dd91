"""One recorded operation that updates all parameters of a group.

An update rule is array code for one parameter; the operator made of it runs the rule for each, so a
step costs one node however many parameters there are.  Learning rates and other numbers that change
are inputs, not static parameters: changing one never compiles anything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from flambeau import devices, dtypes
from flambeau.graph.node import Aval, leaf, number
from flambeau.graph.observer import current as looking
from flambeau.graph.op import Call
from flambeau.ops.operator import NotDifferentiable, Operator, operator
from flambeau.tensor.tensor import Tensor, wrap
from flambeau.tensor.views import write

_NO_DERIVATIVE = NotDifferentiable("an optimizer's step is not differentiable")


class Update:
    """An update rule as an operator.

    Args:
        name: the operator's name.
        rule: ``rule(xp, param, grad, states, numbers, flags) -> (param, states)`` on arrays, where
            ``states`` is a tuple of arrays, ``numbers`` the changing numbers and ``flags`` the static
            choices.  Complex arrays arrive as real ones with a last dimension of two.
        samples: examples for the generic operator tests.
    """

    def __init__(self, name: str, rule: Callable[..., Any], samples: Callable[[], list[Any]]) -> None:
        self._operator: Operator = operator(name, _shapes, _kernel_of(rule), _NO_DERIVATIVE, samples=samples)
        self._operator.pieces = _pieces_of(rule)

    def __call__(
        self,
        params: Sequence[Tensor],
        grads: Sequence[Tensor],
        states: Sequence[Sequence[Tensor]],
        numbers: Callable[[float], Sequence[Any]],
        flags: tuple[Any, ...] = (),
        counts: Sequence[Tensor] = (),
    ) -> None:
        """Updates parameters and states in place.

        Args:
            params, grads: one each per parameter.
            states: for each kind of state, one tensor per parameter.
            numbers: gives the changing numbers, for the count of steps.
            flags: the static choices.
            counts: the parameters' counts of steps, all equal: one is added to each.
        """
        given = list(numbers(advanced(counts)))
        if looking.observer is not None:
            given = _announced(given, lambda: numbers(advanced(counts)))
        if devices.accelerated and len({p.device for p in params}) > 1:
            for at in _by_device(params):
                kinds = [[kind[i] for i in at] for kind in states]
                self._record(given, [params[i] for i in at], [grads[i] for i in at], kinds, flags)
        else:
            self._record(given, params, grads, states, flags)

    def _record(
        self,
        given: list[Any],
        params: Sequence[Tensor],
        grads: Sequence[Tensor],
        states: Sequence[Sequence[Tensor]],
        flags: tuple[Any, ...],
    ) -> None:
        inputs = [*given, *params, *grads]
        for kind in states:
            inputs.extend(kind)
        results = self._operator(inputs, len(given), len(params), flags)
        boxes = [*params]
        for kind in states:
            boxes.extend(kind)
        for box, new in zip(boxes, results, strict=True):
            if box._base is None:
                box._node = new._node
                box._writes += 1
            else:
                write(box, new)


def _by_device(params: Sequence[Tensor]) -> list[list[int]]:
    """The places of parameters, those on one device together."""
    found: dict[devices.device, list[int]] = {}
    for i, p in enumerate(params):
        found.setdefault(p.device, []).append(i)
    return list(found.values())


def _announced(numbers: list[Any], again: Callable[[], Sequence[Any]]) -> list[Any]:
    """Numbers as leaves whose source is known to whoever captures the step."""
    places = [i for i, x in enumerate(numbers) if not isinstance(x, Tensor)]
    for i in places:
        numbers[i] = wrap(number(numbers[i]))
    observer = looking.observer
    assert observer is not None

    def again_some() -> list[Any]:
        fresh = again()
        return [fresh[i] for i in places]

    observer.numbers([numbers[i]._node for i in places], again if len(places) == len(numbers) else again_some)
    return numbers


def advanced(counts: Sequence[Tensor]) -> float:
    """Adds one to equal counts of steps; the new count (0.0 where none is kept)."""
    if not counts:
        return 0.0
    step = float(counts[0]._node.value) + 1
    node = leaf(np.asarray(step, np.float32), dtypes.float32)
    for box in counts:
        box._node = node
    return step


def _shapes(*inputs: Aval, numbers: int, count: int, flags: tuple[Any, ...]) -> tuple[Aval, ...]:
    params = inputs[numbers : numbers + count]
    grads = inputs[numbers + count : numbers + 2 * count]
    for param, grad in zip(params, grads, strict=True):
        if param.shape != grad.shape:
            raise RuntimeError(f"a parameter of shape {list(param.shape)} has a gradient of shape {list(grad.shape)}")
    return tuple([aval.of() for aval in (*params, *inputs[numbers + 2 * count :])])


def _kernel_of(rule: Callable[..., Any]) -> Callable[..., Any]:
    def kernel(xp: Any, *arrays: Any, numbers: int, count: int, flags: tuple[Any, ...]) -> Any:
        results = [None] * (len(arrays) - numbers - count)
        for i in range(count):
            places = _places(i, len(arrays), numbers, count)
            _update(results, i, rule, xp, [arrays[place] for place in places], numbers, count, flags)
        return tuple(results)

    return kernel


def _pieces_of(rule: Callable[..., Any]) -> Callable[[Call], list[tuple[Callable[..., None], tuple[int, ...]]]]:
    """One parameter's update at a time: its old value and states can go before the next one's are made."""

    def pieces(call: Call) -> list[tuple[Callable[..., None], tuple[int, ...]]]:
        numbers, count, flags = call.attrs

        def piece(i: int) -> Callable[..., None]:
            return lambda results, *arrays: _update(results, i, rule, np, arrays, numbers, count, flags)

        return [(piece(i), _places(i, len(call.inputs), numbers, count)) for i in range(count)]

    return pieces


def _places(i: int, inputs: int, numbers: int, count: int) -> tuple[int, ...]:
    """Where among the inputs the numbers are, and a parameter, its gradient and its states."""
    return (*range(numbers), *range(numbers + i, inputs, count))


def _update(
    results: list[Any], i: int, rule: Any, xp: Any, arrays: Sequence[Any], numbers: int, count: int, flags: Any
) -> None:
    """Puts a parameter's new value and states where they belong among the results."""
    param, grad, *state = arrays[numbers:]
    param, states = _applied(rule, xp, param, grad, tuple(state), arrays[:numbers], flags)
    results[i::count] = [param, *states]


def _applied(rule: Any, xp: Any, param: Any, grad: Any, state: Any, numbers: Any, flags: Any) -> Any:
    """One parameter's update; a complex one is a pair of real ones to every rule."""
    if param.dtype.kind != "c":
        return rule(xp, param, grad, state, _like(numbers, param), flags)
    pairs = [_pairs(xp, array) for array in (param, grad, *state)]
    new, states = rule(xp, pairs[0], pairs[1], tuple(pairs[2:]), _like(numbers, pairs[0]), flags)
    return _complex(new), tuple([_complex(array) for array in states])


def _like(numbers: Any, param: Any) -> list[Any]:
    """Numbers given as tensors, in the parameter's type, so that they do not promote it."""
    return [x.astype(param.dtype).reshape(()) if hasattr(x, "dtype") else x for x in numbers]


def _pairs(xp: Any, array: Any) -> Any:
    return xp.stack([array.real, array.imag], axis=-1)


def _complex(pairs: Any) -> Any:
    return (pairs[..., 0] + 1j * pairs[..., 1]).astype(_COMPLEX[pairs.dtype.name])


_COMPLEX = {"float32": np.complex64, "float64": np.complex128}

"""Operators as the graph knows them: a shape rule, kernels, and the calls seen so far."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any

from flambeau import devices, dtypes
from flambeau.graph.node import Aval

PROMOTIONS = (None, "common", "float")
CALLS_KEPT = 4096


class Call:
    """An operator with its static parameters, applied to inputs of known shapes and types.

    Calls are interned per operator, so the shape rule runs once for each distinct one and a
    program's structural key compares by identity.

    Attributes:
        op, attrs: the operator and its static parameters, in the order of the rule's keywords.
        inputs: abstract values of the inputs (None where absent).
        out: abstract value of the result, or a tuple of them.
        casts: per input, the dtype that it is converted to before the kernel, or None.
        params: the static parameters by name, as the kernels take them.
        place: the device that does it.
    """

    __slots__ = ("attrs", "casts", "inputs", "op", "out", "params", "place")

    def __init__(
        self,
        op: Op,
        attrs: tuple[Any, ...],
        inputs: tuple[Aval | None, ...],
        out: Any,
        casts: tuple[dtypes.dtype | None, ...] | None,
    ) -> None:
        self.op = op
        self.attrs = attrs
        self.inputs = inputs
        self.out = out
        self.casts = casts
        self.params = dict(zip(op.attr_names, attrs, strict=True))
        self.place = _place(op, inputs, out)

    def __repr__(self) -> str:
        given = ", ".join([*map(str, self.inputs), *(f"{k}={v}" for k, v in self.params.items())])
        return f"{self.op.name}({given})"


_UNACCELERATED = (devices.cpu, devices.meta)


def _place(op: Op, inputs: tuple[Aval | None, ...], out: Any) -> devices.device:
    """The device that does a call: its result's, but what an accelerator hands to the CPU leaves with its program.

    A whole program as one call belongs to the accelerator that it has to do with.
    """
    if not out:
        return devices.cpu
    if type(out) is tuple:
        there = (aval.device for aval in (*out, *inputs) if aval is not None and aval.device not in _UNACCELERATED)
        return next(there, devices.cpu)
    device = out.device
    if op.hands_over and device is devices.cpu:
        return inputs[0].device  # type: ignore[union-attr]  (it has one input)
    # Nothing is there to compute; where it is not done does not matter.
    return devices.cpu if device is devices.meta else device


class Op:
    """An operator.

    Args:
        name: its name, unique.
        rule: ``rule(*avals, *, attrs...) -> Aval | tuple[Aval, ...]``. The shape rule. Its positional
            parameters are the operator's inputs, its keyword-only parameters the static ones.
        kernel: ``kernel(xp, *arrays, attrs...)``: array code for ``xp`` NumPy or ``jax.numpy``.
        numpy: a kernel for NumPy alone, where the shared one will not do.
        lax: a kernel for JAX alone, likewise.
        promote: None: inputs reach the rule and the kernels as they are. ``"common"``: converted to
            their common type. ``"float"``: likewise, integers and bools to the default dtype.
        moves: whether the kernel only moves elements about (a reshape, a gather). Any other kernel
            sees float16 and bfloat16 as float32 and has its result rounded once at the end, as
            PyTorch's CPU kernels do.
        product: whether the kernel is made of matrix products or convolutions.  Traced for an accelerator, it is
            given float16 and bfloat16 as they are, since the hardware multiplies those and adds up in float32;
            its result, in float32 or not, is rounded all the same.

    Attributes:
        elementwise: whether each element of the result depends on the same element, after broadcasting, of
            each input alone; the factories of elementwise families set it.
        urgent: whether a program with this operator is compiled without waiting for a second run.
        hands_over: whether its result is on another device than its input.
        pieces: ``pieces(call)``: how NumPy may do it piece by piece, so that an input can go when its piece is
            done: functions with the places of the inputs that each reads.  They get the list of results, which
            they fill in, and those inputs; none of them can fail.
        fitted: ``fitted(call)``: for an operator that moves, what NumPy does in one call of it, as a function of the
            arrays alone; None where the kernel must do.  To show an array otherwise takes less time than to call a
            kernel for it.
    """

    def __init__(
        self,
        name: str,
        rule: Callable[..., Any],
        kernel: Callable[..., Any] | None = None,
        *,
        numpy: Callable[..., Any] | None = None,
        lax: Callable[..., Any] | None = None,
        promote: str | None = None,
        moves: bool = False,
        product: bool = False,
    ) -> None:
        if promote not in PROMOTIONS:
            raise ValueError(f"{name}: promote must be one of {PROMOTIONS}, got {promote!r}")
        numpy, lax = numpy or kernel, lax or kernel
        if numpy is None or lax is None:
            raise ValueError(f"{name}: an operator needs a kernel for each tier")
        code = rule.__code__
        self.name = name
        self.rule = rule
        self.numpy = numpy
        self.lax = lax
        self.promote = promote
        self.moves = moves
        self.product = product
        self.input_names = code.co_varnames[: code.co_argcount]
        self.attr_names = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
        self.variadic = bool(code.co_flags & inspect.CO_VARARGS)
        self.arity = code.co_argcount
        self.elementwise = False
        self.urgent = False
        self.hands_over = False
        self.pieces: Callable[[Call], list[tuple[Callable[..., None], tuple[int, ...]]]] | None = None
        self.fitted: Callable[[Call], Callable[..., Any] | None] | None = None
        self.calls: dict[tuple[Any, ...], Call] = {}
        OPS.append(self)

    def infer(self, key: tuple[Any, ...], attrs: tuple[Any, ...], inputs: tuple[Aval | None, ...]) -> Call:
        """Runs the shape rule for a call not seen before, and remembers it under ``key``."""
        checked = inputs
        casts = None
        if self.promote is not None:
            checked, casts = self._promoted(inputs)
        check_devices(self.name, inputs)
        out = self.rule(*checked, **dict(zip(self.attr_names, attrs, strict=True)))
        if out and not self.hands_over:
            _check_result(self.name, inputs, out[0] if type(out) is tuple else out)
        if len(self.calls) >= CALLS_KEPT:
            self.calls.clear()
        call = self.calls[key] = Call(self, attrs, inputs, out, casts)
        return call

    def _promoted(self, inputs: tuple[Aval | None, ...]) -> tuple[tuple[Any, ...], Any]:
        common = dtypes.result_dtype(aval for aval in inputs if aval is not None)
        if self.promote == "float" and common.category < dtypes.FLOATING:
            common = dtypes.get_default_dtype()
        checked = tuple(
            aval and (aval.of(dtype=common) if aval.dtype is not common or aval.weak else aval) for aval in inputs
        )
        casts = tuple(
            common if aval is not None and (aval.weak or aval.dtype is not common) else None for aval in inputs
        )
        return checked, (casts if any(casts) else None)

    def __repr__(self) -> str:
        return f"<operator {self.name}>"


OPS: list[Op] = []
"""Every operator, in the order of registration."""


def forget_calls() -> None:
    """Drops what shape rules found, since a global that they read (the default dtype) changed."""
    for op in OPS:
        op.calls.clear()


IN_ONE_PLACE = frozenset(
    """
    addbmm addmm addmv addr baddbmm cat complex cross_entropy ctc_loss embedding gather gcd igamma igammac index_add
    index_copy index_reduce index_select isin lcm linear logaddexp logaddexp2 masked_scatter masked_select matmul
    nextafter nll_loss polar put_ repeat_interleave scatter scatter_add scatter_amax scatter_amin scatter_prod
    searchsorted stack take
    """.split()
)
"""Where even a tensor of the CPU without dimensions does not go with an accelerator's.

PyTorch's own table, ``device_check`` of its ``native_functions.yaml``, exempts what is elementwise, with exceptions.
"""


def check_devices(name: str, inputs: Iterable[Aval | None]) -> None:
    """Raises if inputs are on several devices; numbers go with any, the CPU's tensors without dimensions with most."""
    first = None
    apart = name in IN_ONE_PLACE
    for aval in inputs:
        if aval is None or aval.weak or (not apart and not aval.shape and aval.device is devices.cpu):
            continue
        if first is None:
            first = aval.device
        elif aval.device is not first:
            raise RuntimeError(
                "Expected all tensors to be on the same device, but found at least two devices, "
                f"{first} and {aval.device}! ({name}; move one of them with .to('{first}'))"
            )


def _check_result(name: str, inputs: Iterable[Aval | None], out: Aval) -> None:
    """Raises if a tensor of the CPU without dimensions is what an operator works on, and others only tell how."""
    for aval in inputs:
        if aval is not None and aval.device is not out.device and aval.device is not devices.cpu:
            raise RuntimeError(
                "Expected all tensors to be on the same device, but found at least two devices, "
                f"{out.device} and {aval.device}! ({name}; move one of them with .to('{aval.device}'))"
            )

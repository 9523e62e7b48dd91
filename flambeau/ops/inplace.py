"""Functions that write into their first argument, such as ``exp_``; each is the method of that name."""

from __future__ import annotations

from typing import Any

from flambeau.ops.operator import public
from flambeau.ops.pointwise import checked_tensor
from flambeau.tensor.tensor import Tensor

# Those that PyTorch has: not every in-place method is a function as well.
_NAMES = """
    abs acos acosh addmv arccos arccosh arcsin arcsinh arctan arctanh as_strided asin asinh atan atanh ceil clamp
    clamp_max clamp_min clip conj_physical cos cosh deg2rad detach erf erfc exp exp2 expm1 fix floor frac gcd i0
    index_put lcm ldexp log log10 log1p log2 logit nan_to_num neg negative rad2deg reciprocal round rsqrt sigmoid sin
    sinc sinh sqrt square tan tanh trunc xlogy
"""


def _writing(name: str) -> None:
    def function(input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        checked_tensor(name, "input", 1, input)
        return getattr(input, name)(*args, **kwargs)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"In-place form of ``{name[:-1]}``: writes the result into ``input`` and returns it."
    public(name)(function)


for _name in _NAMES.split():
    _writing(_name + "_")

"""The ``out=`` of functions that cannot write over what they read."""

from __future__ import annotations

from typing import Any

from flambeau.return_types import named
from flambeau.tensor.tensor import Tensor


def check_apart(out: Tensor, *inputs: Any) -> None:
    """Raises if a tensor to be written to shares its elements with one that is read."""
    root = out if out._base is None else out._base
    for tensor in inputs:
        if isinstance(tensor, Tensor) and (tensor if tensor._base is None else tensor._base) is root:
            raise RuntimeError(
                "unsupported operation: some elements of the input tensor and the written-to tensor refer to a single "
                "memory location. Please clone() the tensor before performing the operation."
            )


def written_apart(name: str, result: Tensor, out: Any, *inputs: Any, exact: bool = False) -> Tensor:
    """The result, in ``out`` if that is given, which must not share elements with the inputs."""
    if out is None:
        return result
    from flambeau.tensor.out import write_out

    if isinstance(out, Tensor):
        check_apart(out, *inputs)
    return write_out(name, result, out, "exact" if exact else True)


def written(results: Any, out: Any, *inputs: Any) -> Any:
    """Several results, in the tensors of ``out``, of the very same types, if these are given."""
    if out is None:
        return results
    from flambeau.tensor.out import write_out

    name = type(results).__name__
    if not isinstance(out, Tensor):
        for target in out:
            if isinstance(target, Tensor):
                check_apart(target, *inputs)
        out = tuple(out)
    return named(name, *write_out(name, tuple(results), out, "exact"))

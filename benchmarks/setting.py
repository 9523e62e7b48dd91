"""What every library is given: the same sizes, weights and data, made in NumPy from names alone.

NumPy is imported where it is needed, so that the library under test comes first, as in a program that begins with its
import: what a library sets for NumPy counts only then.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

SEED = 2024


@dataclass
class Program:
    """A workload, built for one library.

    Attributes:
        step: the function that a library may compile.
        unit: ``unit(step, i)`` does the ``i``-th unit of work, which is what is timed, by calling ``step``;
            its result is what the libraries must agree on.
    """

    step: Callable[..., Any]
    unit: Callable[[Callable[..., Any], int], Any]


@dataclass(frozen=True)
class Setting:
    """On what, in which type and how large a workload is built.

    Attributes:
        device: ``"cpu"`` or ``"cuda"``.
        dtype: ``"float32"`` or ``"bfloat16"``, of the weights and of data that are not integers.
        sizes: replaces some of the workload's own sizes.
    """

    device: str = "cpu"
    dtype: str = "float32"
    sizes: dict[str, int] = field(default_factory=dict)

    def tensor(self, torch: Any, array: np.ndarray) -> Any:
        """An array as a tensor of the library, on the device."""
        tensor = torch.from_numpy(array)
        if array.dtype == "float32":
            tensor = tensor.to(getattr(torch, self.dtype))
        return tensor.to(self.device)

    def load(self, torch: Any, model: Any) -> Any:
        """The model with the weights that its parameters' names stand for, on the device."""
        state = model.state_dict()
        for name, parameter in model.named_parameters():
            state[name] = torch.from_numpy(weight(name, tuple(parameter.shape)))
        model.load_state_dict(state)
        return model.to(getattr(torch, self.dtype)).to(self.device)

    def arrays(self, tree: Any) -> Any:
        """NumPy arrays, in any nesting, as JAX's, on the device."""
        import jax
        import jax.numpy as jnp

        device = jax.devices({"cuda": "gpu"}.get(self.device, self.device))[0]

        def moved(array: np.ndarray) -> Any:
            if array.dtype == "float32":
                array = array.astype(jnp.dtype(self.dtype))
            return jax.device_put(array, device)

        return jax.tree.map(moved, tree)

    def weights(self, shapes: dict[str, tuple[int, ...]]) -> dict[str, Any]:
        """The weights of these names and shapes as JAX's arrays."""
        return self.arrays({name: weight(name, shape) for name, shape in shapes.items()})


def weight(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The values that a parameter starts from.

    Matrices and kernels are drawn with variance 1 / fan-in, biases near 0, the scales of normalisation
    layers near 1.
    """
    import numpy as np

    noise = normal(name, *shape)
    if len(shape) > 1:
        return noise * np.float32(np.prod(shape[1:]) ** -0.5)
    centre = np.float32(name.endswith("weight"))
    return centre + np.float32(0.05) * noise


def _generator(name: str) -> np.random.Generator:
    import numpy as np

    return np.random.default_rng([SEED, zlib.crc32(name.encode())])


def normal(name: str, *shape: int) -> np.ndarray:
    """Standard normal numbers that depend on the name alone."""
    return _generator(name).standard_normal(shape, dtype="float32")


def integers(name: str, below: int, *shape: int) -> np.ndarray:
    """Integers from 0 up, exclusive of ``below``, that depend on the name alone."""
    return _generator(name).integers(0, below, shape, dtype="int64")

"""Windows: weights that let a stretch of a signal begin and end softly.

Computed in double precision and rounded once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from flambeau import devices, dtypes
from flambeau.dtypes import FLOATING
from flambeau.ops.operator import public
from flambeau.ops.pointwise import with_example
from flambeau.tensor.tensor import Tensor, from_array

# ---------------------------------------------------------------- signal.windows


def _made(
    name: str,
    M: int,
    sym: bool,
    values: Callable[[np.ndarray, int], np.ndarray],
    dtype: dtypes.dtype | None,
    layout: Any,
    device: Any,
    requires_grad: bool,
) -> Tensor:
    """A window of M weights, ``values(0, 1, ..., span)``, where ``span`` is that of one period if not ``sym``."""
    dtype = dtype or dtypes.get_default_dtype()
    if M < 0:
        raise ValueError(f"{name} requires non-negative window length, got M={M}")
    if layout is not None and not str(layout).endswith("strided"):
        raise ValueError(f"{name} is implemented for strided tensors only, got: {layout}")
    if dtype not in (dtypes.float32, dtypes.float64):
        raise ValueError(f"{name} expects float32 or float64 dtypes, got: {dtype}")
    if M <= 1:
        array = np.ones(M)
    else:
        array = values(np.arange(M, dtype=np.float64), M - 1 if sym else M)
    result = from_array(array.astype(dtype.numpy), dtype)
    result = result.to(devices.resolve(device))
    return result.requires_grad_() if requires_grad else result


def _cosines(a: Sequence[float]) -> Callable[[np.ndarray, int], np.ndarray]:
    def values(n: np.ndarray, span: int) -> np.ndarray:
        return sum((-1) ** i * w * np.cos(2 * np.pi * i * n / span) for i, w in enumerate(a))  # type: ignore[return-value]

    return values


@public(into="signal.windows")
def general_cosine(
    M: int,
    *,
    a: Sequence[float],
    sym: bool = True,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """``sum_i (-1)^i a_i cos(2πin / (M-1))``; over M if not ``sym``.

    Raises:
        TypeError: unless the coefficients are a list or tuple.
        ValueError: if there are none.

    Example:
        >>> import flambeau as torch
        >>> torch.signal.windows.general_cosine(5, a=[0.5, 0.5])
        tensor([0.0000, 0.5000, 1.0000, 0.5000, 0.0000])
    """
    if not isinstance(a, list | tuple):
        if M >= 0 and (dtype is None or dtype in (dtypes.float32, dtypes.float64)):
            raise TypeError("Coefficients must be a list/tuple")
    elif not a:
        raise ValueError("Coefficients cannot be empty")
    return _made("general_cosine", M, sym, _cosines(a), dtype, layout, device, requires_grad)


@public(into="signal.windows")
def general_hamming(
    M: int,
    *,
    alpha: float = 0.54,
    sym: bool = True,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """``alpha - (1 - alpha) cos(2πn / (M-1))``.

    Example:
        >>> import flambeau as torch
        >>> torch.signal.windows.general_hamming(5, alpha=0.75)
        tensor([0.5000, 0.7500, 1.0000, 0.7500, 0.5000])
    """
    return _made("general_cosine", M, sym, _cosines((alpha, 1 - alpha)), dtype, layout, device, requires_grad)


_BLACKMAN = (0.42, 0.5, 0.08)
_NUTTALL = (0.3635819, 0.4891775, 0.1365995, 0.0106411)


def _fixed(
    name: str, a: tuple[float, ...], formula: str, refused: str = "general_cosine", *, example: tuple[str, str]
) -> None:
    def window(
        M: int,
        *,
        sym: bool = True,
        dtype: dtypes.dtype | None = None,
        layout: Any = None,
        device: Any = None,
        requires_grad: bool = False,
    ) -> Tensor:
        return _made(refused, M, sym, _cosines(a), dtype, layout, device, requires_grad)

    window.__name__ = window.__qualname__ = name
    window.__doc__ = with_example(f"``{formula}``, c_i being cos(2πin / (M-1)), over M if not ``sym``.", *example)
    public(name, into="signal.windows")(window)


_fixed(
    "hamming",
    (0.54, 0.46),
    "0.54 - 0.46 c_1",
    example=(
        "torch.signal.windows.hamming(5), torch.signal.windows.hamming(4, sym=False)",
        "(tensor([0.0800, 0.5400, 1.0000, 0.5400, 0.0800]), tensor([0.0800, 0.5400, 1.0000, 0.5400]))",
    ),
)
_fixed(
    "hann",
    (0.5, 0.5),
    "0.5 - 0.5 c_1",
    example=(
        "torch.signal.windows.hann(5), torch.signal.windows.hann(4, sym=False)",
        "(tensor([0.0000, 0.5000, 1.0000, 0.5000, 0.0000]), tensor([0.0000, 0.5000, 1.0000, 0.5000]))",
    ),
)
_fixed(
    "blackman",
    _BLACKMAN,
    "0.42 - 0.5 c_1 + 0.08 c_2",
    "blackman",
    example=("torch.signal.windows.blackman(5)[1:4]", "tensor([0.3400, 1.0000, 0.3400])"),
)
_fixed(
    "nuttall",
    _NUTTALL,
    "0.3635819 - 0.4891775 c_1 + 0.1365995 c_2 - 0.0106411 c_3",
    example=("torch.signal.windows.nuttall(5)", "tensor([3.6280e-04, 2.2698e-01, 1.0000e+00, 2.2698e-01, 3.6280e-04])"),
)


@public(into="signal.windows")
def bartlett(
    M: int,
    *,
    sym: bool = True,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """``1 - |2n / (M-1) - 1|``.

    Example:
        >>> import flambeau as torch
        >>> torch.signal.windows.bartlett(5)
        tensor([0.0000, 0.5000, 1.0000, 0.5000, 0.0000])
    """
    return _made("bartlett", M, sym, lambda n, span: 1 - np.abs(2 * n / span - 1), dtype, layout, device, requires_grad)


@public(into="signal.windows")
def cosine(
    M: int,
    *,
    sym: bool = True,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """``sin(π (n + 0.5) / M)``; over M + 1 if not ``sym``.

    Example:
        >>> import flambeau as torch
        >>> torch.signal.windows.cosine(3)
        tensor([0.5000, 1.0000, 0.5000])
    """
    return _made(
        "cosine", M, sym, lambda n, span: np.sin(np.pi * (n + 0.5) / (span + 1)), dtype, layout, device, requires_grad
    )


@public(into="signal.windows")
def exponential(
    M: int,
    *,
    center: float | None = None,
    tau: float = 1.0,
    sym: bool = True,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """``exp(-|n - center| / tau)``; ``center`` is the middle by default.

    Raises:
        ValueError: if ``tau`` is not positive, or ``center`` is given though the window is symmetric.

    Example:
        >>> import flambeau as torch
        >>> torch.signal.windows.exponential(5, tau=1.)
        tensor([0.1353, 0.3679, 1.0000, 0.3679, 0.1353])
    """
    if tau <= 0:
        raise ValueError(f"Tau must be positive, got: {tau} instead.")
    if sym and center is not None:
        raise ValueError("Center must be None for symmetric windows")
    return _made(
        "exponential",
        M,
        sym,
        lambda n, span: np.exp(-np.abs(n - (span / 2 if center is None else center)) / tau),
        dtype,
        layout,
        device,
        requires_grad,
    )


@public(into="signal.windows")
def gaussian(
    M: int,
    *,
    std: float = 1.0,
    sym: bool = True,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """``exp(-(n - middle)² / (2 std²))``.

    Raises:
        ValueError: if ``std`` is not positive.

    Example:
        >>> import flambeau as torch
        >>> torch.signal.windows.gaussian(5, std=1.)
        tensor([0.1353, 0.6065, 1.0000, 0.6065, 0.1353])
    """
    if std <= 0:
        raise ValueError(f"Standard deviation must be positive, got: {std} instead.")
    return _made(
        "gaussian",
        M,
        sym,
        lambda n, span: np.exp(-(((n - span / 2) / std) ** 2) / 2),
        dtype,
        layout,
        device,
        requires_grad,
    )


def _kaiser(beta: float) -> Callable[[np.ndarray, int], np.ndarray]:
    def values(n: np.ndarray, span: int) -> np.ndarray:
        return np.i0(beta * np.sqrt(np.maximum(1 - (2 * n / span - 1) ** 2, 0))) / np.i0(beta)

    return values


@public(into="signal.windows")
def kaiser(
    M: int,
    *,
    beta: float = 12.0,
    sym: bool = True,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """``I0(beta sqrt(1 - (2n / (M-1) - 1)²)) / I0(beta)``, I0 being the modified Bessel function.

    Raises:
        ValueError: if ``beta`` is negative.

    Example:
        >>> import flambeau as torch
        >>> torch.signal.windows.kaiser(5, beta=0.), torch.signal.windows.kaiser(3, beta=2.)
        (tensor([1., 1., 1., 1., 1.]), tensor([0.4387, 1.0000, 0.4387]))
    """
    if beta < 0:
        raise ValueError(f"beta must be non-negative, got: {beta} instead.")
    return _made("kaiser", M, sym, _kaiser(beta), dtype, layout, device, requires_grad)


# ---------------------------------------------------------------- the older names


def _older(
    name: str,
    window_length: int,
    periodic: bool,
    values: Callable[[np.ndarray, int], np.ndarray],
    dtype: dtypes.dtype | None,
    device: Any,
    requires_grad: bool,
) -> Tensor:
    dtype = dtype or dtypes.get_default_dtype()
    if dtype.category != FLOATING:
        raise RuntimeError(f"{name} expects floating point dtypes, got: {dtype.title}")
    if window_length < 0:
        raise RuntimeError(f"{name} requires non-negative window_length, got window_length={window_length}")
    if window_length <= 1:
        array = np.ones(window_length)
    else:
        span = window_length if periodic else window_length - 1
        array = values(np.arange(window_length, dtype=np.float64), span)
    result = from_array(array.astype(dtype.numpy), dtype)
    result = result.to(devices.resolve(device))
    return result.requires_grad_() if requires_grad else result


def _check_leading(name: str, **settings: Any) -> None:
    """Raises for a setting that is given without the one before it."""
    for (before, earlier), (setting, value) in pairwise(settings.items()):
        if earlier is None and value is not None:
            raise TypeError(
                f"{name}() received an invalid combination of arguments: {setting}={value} without {before} (of "
                f"window_length, {', '.join(settings)} only the last may be left out: give {before} too)"
            )


def _plain(name: str, values: Callable[[np.ndarray, int], np.ndarray], formula: str, example: tuple[str, str]) -> None:
    def window(
        window_length: int,
        periodic: bool = True,
        *,
        dtype: dtypes.dtype | None = None,
        layout: Any = None,
        device: Any = None,
        pin_memory: bool = False,
        requires_grad: bool = False,
    ) -> Tensor:
        return _older(name, window_length, periodic, values, dtype, device, requires_grad)

    window.__name__ = window.__qualname__ = name
    window.__doc__ = with_example(
        f"``{formula}``, N being the window's length if ``periodic``, else one less.", *example
    )
    public(name)(window)


_plain(
    "hann_window",
    _cosines((0.5, 0.5)),
    "0.5 - 0.5 cos(2πn / N)",
    example=(
        "torch.hann_window(4), torch.hann_window(5, periodic=False)",
        "(tensor([0.0000, 0.5000, 1.0000, 0.5000]), tensor([0.0000, 0.5000, 1.0000, 0.5000, 0.0000]))",
    ),
)
_plain(
    "blackman_window",
    _cosines(_BLACKMAN),
    "0.42 - 0.5 cos(2πn / N) + 0.08 cos(4πn / N)",
    example=("torch.blackman_window(6)[1:]", "tensor([0.1300, 0.6300, 1.0000, 0.6300, 0.1300])"),
)
_plain(
    "bartlett_window",
    lambda n, span: 1 - np.abs(2 * n / span - 1),
    "1 - |2n / N - 1|",
    example=(
        "torch.bartlett_window(4), torch.bartlett_window(5, periodic=False)",
        "(tensor([0.0000, 0.5000, 1.0000, 0.5000]), tensor([0.0000, 0.5000, 1.0000, 0.5000, 0.0000]))",
    ),
)


@public()
def hamming_window(
    window_length: int,
    periodic: bool | None = None,
    alpha: float | None = None,
    beta: float | None = None,
    *,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
) -> Tensor:
    """``alpha - beta cos(2πn / N)``, N being the window's length if ``periodic``, else one less.

    Args:
        periodic, alpha, beta: True, 0.54 and 0.46 if not given; none may be given without those before it.

    Raises:
        TypeError: for ``alpha`` without ``periodic``, or ``beta`` without ``alpha``.

    Example:
        >>> import flambeau as torch
        >>> torch.hamming_window(4), torch.hamming_window(5, periodic=False)
        (tensor([0.0800, 0.5400, 1.0000, 0.5400]), tensor([0.0800, 0.5400, 1.0000, 0.5400, 0.0800]))
    """
    _check_leading("hamming_window", periodic=periodic, alpha=alpha, beta=beta)
    periodic = True if periodic is None else periodic
    weights = (0.54 if alpha is None else alpha, 0.46 if beta is None else beta)
    return _older("hamming_window", window_length, periodic, _cosines(weights), dtype, device, requires_grad)


@public()
def kaiser_window(
    window_length: int,
    periodic: bool | None = None,
    beta: float | None = None,
    *,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
) -> Tensor:
    """``I0(beta sqrt(1 - (2n / N - 1)²)) / I0(beta)``, I0 being the modified Bessel function.

    Args:
        periodic, beta: True and 12 if not given; ``beta`` may not be given without ``periodic``.

    Raises:
        TypeError: for ``beta`` without ``periodic``.
        RuntimeError: if ``beta`` is not finite.

    Example:
        >>> import flambeau as torch
        >>> torch.kaiser_window(4, True, beta=2.), torch.kaiser_window(5, False, beta=2.)
        (tensor([0.4387, 0.8348, 1.0000, 0.8348]), tensor([0.4387, 0.8348, 1.0000, 0.8348, 0.4387]))
    """
    _check_leading("kaiser_window", periodic=periodic, beta=beta)
    periodic = True if periodic is None else periodic
    beta = 12.0 if beta is None else beta
    if not math.isfinite(beta):
        raise RuntimeError(f"kaiser_window requires a finite beta, got {beta}")
    return _older("kaiser_window", window_length, periodic, _kaiser(beta), dtype, device, requires_grad)

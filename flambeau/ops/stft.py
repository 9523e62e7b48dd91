"""The short-time Fourier transform and its inverse."""

from __future__ import annotations

from typing import Any

import numpy

from flambeau.dtypes import FLOATING
from flambeau.graph.node import Aval
from flambeau.ops.fft import C2C, C2R, FIT, R2C
from flambeau.ops.operator import operator, public
from flambeau.ops.samples import T, case
from flambeau.tensor.tensor import Tensor
from flambeau.user_warnings import warn

# ---------------------------------------------------------------- frames that overlap


def _frames_rule(x: Aval, *, size: int, step: int) -> Aval:
    return x.of((*x.shape[:-1], (x.shape[-1] - size) // step + 1, size))


def _frames_numpy(np: Any, x: Any, *, size: int, step: int) -> Any:
    return np.lib.stride_tricks.sliding_window_view(x, size, axis=-1)[..., ::step, :]


def _frames_lax(jnp: Any, x: Any, *, size: int, step: int) -> Any:
    return x[..., _places(x.shape[-1], size, step)]


def _places(length: int, size: int, step: int) -> Any:
    starts = numpy.arange(0, length - size + 1, step)
    return starts[:, None] + numpy.arange(size)


def _frames_derivative(grad: Tensor, x_shape: tuple[int, ...], step: int) -> Tensor:
    return OVERLAP(grad, step, x_shape[-1])


FRAMES = operator(
    "frames",
    _frames_rule,
    None,
    _frames_derivative,
    numpy=_frames_numpy,
    lax=_frames_lax,
    moves=True,
    samples=lambda: [case("stft", T(16), 4, return_complex=True)],
)


def _overlap_rule(x: Aval, *, step: int, length: int) -> Aval:
    return x.of((*x.shape[:-2], length))


def _overlap_numpy(np: Any, x: Any, *, step: int, length: int) -> Any:
    count, size = x.shape[-2:]
    result = np.zeros((*x.shape[:-2], length), x.dtype)
    for i in range(count):
        result[..., i * step : i * step + size] += x[..., i, :]
    return result


def _overlap_lax(jnp: Any, x: Any, *, step: int, length: int) -> Any:
    count, size = x.shape[-2:]
    places = numpy.arange(0, count * step, step)[:, None] + numpy.arange(size)
    return jnp.zeros((*x.shape[:-2], length), x.dtype).at[..., places].add(x)


def _overlap_derivative(grad: Tensor, x_shape: tuple[int, ...], step: int) -> Tensor:
    count, size = x_shape[-2:]
    return FRAMES(grad.narrow(-1, 0, (count - 1) * step + size), size, step)


OVERLAP = operator(
    "overlap_add",
    _overlap_rule,
    None,
    _overlap_derivative,
    numpy=_overlap_numpy,
    lax=_overlap_lax,
    samples=lambda: [case("stft", T(2, 16), 6, 3, return_complex=True)],
)


# ---------------------------------------------------------------- the window


def _window(function: str, window: Tensor | None, win_length: int, n_fft: int, like: Tensor) -> Tensor:
    """The window, ones by default, in the middle of ``n_fft`` elements."""
    if not 0 < win_length <= n_fft:
        raise RuntimeError(f"{function}: expected 0 < win_length <= n_fft, but got win_length={win_length}")
    if window is None:
        ones: Tensor = like.new_ones((win_length,), dtype=like.dtype.to_real())
        window = ones
    elif tuple(window.shape) != (win_length,):
        raise RuntimeError(
            f"{function}: expected a 1D window tensor of size equal to win_length={win_length}, but got window with "
            f"size {list(window.shape)}"
        )
    if win_length == n_fft:
        return window
    left = (n_fft - win_length) // 2
    padded = FIT(window.flip(0), (0,), (win_length + left,)).flip(0)
    return FIT(padded, (0,), (n_fft,))


# ---------------------------------------------------------------- there and back


@public(method=True)
def stft(
    input: Tensor,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Tensor | None = None,
    center: bool = True,
    pad_mode: str = "reflect",
    normalized: bool = False,
    onesided: bool | None = None,
    return_complex: bool | None = None,
    align_to_window: bool | None = None,
) -> Tensor:
    """Fourier transforms of windows that slide along a signal.

    ``X[f, t] = sum_k window[k] x[t hop + k] exp(-2πi fk / n_fft)``.

    Args:
        input: (L) or (B, L).
        n_fft: the size of each transform.
        hop_length: from one window to the next; a quarter of ``n_fft`` by default.
        win_length, window: the weights (ones by default), put in the middle of ``n_fft``.
        center: whether to pad so that window t has its middle at t times ``hop_length``.
        pad_mode: how, as of ``nn.functional.pad``.
        normalized: whether to divide by the root of ``n_fft``.
        onesided: whether to leave out the frequencies that real signals repeat; true by default where both are real.
        return_complex: must be true for a real signal; if false, real and imaginary parts along a last dimension.

    Returns:
        (B, frequencies, windows).

    Raises:
        RuntimeError: if the sizes do not fit, or ``return_complex`` is missing.

    Example:
        >>> import flambeau as torch
        >>> x = torch.cos(2 * torch.pi * 2 * torch.arange(16) / 8)
        >>> found = torch.stft(x, n_fft=8, window=torch.ones(8), center=False, return_complex=True)
        >>> found.shape, found.abs().argmax(0)
        (torch.Size([5, 5]), tensor([2, 2, 2, 2, 2]))
    """
    if window is None:
        _warn("A rectangular window will be applied, which is known to cause spectral leakage.")
    dtype = input.dtype
    if dtype.category < FLOATING:
        raise RuntimeError(
            f"stft({_shown(dtype.title, input)}, n_fft={n_fft}): expected a tensor of floating point or complex values"
        )
    hop_length = n_fft // 4 if hop_length is None else hop_length
    win_length = n_fft if win_length is None else win_length
    is_complex = dtype.is_complex or (window is not None and window.dtype.is_complex)
    if return_complex is None:
        if not is_complex:
            raise RuntimeError(
                "stft requires the return_complex parameter be given for real inputs, and will further require that "
                "return_complex=True in a future PyTorch release."
            )
        return_complex = True
    if input.ndim not in (1, 2):
        raise RuntimeError(f"stft({_shown(dtype.title, input)}): expected a 1D or 2D tensor")
    if align_to_window is not None and center:
        raise RuntimeError("stft align_to_window should only be set when center = false")
    x = input.unsqueeze(0) if input.ndim == 1 else input
    if center:
        x = _padded(x, n_fft // 2, pad_mode)
    length = x.shape[-1]
    what = f"stft({_shown(dtype.title, input)}, n_fft={n_fft}, hop_length={hop_length}, win_length={win_length})"
    size = win_length if align_to_window else n_fft
    if not 0 < n_fft <= length:
        raise RuntimeError(f"{what}: expected 0 < n_fft < {length}, but got n_fft={n_fft}")
    if hop_length <= 0:
        raise RuntimeError(f"{what}: expected hop_length > 0, but got hop_length={hop_length}")
    if align_to_window:
        left = (n_fft - size) // 2
        x = _padded_zeros(x, left, n_fft - size - left)
    frames = FRAMES(x, n_fft, hop_length)
    weights = _window(what, window, win_length, n_fft, input)
    if window is not None or win_length < n_fft:
        frames = frames * weights
    onesided = not is_complex if onesided is None else onesided
    if onesided and is_complex:
        raise RuntimeError("Cannot have onesided output if window or input is complex")
    scale = n_fft**-0.5 if normalized else 1.0
    if onesided:
        found = R2C(frames, (frames.ndim - 1,), scale)
    else:
        wide = frames.to(frames.dtype.to_complex())
        found = C2C(wide, (frames.ndim - 1,), scale, True)
    found = found.transpose(1, 2)
    if input.ndim == 1:
        found = found.squeeze(0)
    return found if return_complex else _parts(found)


def _warn(text: str) -> None:
    warn(f"A window was not provided. {text} window=torch.ones(n_fft) says so.")


def _parts(x: Tensor) -> Tensor:
    from flambeau.ops.join import stack

    return stack([x.real, x.imag], -1)


def _shown(title: str, x: Tensor) -> str:
    return f"torch.{title}Tensor[{', '.join(map(str, x.shape))}]"


def _padded(x: Tensor, room: int, mode: str) -> Tensor:
    from flambeau.ops.operator import NAMESPACES

    return NAMESPACES["nn.functional"]["pad"](x.unsqueeze(0), [room, room], mode).squeeze(0)


def _padded_zeros(x: Tensor, left: int, right: int) -> Tensor:
    last = x.ndim - 1
    size = x.shape[-1]
    flipped = FIT(x.flip(-1), (last,), (size + left,)).flip(-1)
    return FIT(flipped, (last,), (size + left + right,))


@public(method=True)
def istft(
    input: Tensor,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Tensor | None = None,
    center: bool = True,
    normalized: bool = False,
    onesided: bool | None = None,
    length: int | None = None,
    return_complex: bool = False,
) -> Tensor:
    """The signal of a short-time Fourier transform: the least squares solution (Griffin and Lim 1984).

    The windows' inverse transforms are weighted by the window once more, added where they overlap, and divided
    by the sum of the windows' squares.

    Args:
        input: (B, frequencies, windows), complex.
        length: cut, or filled with zeros, to it; otherwise as long as the windows reach.
        return_complex: whether the signal is complex, which needs all frequencies.

    Raises:
        RuntimeError: if the sizes do not fit, or the windows' squares add up to zero somewhere.

    Example:
        >>> import flambeau as torch
        >>> x, window = torch.arange(16.), torch.hann_window(8)
        >>> found = torch.istft(torch.stft(x, 8, window=window, return_complex=True), 8, window=window)
        >>> torch.allclose(found, x, atol=1e-5)
        True
    """
    if window is None:
        _warn("A rectangular window will be applied; give the one that stft was given.")
    hop_length = n_fft // 4 if hop_length is None else hop_length
    win_length = n_fft if win_length is None else win_length
    what = f"istft({_shown(input.dtype.title, input)}, n_fft={n_fft}, hop_length={hop_length}, win_length={win_length})"
    if not input.dtype.is_complex:
        raise RuntimeError(
            "istft requires a complex-valued input tensor matching the output from stft with return_complex=True."
        )
    if not input._node.aval.size:
        raise RuntimeError(f"{what}: input tensor cannot be empty.")
    if input.ndim not in (2, 3):
        raise RuntimeError(f"{what}: expected a tensor with 2 or 3 dimensions, but got {input.ndim}")
    x = input.unsqueeze(0) if input.ndim == 2 else input
    frequencies, count = x.shape[-2:]
    onesided = frequencies != n_fft if onesided is None else onesided
    wanted = n_fft // 2 + 1 if onesided else n_fft
    if frequencies != wanted:
        raise RuntimeError(
            f"{what}: expected the frequency dimension (3rd to the last) of the input tensor to match n_fft"
            f"{' / 2 + 1' if onesided else ''} when onesided={onesided}, but got {frequencies}"
        )
    if not 0 < hop_length <= win_length:
        raise RuntimeError(f"{what}: expected 0 < hop_length <= win_length")
    if not 0 < win_length <= n_fft:
        raise RuntimeError(f"{what}: expected 0 < win_length <= n_fft")
    if return_complex and onesided:
        raise RuntimeError("Cannot have onesided output if window or input is complex")
    if window is not None and window.dtype.is_complex and not return_complex:
        raise RuntimeError("Complex windows are incompatible with return_complex=False")
    weights = _window(what, window, win_length, n_fft, input)
    scale = n_fft**-0.5 if normalized else 1 / n_fft
    frames = x.transpose(1, 2)
    last = frames.ndim - 1
    if return_complex:
        frames = C2C(frames, (last,), scale, False)
    else:
        if not onesided:
            frames = frames.narrow(-1, 0, n_fft // 2 + 1)
        frames = C2R(frames, (last,), scale, n_fft)
    reach = n_fft + hop_length * (count - 1)
    signal = OVERLAP(frames * weights, hop_length, reach)
    squares = (weights * weights).expand((1, count, n_fft))
    envelope = OVERLAP(squares, hop_length, reach)
    start = n_fft // 2 if center else 0
    end = start + length if length is not None else reach - (n_fft // 2 if center else 0)
    end = min(end, reach)
    signal, envelope = (part.narrow(-1, start, end - start) for part in (signal, envelope))
    _check_envelope(what, envelope)
    found = signal / envelope
    if input.ndim == 2:
        found = found.squeeze(0)
    if length is not None and length > end - start:
        found = FIT(found, (found.ndim - 1,), (length,))
    return found


def _check_envelope(what: str, envelope: Tensor) -> None:
    if envelope.device.type == "meta":
        return
    smallest = abs(envelope.detach()._array()).min(initial=1)
    if not smallest > 1e-11:
        raise RuntimeError(f"{what}window overlap add min: {int(smallest > 1e-11)}")

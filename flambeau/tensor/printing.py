"""How a tensor is written out: NumPy arrays in, PyTorch's printed form out.

Nothing here knows tensors. The caller hands over the computed array together with the facts that
an array does not carry (dtype name, device, gradient), and `format_tensor` lays them out.

The work has three steps: cut the array down to the elements that will be shown, choose one number
format that suits all of them, and wrap the formatted elements in brackets, lines and suffixes.
Choosing the format after the cut keeps the cost of printing independent of the array's size.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

__all__ = [
    "format_scalar",
    "format_tensor",
    "get_printoptions",
    "printoptions",
    "set_printoptions",
]

# Beyond these bounds fixed-point columns get too wide or lose all digits.
_FIXED_POINT_MAX = 1.0e8
_FIXED_POINT_MIN = 1.0e-4
_FIXED_POINT_RATIO = 1000.0

_PROFILES: dict[str, dict[str, Any]] = {
    "default": {"precision": 4, "threshold": 1000, "edgeitems": 3, "linewidth": 80},
    "short": {"precision": 2, "threshold": 1000, "edgeitems": 2, "linewidth": 80},
    "full": {"precision": 4, "threshold": math.inf, "edgeitems": 3, "linewidth": 80},
}


@dataclasses.dataclass
class _PrintOptions:
    precision: int = 4
    threshold: float = 1000
    edgeitems: int = 3
    linewidth: int = 80
    sci_mode: bool | None = None


_options = _PrintOptions()


def set_printoptions(
    precision: int | None = None,
    threshold: float | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    profile: str | None = None,
    sci_mode: bool | None = None,
) -> None:
    """Change how tensors are printed from now on.

    Args:
        precision: digits after the decimal point (default 4).
        threshold: element count above which the middle is left out (default 1000).
        edgeitems: elements kept at each end of a shortened dimension (default 3).
        linewidth: characters a line may hold (default 80).
        profile: `"default"`, `"short"` or `"full"`: a set of values that the other arguments
            then override.
        sci_mode: `True` or `False` forces scientific notation on or off. Leaving it out hands the
            choice back to the values themselves, whatever an earlier call said.

    Example:
        >>> import flambeau as torch
        >>> torch.set_printoptions(precision=2, threshold=5, edgeitems=1)
        >>> torch.arange(6.) / 7
        tensor([0.00,  ..., 0.71])
        >>> torch.set_printoptions(profile="default")
        >>> torch.tensor([1 / 7])
        tensor([0.1429])
    """
    changes = dict(_PROFILES.get(profile, {})) if profile is not None else {}
    given = {
        "precision": precision,
        "threshold": threshold,
        "edgeitems": edgeitems,
        "linewidth": linewidth,
    }
    changes.update((name, value) for name, value in given.items() if value is not None)
    for name, value in changes.items():
        setattr(_options, name, value)
    _options.sci_mode = sci_mode


def get_printoptions() -> dict[str, Any]:
    """The current print options as a dict that `set_printoptions` accepts.

    Example:
        >>> import flambeau as torch
        >>> torch.get_printoptions()["precision"]
        4
    """
    return dataclasses.asdict(_options)


@contextlib.contextmanager
def printoptions(**kwargs: Any) -> Iterator[None]:
    """Apply `set_printoptions(**kwargs)` inside a `with` block only.

    Example:
        >>> import flambeau as torch
        >>> with torch.printoptions(precision=2, sci_mode=False):
        ...     print(torch.tensor([1e-3, 1e4]))
        tensor([    0.00, 10000.00])
    """
    saved = get_printoptions()
    set_printoptions(**kwargs)
    try:
        yield
    finally:
        set_printoptions(**saved)


@dataclasses.dataclass(frozen=True)
class _NumberFormat:
    """One format for every element shown, so that they line up in columns."""

    spec: str
    width: int
    # Whole-valued floats are printed without decimals, but keep the point that tells them
    # from integers.
    trailing_point: bool = False

    def text(self, value: Any) -> str:
        """The value without padding."""
        if isinstance(value, float):
            digits = format(value, self.spec)
            return digits + "." if self.trailing_point and math.isfinite(value) else digits
        return str(value)

    def padded(self, value: Any) -> str:
        return self.text(value).rjust(self.width)


@dataclasses.dataclass(frozen=True)
class _ComplexFormat:
    """Real and imaginary parts have a format each, as they may differ in magnitude."""

    real: _NumberFormat
    imag: _NumberFormat

    @property
    def width(self) -> int:
        # One more for the letter j.
        return self.real.width + self.imag.width + 1

    def padded(self, value: complex) -> str:
        imag = self.imag.text(value.imag)
        sign = "" if imag.startswith("-") else "+"
        return f"{self.real.padded(value.real)}{sign}{imag}j"


def _plain_format(values: np.ndarray) -> _NumberFormat:
    """The format of integers and booleans."""
    # Of all elements the smallest or the largest has the longest text (False is the smaller).
    widest = max(len(str(values.min().item())), len(str(values.max().item())))
    return _NumberFormat(spec="", width=widest)


def _extremes(values: np.ndarray) -> list[float]:
    """The elements of largest and smallest magnitude of either sign.

    Within one sign and one notation the length of the text changes only with the magnitude, so the
    longest text is among these.
    """
    found: list[float] = []
    for side in (values[values > 0], values[values < 0]):
        if side.size:
            found.append(float(side.min()))
            found.append(float(side.max()))
    return found


def _float_format(values: np.ndarray) -> _NumberFormat:
    """The format of floating-point elements given as float64."""
    finite = values[np.isfinite(values) & (values != 0)]
    if not finite.size:
        # Zeros, infinities and nan leave nothing to measure: even a forced sci_mode does not
        # reach them, and their width counts as one.
        return _NumberFormat(spec=".0f", width=1, trailing_point=True)

    magnitudes = np.abs(finite)
    largest = float(magnitudes.max())
    smallest = float(magnitudes.min())
    whole = bool((finite == np.ceil(finite)).all())

    scientific = _options.sci_mode
    if scientific is None:
        spread = largest / smallest > _FIXED_POINT_RATIO
        scientific = spread or largest > _FIXED_POINT_MAX
        if not whole:
            scientific = scientific or smallest < _FIXED_POINT_MIN

    if scientific:
        spec = f".{_options.precision}e"
    elif whole:
        spec = ".0f"
    else:
        spec = f".{_options.precision}f"
    unmeasured = _NumberFormat(spec=spec, width=0, trailing_point=whole and not scientific)
    widest = max(len(unmeasured.text(value)) for value in _extremes(finite))
    return dataclasses.replace(unmeasured, width=widest)


def _choose_format(values: np.ndarray) -> _NumberFormat | _ComplexFormat:
    if values.dtype.kind in "biu":
        return _plain_format(values)
    if values.dtype.kind == "c":
        return _ComplexFormat(_float_format(values.real), _float_format(values.imag))
    return _float_format(values)


def _widened(array: np.ndarray, dtype_name: str) -> np.ndarray:
    """The elements in a type that Python's formatting knows, without loss."""
    kind = array.dtype.kind
    if kind in "biu":
        return array
    if kind == "c":
        return array.astype(np.complex128)
    # Narrow types of ml_dtypes have no kind of their own; their name tells integers from floats.
    if kind not in "fc" and dtype_name.startswith(("int", "uint")):
        return array.astype(np.int64)
    return array.astype(np.float64)


def _shortened(array: np.ndarray, edgeitems: int) -> tuple[np.ndarray, list[bool]]:
    """The shown corners of an array, and which dimensions lost their middle."""
    cut = [size > 2 * edgeitems for size in array.shape]
    if not any(cut):
        return array, cut
    # One gather over all dimensions reads the shown elements only. Doing it dimension by
    # dimension would copy whole slabs in between.
    kept = [
        [*range(edgeitems), *range(size - edgeitems, size)] if is_cut else range(size)
        for size, is_cut in zip(array.shape, cut, strict=True)
    ]
    return array[np.ix_(*kept)], cut


def _layout_row(row: list[Any], number: _NumberFormat | _ComplexFormat, is_cut: bool, indent: int) -> str:
    """The innermost dimension: elements side by side, wrapped at the line width."""
    cells = [number.padded(value) for value in row]
    if is_cut:
        cells.insert(_options.edgeitems, " ...")
    # Two more for the comma and the space between neighbours.
    per_line = max(1, int((_options.linewidth - indent) // (number.width + 2)))
    lines = [", ".join(cells[i : i + per_line]) for i in range(0, len(cells), per_line)]
    return "[" + (",\n" + " " * (indent + 1)).join(lines) + "]"


def _layout(nested: Any, number: _NumberFormat | _ComplexFormat, cut: list[bool], indent: int) -> str:
    """Brackets around nested lists. The deeper the block, the more blank lines around it."""
    if not cut:
        return number.padded(nested)
    if len(cut) == 1:
        return _layout_row(nested, number, cut[0], indent)
    blocks = [_layout(inner, number, cut[1:], indent + 1) for inner in nested]
    if cut[0]:
        blocks.insert(_options.edgeitems, "...")
    separator = "," + "\n" * (len(cut) - 1) + " " * (indent + 1)
    return "[" + separator.join(blocks) + "]"


def _format_contents(array: np.ndarray, dtype_name: str, indent: int) -> str:
    cut = [False] * array.ndim
    if array.size > _options.threshold and array.ndim:
        if _options.edgeitems == 0:
            return "[...]"
        array, cut = _shortened(array, _options.edgeitems)
    # The casts and comparisons here meet nan, infinities and subnormals; none is an error.
    with np.errstate(all="ignore"):
        array = _widened(array, dtype_name)
        number = _choose_format(array)
    return _layout(array.tolist(), number, cut, indent)


def _shows_device(device: str, default_device: str) -> bool:
    kind, _, index = device.partition(":")
    default_kind, _, default_index = default_device.partition(":")
    if kind != default_kind:
        return True
    # There is only one CPU; among accelerators the index matters.
    return kind != "cpu" and (index or "0") != (default_index or "0")


def _implied_dtypes(default_dtype_name: str) -> set[str]:
    """The dtypes that a reader infers from the printed elements."""
    default_complex = "complex128" if default_dtype_name == "float64" else "complex64"
    return {default_dtype_name, default_complex, "int64", "bool"}


def _append_suffixes(text: str, suffixes: Sequence[str], indent: int) -> str:
    """Add the keyword parts after the elements, on a new line where one would not fit."""
    pieces = [text]
    # The width of the last line so far, closing parenthesis included.
    used = len(text) - text.rfind("\n") + 1
    for suffix in suffixes:
        if used + len(suffix) + 2 > _options.linewidth:
            pieces.append(",\n" + " " * indent + suffix)
            used = indent + len(suffix)
        else:
            pieces.append(", " + suffix)
            used += len(suffix) + 2
    return "".join(pieces) + ")"


def format_tensor(
    array: np.ndarray | None,
    *,
    dtype_name: str,
    default_dtype_name: str = "float32",
    requires_grad: bool = False,
    grad_fn_name: str | None = None,
    device: str = "cpu",
    default_device: str = "cpu",
    prefix: str = "tensor(",
    tensor_contents: str | None = None,
    is_meta: bool = False,
    shape: Sequence[int] | None = None,
    extra_suffixes: Sequence[str] = (),
) -> str:
    """The printed form of a tensor.

    Args:
        array: the computed elements, on the host. Narrow floats come as ml_dtypes arrays,
            complex32 as complex64. `None` for a tensor without elements to show.
        dtype_name: the tensor's dtype without the module, such as `"bfloat16"`.
        default_dtype_name: the default dtype, which goes without saying.
        requires_grad: whether a leaf asks for gradients.
        grad_fn_name: the name of the backward node, such as `"AddBackward0"`. Goes before
            `requires_grad`.
        device: where the tensor lives. Shown unless it is `default_device`.
        default_device: the device that goes without saying.
        prefix: what comes before the elements: `"tensor("` or a subclass's name and `"("`.
            Continuation lines are indented by its length, so a heading on a line of its own
            ("Parameter containing:") belongs in front of the result and not in here.
        tensor_contents: shown in the place of the elements.
        is_meta: the tensor has a shape and no elements: `...` and the size are shown.
        shape: the tensor's shape. Needed when `array` is `None`.
        extra_suffixes: further keyword parts for the end, such as `"tangent=..."`.
    """
    if array is not None:
        array = np.asarray(array)
    if shape is None:
        if array is None:
            raise ValueError("format_tensor() needs a shape where there is no array")
        shape = array.shape
    shape = tuple(int(size) for size in shape)
    indent = len(prefix)

    size_suffix = f"size={shape}"
    dtype_suffix = f"dtype=torch.{dtype_name}"
    suffixes = [f"device='{device}'"] if _shows_device(device, default_device) else []
    contents = tensor_contents

    if is_meta:
        suffixes.append(size_suffix)
        if dtype_name != default_dtype_name:
            suffixes.append(dtype_suffix)
        if contents is None:
            contents = "..."
    elif math.prod(shape) == 0:
        # The brackets of an empty tensor tell only the commonest shape, and no dtype.
        if len(shape) != 1:
            suffixes.append(size_suffix)
        if dtype_name != default_dtype_name:
            suffixes.append(dtype_suffix)
        if contents is None:
            contents = "[]"
    else:
        if _options.edgeitems == 0:
            # Nothing of a long tensor is shown then, so that the size has to speak for it.
            suffixes.append(size_suffix)
        if dtype_name not in _implied_dtypes(default_dtype_name):
            suffixes.append(dtype_suffix)
        if contents is None:
            if array is None:
                raise ValueError("format_tensor() needs an array or tensor_contents")
            contents = _format_contents(array, dtype_name, indent)

    if grad_fn_name is not None:
        suffixes.append(f"grad_fn=<{grad_fn_name}>")
    elif requires_grad:
        suffixes.append("requires_grad=True")
    suffixes.extend(extra_suffixes)
    return _append_suffixes(prefix + contents, suffixes, indent)


def format_scalar(value: Any, dtype_name: str, format_spec: str) -> str:
    """`format(tensor, format_spec)` for a tensor with no dimensions.

    The element is formatted as the Python number that `item()` gives. `value` is that number, a
    NumPy scalar or an array of one element.
    """
    if not isinstance(value, (bool, int, float, complex)) or isinstance(value, np.generic):
        with np.errstate(all="ignore"):
            value = _widened(np.asarray(value), dtype_name).item()
    return format(value, format_spec)

"""Pictures for TensorBoard: layouts of axes, grids, PNG, GIF, boxes, matplotlib's figures."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
from tensorboard.compat.proto.summary_pb2 import Summary

from flambeau.utils.tensorboard.arrays import as_array


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError("images for TensorBoard need the package pillow: pip install pillow") from error
    return Image


def grid(images: np.ndarray, columns: int = 8) -> np.ndarray:
    """Images (N, 1 or 3, H, W) side by side in rows, as one of (3, H', W'); what is left over is black."""
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        raise AssertionError(
            f"a batch of images must have 4 dimensions, and 1 or 3 channels in the second, got shape {images.shape}"
        )
    count, _, height, width = images.shape
    columns = min(count, columns)
    rows = math.ceil(count / columns)
    canvas = np.zeros((3, rows * height, columns * width), images.dtype)
    for i, picture in enumerate(images):
        top, left = i // columns * height, i % columns * width
        # One channel is spread over three.
        canvas[:, top : top + height, left : left + width] = picture
    return canvas


def channels_last(array: np.ndarray, layout: str) -> np.ndarray:
    """An image, or a batch of them as one grid, with axes (H, W, C).

    Args:
        layout: what its axes are: ``"CHW"``, ``"NHWC"``, ``"HW"`` ...
    """
    if len(set(layout)) != len(layout):
        raise AssertionError(f"You can not use the same dimension shorthand twice. input_format: {layout}")
    if array.ndim != len(layout):
        raise AssertionError(
            f"size of input tensor and input format are different. tensor shape: {array.shape}, input_format: {layout}"
        )
    axes = layout.upper()
    if len(axes) == 4:
        return grid(array.transpose([axes.find(axis) for axis in "NCHW"])).transpose(1, 2, 0)
    if len(axes) == 3:
        image = array.transpose([axes.find(axis) for axis in "HWC"])
        return np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image
    if len(axes) == 2:
        image = array.transpose([axes.find(axis) for axis in "HW"])
        return np.stack([image] * 3, axis=2)
    raise AssertionError(f"input_format must name 2 to 4 axes, got {layout}")


def in_bytes(array: np.ndarray) -> np.ndarray:
    """Bytes as they are; anything else from [0, 1] to [0, 255], cut off outside."""
    scale = 1 if array.dtype == np.uint8 else 255
    return (array.astype(np.float32) * scale).clip(0, 255).astype(np.uint8)


def encoded(image: np.ndarray, rescale: float = 1, boxes: np.ndarray | None = None, labels: Any = None) -> Any:
    """An image (H, W, C) of bytes as TensorBoard's, in PNG."""
    pillow = _pillow()
    height, width, channels = image.shape
    picture = pillow.fromarray(image)
    for i, box in enumerate(() if boxes is None else boxes):
        _draw_box(picture, [float(x) for x in box], None if labels is None else labels[i])
    size = (int(width * rescale), int(height * rescale))
    buffer = io.BytesIO()
    picture.resize(size, pillow.Resampling.LANCZOS).save(buffer, format="PNG")
    return Summary.Image(height=height, width=width, colorspace=channels, encoded_image_string=buffer.getvalue())


def _draw_box(picture: Any, box: list[float], label: str | None) -> None:
    from PIL import ImageDraw, ImageFont

    left, top, right, bottom = box
    draw = ImageDraw.Draw(picture)
    draw.line([(left, top), (left, bottom), (right, bottom), (right, top), (left, top)], width=2, fill="Red")
    if not label:
        return
    font = ImageFont.load_default()
    x0, y0, x1, y1 = font.getbbox(label)
    margin = math.ceil(0.05 * (y1 - y0))
    above = bottom - (y1 - y0) - 2 * margin
    draw.rectangle([(left, above), (left + x1 - x0, bottom)], fill="Red")
    draw.text((left + margin, above + margin), label, fill="black", font=font)


def of_figures(figures: Any, close: bool) -> np.ndarray:
    """Matplotlib's figure as (3, H, W) of bytes; a list of them as (N, 3, H, W)."""
    from matplotlib import pyplot
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    def drawn(figure: Any) -> np.ndarray:
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        pixels = np.asarray(canvas.buffer_rgba())[:, :, :3].transpose(2, 0, 1)
        if close:
            pyplot.close(figure)
        return pixels

    return np.stack([drawn(figure) for figure in figures]) if isinstance(figures, list) else drawn(figures)


def animated(video: Any, fps: float) -> Any:
    """A video (N, T, C, H, W) as TensorBoard's image, an animated GIF; the N stand side by side in a grid."""
    frames = in_bytes(as_array(video))
    if frames.ndim != 5:
        raise ValueError(f"a video must have 5 dimensions (N, T, C, H, W), got shape {frames.shape}")
    # As many rows as the greatest power of two whose square is no more than the count.
    rows = 2 ** ((frames.shape[0].bit_length() - 1) // 2)
    columns = math.ceil(frames.shape[0] / rows)
    pictures = [_pillow().fromarray(grid(frames[:, t], columns).transpose(1, 2, 0)) for t in range(frames.shape[1])]
    buffer = io.BytesIO()
    pictures[0].save(
        buffer, format="GIF", save_all=True, append_images=pictures[1:], duration=round(1000 / fps), loop=0
    )
    width, height = pictures[0].size
    return Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=buffer.getvalue())

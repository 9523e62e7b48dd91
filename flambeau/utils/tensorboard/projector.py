"""Files of TensorBoard's embedding projector."""

from __future__ import annotations

import math
import os
from typing import Any

import numpy as np
from tensorboard.plugins.projector.projector_config_pb2 import EmbeddingInfo

from flambeau.utils.tensorboard import images
from flambeau.utils.tensorboard.arrays import as_array


def folder_of(tag: str, step: int) -> str:
    """The folder of an embedding below the log's; separators in the tag are written as codes."""
    for letter in "%/\\":
        tag = tag.replace(letter, f"%{ord(letter):02x}")
    return f"{step:05d}/{tag}"


def write(log_dir: str, mat: Any, metadata: Any, label_img: Any, step: int, tag: str, header: Any) -> EmbeddingInfo:
    """Writes points (N, D), their labels and pictures; where they are, as the projector wants to know it.

    Raises:
        AssertionError: if the counts differ, or ``mat`` has not two dimensions.
        NotADirectoryError: if a file stands where the folder belongs.
    """
    points = as_array(mat)
    folder = folder_of(tag, step)
    place = os.path.join(log_dir, folder)
    if os.path.isdir(place):
        print("warning: Embedding dir exists, did you set global_step for add_embedding()?")
    elif os.path.exists(place):
        raise NotADirectoryError(f"Path: `{place}` exists, but is a file. Cannot proceed.")
    if metadata is not None and len(metadata) != len(points):
        raise AssertionError("#labels should equal with #data points")
    pictures = None if label_img is None else as_array(label_img)
    if pictures is not None and len(pictures) != len(points):
        raise AssertionError("#images should equal with #data points")
    if points.ndim != 2:
        raise AssertionError("mat should be 2D, where mat.size(0) is the number of data points")
    os.makedirs(place, exist_ok=True)
    info = EmbeddingInfo(tensor_name=f"{tag}:{step:05d}", tensor_path=f"{folder}/tensors.tsv")
    _write_rows(os.path.join(place, "tensors.tsv"), points.tolist())
    if metadata is not None:
        info.metadata_path = f"{folder}/metadata.tsv"
        if header and len(header) != len(metadata[0]):
            raise AssertionError("len of header must be equal to the number of columns in metadata")
        _write_rows(os.path.join(place, "metadata.tsv"), [header, *metadata] if header else [[x] for x in metadata])
    if pictures is not None:
        info.sprite.image_path = f"{folder}/sprite.png"
        info.sprite.single_image_dim.extend([pictures.shape[3], pictures.shape[2]])
        with open(os.path.join(place, "sprite.png"), "wb") as file:
            file.write(_sprite(pictures))
    return info


def _write_rows(path: str, rows: Any) -> None:
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        for row in rows:
            file.write("\t".join(map(str, row)) + "\n")


def _sprite(pictures: np.ndarray) -> bytes:
    """All pictures in one square of as many rows as columns, which is how the projector finds each."""
    canvas = images.grid(pictures, math.ceil(math.sqrt(len(pictures)))).transpose(1, 2, 0)
    square = np.zeros((canvas.shape[1], canvas.shape[1], 3), canvas.dtype)
    square[: canvas.shape[0]] = canvas
    return images.encoded(images.in_bytes(square)).encoded_image_string

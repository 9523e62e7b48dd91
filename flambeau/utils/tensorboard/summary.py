"""TensorBoard's records, made of arrays."""

from __future__ import annotations

import io
import json
import wave
from typing import Any

import numpy as np
from tensorboard.compat.proto.summary_pb2 import HistogramProto, Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.pr_curve.plugin_data_pb2 import PrCurvePluginData
from tensorboard.plugins.text.plugin_data_pb2 import TextPluginData

from flambeau import dtypes
from flambeau.tensor.tensor import Tensor
from flambeau.utils.tensorboard.arrays import as_array

MOST_THRESHOLDS = 127
"""More thresholds of a precision-recall curve than TensorBoard's format holds."""


def one(tag: str, **value: Any) -> Summary:
    """A record of one value."""
    return Summary(value=[Summary.Value(tag=tag, **value)])


def _of_plugin(name: str, content: bytes = b"") -> SummaryMetadata:
    return SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name=name, content=content))


def _shape(sizes: Any) -> TensorShapeProto:
    return TensorShapeProto(dim=[TensorShapeProto.Dim(size=n) for n in sizes])


def _floats(array: np.ndarray) -> TensorProto:
    return TensorProto(dtype="DT_FLOAT", float_val=array.reshape(-1).tolist(), tensor_shape=_shape(array.shape))


# ---------------------------------------------------------------- numbers


def scalar(tag: str, value: Any, new_style: bool = False, double_precision: bool = False) -> Summary:
    """A number; as a tensor in the new style."""
    array = as_array(value).squeeze()
    if array.ndim != 0:
        raise AssertionError(
            f"Tensor should contain one element (0 dimensions). Was given size: {array.size} and {array.ndim} "
            "dimensions."
        )
    number = float(array)
    if not new_style:
        return one(tag, simple_value=number)
    if double_precision:
        tensor = TensorProto(double_val=[number], dtype="DT_DOUBLE")
    else:
        tensor = TensorProto(float_val=[number], dtype="DT_FLOAT")
    return one(tag, tensor=tensor, metadata=_of_plugin("scalars"))


_FIELDS = {
    dtypes.float16: ("DT_HALF", "half_val"),
    dtypes.bfloat16: ("DT_BFLOAT16", "half_val"),
    dtypes.float32: ("DT_FLOAT", "float_val"),
    dtypes.float64: ("DT_DOUBLE", "double_val"),
    dtypes.int8: ("DT_INT8", "int_val"),
    dtypes.uint8: ("DT_UINT8", "uint32_val"),
    dtypes.int16: ("DT_INT16", "int_val"),
    dtypes.int32: ("DT_INT32", "int_val"),
    dtypes.int64: ("DT_INT64", "int64_val"),
    dtypes.bool_: ("DT_BOOL", "bool_val"),
    dtypes.complex64: ("DT_COMPLEX64", "scomplex_val"),
    dtypes.complex128: ("DT_COMPLEX128", "dcomplex_val"),
}


def tensor_proto(tag: str, tensor: Tensor) -> Summary:
    """A whole tensor.

    Raises:
        ValueError: if it is too large for the format, or of a type that it lacks.
    """
    if tensor.numel() * tensor.itemsize >= 1 << 31:
        raise ValueError("tensor is bigger than protocol buffer's hard limit of 2GB in size")
    if tensor.dtype not in _FIELDS:
        raise ValueError(f"{tag} has unsupported tensor dtype {tensor.dtype}")
    kind, field = _FIELDS[tensor.dtype]
    array = tensor.detach()._array().reshape(-1)
    if field == "half_val":
        # The format holds the bits of reduced types.
        array = array.view(np.uint16)
    elif tensor.dtype.is_complex:
        array = array.view(array.real.dtype)
    proto = TensorProto(dtype=kind, tensor_shape=_shape(tensor.shape), **{field: array.tolist()})
    return one(tag, metadata=_of_plugin("tensor"), tensor=proto)


# ---------------------------------------------------------------- histograms


def histogram(tag: str, values: Any, bins: Any, max_bins: int | None = None) -> Summary:
    """How often values fall into each bin, without the empty bins at both ends.

    Raises:
        ValueError: if there are no values.
    """
    array = as_array(values).astype(float).reshape(-1)
    if array.size == 0:
        raise ValueError("The input has no element.")
    counts, limits = np.histogram(array, bins=bins)
    if max_bins is not None and len(counts) > max_bins:
        counts, limits = _coarser(counts, limits, len(counts) // max_bins)
    used = np.flatnonzero(counts)
    first, last = used[0], used[-1]
    # The format names right limits alone: an empty bin before the first gives its left one.
    buckets = [0, *counts[first : last + 1].tolist()]
    return histogram_raw(
        tag, array.min(), array.max(), len(array), array.sum(), array.dot(array), limits[first : last + 2], buckets
    )


def _coarser(counts: np.ndarray, limits: np.ndarray, times: int) -> tuple[np.ndarray, np.ndarray]:
    """Bins put together, so many at a time; the last may be narrower."""
    starts = np.arange(0, len(counts), times)
    return np.add.reduceat(counts, starts), np.append(limits[:-1][starts], limits[-1])


def histogram_raw(
    tag: str, min: Any, max: Any, num: Any, sum: Any, sum_squares: Any, bucket_limits: Any, bucket_counts: Any
) -> Summary:
    """A histogram counted elsewhere."""
    histo = HistogramProto(
        min=min,
        max=max,
        num=num,
        sum=sum,
        sum_squares=sum_squares,
        bucket_limit=bucket_limits,
        bucket=bucket_counts,
    )
    return one(tag, histo=histo)


# ---------------------------------------------------------------- sound, text, charts


def audio(tag: str, sound: Any, sample_rate: int) -> Summary:
    """Sound (1, L) within [-1, 1] as WAV of 16 bits."""
    array = as_array(sound).squeeze()
    if np.abs(array).max() > 1:
        print("warning: audio amplitude out of range, auto clipped.")
        array = array.clip(-1, 1)
    if array.ndim != 1:
        raise AssertionError("input tensor should be 1 dimensional.")
    samples = (array * np.iinfo(np.int16).max).astype("<i2")
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(sample_rate)
        out.writeframes(samples.tobytes())
    record = Summary.Audio(
        sample_rate=sample_rate,
        num_channels=1,
        length_frames=samples.shape[-1],
        encoded_audio_string=buffer.getvalue(),
        content_type="audio/wav",
    )
    return one(tag, audio=record)


def text(tag: str, string: str) -> Summary:
    """A text, in Markdown."""
    tensor = TensorProto(dtype="DT_STRING", string_val=[string.encode()], tensor_shape=_shape([1]))
    metadata = _of_plugin("text", TextPluginData(version=0).SerializeToString())
    return one(f"{tag}/text_summary", metadata=metadata, tensor=tensor)


def custom_scalars(layout: dict[str, dict[str, Any]]) -> Summary:
    """Which scalars stand together in which chart: categories of titles of (kind, tags)."""
    categories = [
        layout_pb2.Category(title=title, chart=[_chart(name, *chart) for name, chart in charts.items()])
        for title, charts in layout.items()
    ]
    serialized = layout_pb2.Layout(category=categories).SerializeToString()
    tensor = TensorProto(dtype="DT_STRING", string_val=[serialized], tensor_shape=_shape([]))
    return one("custom_scalars__config__", tensor=tensor, metadata=_of_plugin("custom_scalars"))


def _chart(title: str, kind: str, tags: list[str]) -> Any:
    if kind != "Margin":
        return layout_pb2.Chart(title=title, multiline=layout_pb2.MultilineChartContent(tag=tags))
    if len(tags) != 3:
        raise AssertionError("len(tags) != 3")
    value, lower, upper = tags
    series = layout_pb2.MarginChartContent.Series(value=value, lower=lower, upper=upper)
    return layout_pb2.Chart(title=title, margin=layout_pb2.MarginChartContent(series=[series]))


# ---------------------------------------------------------------- precision and recall


def pr_curve(tag: str, labels: Any, predictions: Any, thresholds: int, weights: Any = None) -> Summary:
    """Precision and recall at evenly spaced thresholds, from labels and predicted probabilities."""
    thresholds = min(thresholds, MOST_THRESHOLDS)
    places = np.floor(as_array(predictions) * (thresholds - 1)).astype(np.int32).reshape(-1)
    true = as_array(labels).astype(np.float64).reshape(-1)
    weight = 1.0 if weights is None else as_array(weights).reshape(-1)
    ends = (0, thresholds - 1)

    def at_least(amounts: np.ndarray) -> np.ndarray:
        """The amount at or above each threshold."""
        counts, _ = np.histogram(places, bins=thresholds, range=ends, weights=amounts)
        return counts[::-1].cumsum()[::-1]

    hits, alarms = at_least(true * weight), at_least((1.0 - true) * weight)
    misses = hits[0] - hits
    least = 1e-7
    precision = hits / np.maximum(least, hits + alarms)
    recall = hits / np.maximum(least, hits + misses)
    return pr_curve_raw(tag, hits, alarms, alarms[0] - alarms, misses, precision, recall, thresholds)


def pr_curve_raw(tag: str, tp: Any, fp: Any, tn: Any, fn: Any, precision: Any, recall: Any, thresholds: int) -> Summary:
    """A curve counted elsewhere."""
    data = np.stack([as_array(row) for row in (tp, fp, tn, fn, precision, recall)])
    content = PrCurvePluginData(version=0, num_thresholds=min(thresholds, MOST_THRESHOLDS)).SerializeToString()
    return one(tag, metadata=_of_plugin("pr_curves", content), tensor=_floats(data))


# ---------------------------------------------------------------- meshes


def mesh(tag: str, vertices: Any, colors: Any, faces: Any, config: dict[str, Any] | None) -> Summary:
    """Points (B, N, 3), their colours, and triangles of their indices."""
    from tensorboard.plugins.mesh import metadata
    from tensorboard.plugins.mesh.plugin_data_pb2 import MeshPluginData

    kinds = ((vertices, MeshPluginData.VERTEX), (faces, MeshPluginData.FACE), (colors, MeshPluginData.COLOR))
    parts = [(as_array(part), kind) for part, kind in kinds if part is not None]
    present = metadata.get_components_bitmask([kind for _, kind in parts])
    described = "{}" if config is None else json.dumps(config, sort_keys=True)
    values = [
        Summary.Value(
            tag=metadata.get_instance_name(tag, kind),
            tensor=_floats(array),
            metadata=metadata.create_summary_metadata(
                tag, None, kind, present, array.shape, None, json_config=described
            ),
        )
        for array, kind in parts
    ]
    return Summary(value=values)


# ---------------------------------------------------------------- hyperparameters


def hparams(settings: dict[str, Any], metrics: dict[str, Any], domains: dict[str, list[Any]] | None) -> list[Summary]:
    """The records of an experiment: its hyperparameters and metrics, its start, its end.

    Raises:
        TypeError: if a domain is no list of values of the hyperparameter's type.
        ValueError: if a hyperparameter is of no type that TensorBoard knows.
    """
    from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

    domains = domains or {}
    if not isinstance(domains, dict):
        raise TypeError("parameter: hparam_domain_discrete should be a dictionary, nothing logged.")
    for name, values in domains.items():
        fits = name in settings and isinstance(values, list)
        if not fits or not all(isinstance(value, type(settings[name])) for value in values):
            raise TypeError(
                f"parameter: hparam_domain_discrete[{name}] should be a list of same type as hparam_dict[{name}]."
            )
    start = plugin_data_pb2.SessionStartInfo()
    infos = []
    for name, value in settings.items():
        if value is None:
            continue
        field, kind, value = _hparam(value)
        setattr(start.hparams[name], field, value)
        infos.append(api_pb2.HParamInfo(name=name, type=kind, domain_discrete=_domain(field, domains.get(name))))
    experiment = api_pb2.Experiment(
        hparam_infos=infos,
        metric_infos=[api_pb2.MetricInfo(name=api_pb2.MetricName(tag=name)) for name in metrics],
    )
    end = plugin_data_pb2.SessionEndInfo(status="STATUS_SUCCESS")
    records = {
        metadata.EXPERIMENT_TAG: {"experiment": experiment},
        metadata.SESSION_START_INFO_TAG: {"session_start_info": start},
        metadata.SESSION_END_INFO_TAG: {"session_end_info": end},
    }
    summaries = []
    for tag, content in records.items():
        data = plugin_data_pb2.HParamsPluginData(version=metadata.PLUGIN_DATA_VERSION, **content)  # type: ignore[arg-type]
        summaries.append(one(tag, metadata=_of_plugin(metadata.PLUGIN_NAME, data.SerializeToString())))
    return summaries


def _hparam(value: Any) -> tuple[str, str, Any]:
    if isinstance(value, str):
        return "string_value", "DATA_TYPE_STRING", value
    if isinstance(value, int | float):
        # Bools are numbers here, as PyTorch writes them.
        return "number_value", "DATA_TYPE_FLOAT64", value
    if isinstance(value, Tensor):
        return "number_value", "DATA_TYPE_FLOAT64", value.item()
    raise ValueError("value should be one of int, float, str, bool, or torch.Tensor")


def _domain(field: str, values: list[Any] | None) -> Any:
    from google.protobuf import struct_pb2

    if values is None:
        return None
    return struct_pb2.ListValue(values=[struct_pb2.Value(**{field: value}) for value in values])

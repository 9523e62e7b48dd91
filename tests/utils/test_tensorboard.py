"""SummaryWriter beside PyTorch's: the same records in the files, read back with TensorBoard's own reader."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.utils.tensorboard
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import PyRecordReader_New
from tensorboard.util import tensor_util

import flambeau
import flambeau.utils.tensorboard

BOTH = (flambeau, torch)


def records(folder: Path) -> list[Event]:
    """All events under a folder, file by file, without their times."""
    found = []
    for file in sorted(folder.rglob("events.*"), key=lambda path: (str(path.parent), path.stat().st_mtime_ns)):
        reader = PyRecordReader_New(str(file))
        while True:
            try:
                reader.GetNext()
            except Exception:
                break
            event = Event.FromString(reader.record())
            event.ClearField("wall_time")
            event.ClearField("source_metadata")
            found.append(event)
    return found


def written(program: Callable[[Any, Any], None], library: Any, folder: Path) -> list[Event]:
    with library.utils.tensorboard.SummaryWriter(folder) as writer:
        program(library, writer)
    return records(folder)


def read_back(folder: Path, tags: str) -> EventAccumulator:
    accumulator = EventAccumulator(str(folder))
    accumulator.Reload()
    assert accumulator.Tags()[tags]
    return accumulator


def tensor(library: Any, *shape: int, low: float = -2.0, high: float = 2.0) -> Any:
    return library.tensor(np.random.default_rng(0).uniform(low, high, shape).astype(np.float32))


def _hparams(t: Any, w: Any) -> None:
    settings = {"lr": 0.1, "layers": 3, "bias": True, "kind": "lstm", "none": None, "decay": t.tensor([0.5])}
    w.add_hparams(settings, {"loss": 1.5}, {"kind": ["lstm", "gru"]}, run_name="run", global_step=2)


def _histogram_raw(t: Any, w: Any) -> None:
    w.add_histogram_raw("h", 0.0, 3.0, 6, 9.0, 19.0, [1.0, 2.0, 3.0], [1, 2, 3], 1)


def _pr_curve_raw(t: Any, w: Any) -> None:
    rows = [np.arange(4.0) + i for i in range(6)]
    w.add_pr_curve_raw("raw", *rows, global_step=1, num_thresholds=4)


PROGRAMS: dict[str, Callable[[Any, Any], None]] = {
    "scalar": lambda t, w: [w.add_scalar("loss", x, i) for i, x in enumerate((1, 2.5, np.float32(3), t.tensor([4.0])))],
    "bfloat16 scalar": lambda t, w: w.add_scalar("loss", t.tensor(1.5, dtype=t.bfloat16), 3),
    "scalar that is differentiated": lambda t, w: w.add_scalar("loss", t.tensor(1.0, requires_grad=True), 3),
    "new scalar": lambda t, w: w.add_scalar("loss", 1.1, 2, new_style=True),
    "double scalar": lambda t, w: w.add_scalar("loss", 1.1, 2, new_style=True, double_precision=True),
    "scalars": lambda t, w: w.add_scalars("a/b", {"sin": 0.5, "cos": 0.25}, 7),
    "tensor": lambda t, w: [
        w.add_tensor(str(i), t.tensor([[1, 0, 3]]).to(getattr(t, dtype)), i)
        for i, dtype in enumerate("float32 float64 int8 uint8 int16 int32 int64 bool".split())
    ],
    "complex tensor": lambda t, w: w.add_tensor("c", t.tensor([1 + 2j, 3 - 4j])),
    "histogram": lambda t, w: w.add_histogram("h", tensor(t, 100), 5),
    "histogram by count": lambda t, w: w.add_histogram("h", tensor(t, 100), 5, bins=7),
    "automatic histogram": lambda t, w: w.add_histogram("h", np.arange(20), bins="auto"),
    "coarse histogram": lambda t, w: w.add_histogram("h", tensor(t, 100), bins=50, max_bins=10),
    "ragged histogram": lambda t, w: w.add_histogram("h", tensor(t, 100), bins=23, max_bins=5),
    "one value": lambda t, w: w.add_histogram("h", t.zeros(3)),
    "raw histogram": _histogram_raw,
    "image": lambda t, w: w.add_image("i", tensor(t, 3, 5, 6, low=0, high=1.2), 1),
    "grey image": lambda t, w: w.add_image("i", tensor(t, 1, 5, 6, low=0, high=1), 1),
    "image of bytes": lambda t, w: w.add_image("i", np.arange(60, dtype=np.uint8).reshape(4, 5, 3), dataformats="HWC"),
    "image of two axes": lambda t, w: w.add_image("i", tensor(t, 5, 6, low=0, high=1), dataformats="HW"),
    "images": lambda t, w: w.add_images("i", tensor(t, 11, 3, 4, 4, low=0, high=1), 1),
    "grey images": lambda t, w: w.add_images("i", tensor(t, 3, 4, 4, 1, low=0, high=1), dataformats="NHWC"),
    "boxes": lambda t, w: w.add_image_with_boxes(
        "b", t.zeros(3, 40, 50), t.tensor([[2, 3, 20, 30], [5, 6, 40, 39]]), labels=["a", "bc"], rescale=2
    ),
    "audio": lambda t, w: w.add_audio("a", tensor(t, 1, 50, low=-1, high=1), 1, sample_rate=8000),
    "text": lambda t, w: w.add_text("t", "# Überschrift", 1),
    "multiline": lambda t, w: w.add_custom_scalars_multilinechart(["a", "b"], "c", "d"),
    "margin": lambda t, w: w.add_custom_scalars_marginchart(["a", "b", "c"]),
    "layout": lambda t, w: w.add_custom_scalars({"x": {"y": ["Multiline", ["a"]], "z": ["Margin", ["a", "b", "c"]]}}),
    "pr curve": lambda t, w: w.add_pr_curve("p", tensor(t, 50) > 0, tensor(t, 50, low=0, high=1), 1),
    "weighted pr curve": lambda t, w: w.add_pr_curve(
        "p", np.arange(20) % 2, np.linspace(0, 1, 20), num_thresholds=9, weights=np.arange(20.0)
    ),
    "raw pr curve": _pr_curve_raw,
    "mesh": lambda t, w: w.add_mesh(
        "m", tensor(t, 1, 4, 3), t.zeros(1, 4, 3), t.tensor([[[0, 1, 2]]]), {"camera": {"fov": 75}}, 1
    ),
    "points": lambda t, w: w.add_mesh("m", tensor(t, 1, 4, 3)),
    "hparams": _hparams,
}


@pytest.mark.parametrize("name", list(PROGRAMS))
def test_records_are_pytorchs(name: str, tmp_path: Path) -> None:
    ours, theirs = (written(PROGRAMS[name], library, tmp_path / library.__name__) for library in BOTH)
    assert len(ours) > 1
    assert ours == theirs


MISTAKES: dict[str, Callable[[Any, Any], None]] = {
    "two numbers": lambda t, w: w.add_scalar("s", t.zeros(2)),
    "list": lambda t, w: w.add_histogram("h", [1.0]),
    "nothing": lambda t, w: w.add_histogram("h", t.zeros(0)),
    "limits": lambda t, w: w.add_histogram_raw("h", 0, 1, 1, 1, 1, [1.0], [1, 2]),
    "tags": lambda t, w: w.add_custom_scalars_marginchart(["a"]),
    "margin": lambda t, w: w.add_custom_scalars({"a": {"b": ["Margin", ["c"]]}}),
    "hparams": lambda t, w: w.add_hparams([], {}),
    "hparam": lambda t, w: w.add_hparams({"a": [1]}, {}),
    "domain": lambda t, w: w.add_hparams({"a": 1}, {}, {"a": ["b"]}),
    "domains": lambda t, w: w.add_hparams({"a": 1}, {}, [1]),
    "float8": lambda t, w: w.add_tensor("f", t.zeros(1).to(t.float8_e5m2)),
    "stereo": lambda t, w: w.add_audio("a", t.zeros(2, 4)),
    "labels": lambda t, w: w.add_embedding(t.zeros(2, 3), metadata=["a"]),
    "pictures": lambda t, w: w.add_embedding(t.zeros(2, 3), label_img=t.zeros(1, 3, 2, 2)),
    "points": lambda t, w: w.add_embedding(t.zeros(2)),
}


@pytest.mark.parametrize("name", list(MISTAKES))
def test_errors_are_pytorchs(name: str, tmp_path: Path) -> None:
    raised = []
    for library in BOTH:
        with pytest.raises(Exception) as caught:
            written(MISTAKES[name], library, tmp_path / library.__name__)
        raised.append((caught.type, " ".join(str(caught.value).split())))
    assert raised[0] == raised[1]


@pytest.mark.parametrize(
    ("layout", "said"),
    [("CC", "can not use the same dimension shorthand twice"), ("CHW", "size of input tensor and input format are")],
)
def test_layouts_that_do_not_fit(layout: str, said: str, tmp_path: Path) -> None:
    for library in BOTH:
        with pytest.raises(AssertionError, match=said):
            written(lambda t, w: w.add_image("i", t.zeros(2, 2), dataformats=layout), library, tmp_path)


def test_loud_sound_is_cut_off_with_a_word(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def program(t: Any, w: Any) -> None:
        w.add_audio("a", t.tensor([[0.5, 2.0, -3.0]]))

    ours, theirs = (written(program, library, tmp_path / library.__name__) for library in BOTH)
    assert ours == theirs
    assert capsys.readouterr().out == "warning: audio amplitude out of range, auto clipped.\n" * 2


def test_embeddings_write_pytorchs_files(tmp_path: Path) -> None:
    def program(t: Any, w: Any) -> None:
        points = tensor(t, 5, 3)
        pictures = tensor(t, 5, 3, 4, 6, low=0, high=1)
        w.add_embedding(points, ["a", "b", "c", "d", "e"], pictures, global_step=3, tag="x/y")
        w.add_embedding(points, [[1, 2]] * 5, metadata_header=["m", "n"])

    for library in BOTH:
        written(program, library, tmp_path / library.__name__)
    ours, theirs = tmp_path / "flambeau", tmp_path / "torch"
    names, others = (
        sorted(
            str(path.relative_to(folder)) for ending in ("tsv", "png", "pbtxt") for path in folder.rglob(f"*.{ending}")
        )
        for folder in (theirs, ours)
    )
    assert names == others
    assert len(names) == 6
    for name in names:
        if name.endswith((".tsv", ".pbtxt")):
            assert (ours / name).read_text() == (theirs / name).read_text()
        elif name.endswith(".png"):
            assert np.array_equal(np.asarray(Image.open(ours / name)), np.asarray(Image.open(theirs / name)))


def test_figures(tmp_path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    def figure() -> Any:
        drawn, axes = pyplot.subplots(figsize=(2, 1))
        axes.plot([1, 2, 3])
        return drawn

    def program(t: Any, w: Any) -> None:
        w.add_figure("one", figure(), 1)
        w.add_figure("two", [figure(), figure()], 1)

    ours, theirs = (written(program, library, tmp_path / library.__name__) for library in BOTH)
    assert ours == theirs
    assert not pyplot.get_fignums()


def test_videos_are_animated_pictures(tmp_path: Path) -> None:
    frames = (np.arange(3 * 4 * 3 * 8 * 8) % 256).astype(np.uint8).reshape(3, 4, 3, 8, 8)
    with flambeau.utils.tensorboard.SummaryWriter(tmp_path) as writer:
        writer.add_video("v", flambeau.tensor(frames), 1, fps=10)
        with pytest.raises(ValueError, match=r"a video must have 5 dimensions \(N, T, C, H, W\), got shape \(2, 2\)"):
            writer.add_video("v", flambeau.zeros(2, 2))
    image = Image.open(io.BytesIO(read_back(tmp_path, "images").Images("v")[0].encoded_image_string))
    assert (image.n_frames, image.size, image.info["duration"]) == (4, (24, 8), 100)  # type: ignore[attr-defined]


def test_tensorboards_reader_finds_everything(tmp_path: Path) -> None:
    with flambeau.utils.tensorboard.SummaryWriter(tmp_path) as writer:
        for step in range(3):
            writer.add_scalar("loss", flambeau.tensor(1.0 / (step + 1)), step, walltime=10.0 + step)
        writer.add_histogram("weights", flambeau.arange(10.0))
        writer.add_image("picture", flambeau.zeros(3, 2, 2))
        writer.add_audio("sound", flambeau.zeros(1, 8))
        writer.add_text("words", "some")
    found = read_back(tmp_path, "scalars")
    assert [(e.step, e.wall_time) for e in found.Scalars("loss")] == [(0, 10.0), (1, 11.0), (2, 12.0)]
    assert [e.value for e in found.Scalars("loss")] == pytest.approx([1.0, 0.5, 1 / 3])
    histogram = found.Histograms("weights")[0].histogram_value
    assert (histogram.num, histogram.min, histogram.max, histogram.sum) == (10, 0.0, 9.0, 45.0)
    assert found.Images("picture")[0].height == 2
    assert found.Audio("sound")[0].length_frames == 8
    assert tensor_util.make_ndarray(found.Tensors("words/text_summary")[0].tensor_proto).tolist() == [b"some"]


def test_reduced_tensors_are_written_as_their_bits(tmp_path: Path) -> None:
    with flambeau.utils.tensorboard.SummaryWriter(tmp_path) as writer:
        writer.add_tensor("half", flambeau.tensor([[1.0, -2.5]], dtype=flambeau.float16))
        writer.add_tensor("brain", flambeau.tensor([1.0, -2.0], dtype=flambeau.bfloat16))
    found = read_back(tmp_path, "tensors")
    half = tensor_util.make_ndarray(found.Tensors("half")[0].tensor_proto)
    assert (half.dtype.name, half.tolist()) == ("float16", [[1.0, -2.5]])
    # TensorBoard's reader has no bfloat16.
    assert list(found.Tensors("brain")[0].tensor_proto.half_val) == [0x3F80, 0xC000]


def test_purging_closing_and_going_on(tmp_path: Path) -> None:
    def program(library: Any) -> list[Event]:
        folder = tmp_path / library.__name__
        writer = library.utils.tensorboard.SummaryWriter(str(folder), purge_step=2, filename_suffix=".end")
        writer.add_scalar("a", 1.0, 2)
        writer.flush()
        writer.close()
        writer.close()
        writer.add_scalar("a", 2.0, 3)
        writer.close()
        assert writer.get_logdir() == str(folder)
        assert all(path.name.endswith(".end") for path in folder.iterdir())
        return records(folder)

    ours, theirs = program(flambeau), program(torch)
    assert ours == theirs


def test_default_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    flambeau.utils.tensorboard.SummaryWriter(comment="_lr").close()
    (run,) = (tmp_path / "runs").iterdir()
    assert run.name.endswith("_lr")


# ---------------------------------------------------------------- graphs


class Net(flambeau.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = flambeau.nn.Sequential(flambeau.nn.Linear(4, 3), flambeau.nn.ReLU(), flambeau.nn.Linear(3, 2))
        self.register_buffer("shift", flambeau.ones(2))

    def forward(self, x: Any, y: Any) -> Any:
        return self.body(x) + self.shift, y * 2


def test_graph_of_a_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = Net()
    x, y = flambeau.randn(5, 4), flambeau.ones(1)
    with flambeau.utils.tensorboard.SummaryWriter(tmp_path) as writer:
        writer.add_graph(model, (x, y), verbose=True)
    graph = read_back(tmp_path, "graph").Graph()
    assert "Net/body/0/linear" in capsys.readouterr().out
    nodes = {node.name: node for node in graph.node}
    assert nodes["Net/body/0/linear"].input == ["input/0", "Net/body/0/weight", "Net/body/0/bias"]
    assert nodes["Net/body/1/relu"].input == ["Net/body/0/linear"]
    assert nodes["Net/add"].input == ["Net/body/2/linear", "Net/shift"]
    assert nodes["output/0"].input == ["Net/add"]
    assert nodes["output/1"].input == ["Net/mul"]
    assert nodes["Net/mul"].input == ["input/1", "constant"]
    assert nodes["constant"].attr["attr"].s == b"{2} int64[]*"
    assert nodes["Net/shift"].op == "Buffer"
    shape = nodes["Net/body/0/linear"].attr["_output_shapes"].list.shape[0]
    assert [dim.size for dim in shape.dim] == [5, 3]
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    # The call was an ordinary one.
    assert model(x, y)[1].tolist() == [2.0]


def test_what_cannot_be_drawn_says_so(tmp_path: Path) -> None:
    class Looks(flambeau.nn.Module):
        def forward(self, x: Any) -> Any:
            return x * x.sum().item()

    class Nothing(flambeau.nn.Module):
        def forward(self, x: Any) -> Any:
            return x

    with flambeau.utils.tensorboard.SummaryWriter(tmp_path) as writer:
        with pytest.raises(TypeError, match=r"add_graph draws a torch.nn.Module, got function"):
            writer.add_graph(lambda x: x, flambeau.ones(1))
        for model in (Looks(), Nothing()):
            with pytest.raises(RuntimeError, match=r"add_graph cannot draw \w+: its forward records nothing, looks at"):
                writer.add_graph(model, flambeau.ones(1))
        with pytest.raises(NotImplementedError, match="flambeau reads no ONNX; use add_graph"):
            writer.add_onnx_graph("model.onnx")


def test_without_the_package_the_remedy_is_named() -> None:
    program = (
        "import sys; sys.modules['tensorboard'] = None\n"
        "try:\n    import flambeau.utils.tensorboard\n"
        "except ImportError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "the package tensorboard, which is not installed: pip install 'flambeau[tensorboard]'" in done.stdout

"""``SummaryWriter``: what a program logs, put into TensorBoard's event files."""

from __future__ import annotations

import os
import socket
import time
from datetime import datetime
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from flambeau.utils.tensorboard import images, projector, summary
from flambeau.utils.tensorboard.arrays import as_array


class FileWriter:
    """One event file.

    Args:
        log_dir: its folder.
        max_queue: how many records may wait before they are written.
        flush_secs: how long they may wait.
        filename_suffix: what its name ends with.
    """

    def __init__(self, log_dir: Any, max_queue: int = 10, flush_secs: float = 120, filename_suffix: str = "") -> None:
        self.event_writer = EventFileWriter(str(log_dir), max_queue, flush_secs, filename_suffix)  # type: ignore[arg-type]

    def get_logdir(self) -> str:
        """Its folder."""
        return self.event_writer.get_logdir()

    def add_event(self, event: Event, step: Any = None, walltime: float | None = None) -> None:
        """Writes a record, at a step and a time (None: now)."""
        event.wall_time = time.time() if walltime is None else walltime
        if step is not None:
            event.step = int(step)
        self.event_writer.add_event(event)

    def add_summary(self, summary: Any, global_step: Any = None, walltime: float | None = None) -> None:
        """Writes a summary, at a step and a time."""
        self.add_event(Event(summary=summary), global_step, walltime)

    def add_graph(self, graph_profile: Any, walltime: float | None = None) -> None:
        """Writes a graph, the first of a pair of graph and statistics."""
        self.add_event(Event(graph_def=graph_profile[0].SerializeToString()), None, walltime)

    def flush(self) -> None:
        """Writes what waits."""
        self.event_writer.flush()

    def close(self) -> None:
        """Writes what waits, and ends."""
        self.event_writer.close()

    def reopen(self) -> None:
        """Goes on after ``close``."""
        self.event_writer.reopen()


def _default_bins() -> list[float]:
    """Limits that grow by a tenth from 1e-12 to 1e20, mirrored about zero."""
    limits = []
    limit = 1e-12
    while limit < 1e20:
        limits.append(limit)
        limit *= 1.1
    return [-x for x in reversed(limits)] + [0] + limits


class SummaryWriter:
    """Logs scalars, histograms, pictures, sound, text and more for TensorBoard.

    Every ``add_`` method takes a ``tag``, the name in TensorBoard, a ``global_step`` and a ``walltime`` in seconds
    (None: now); tensors, NumPy arrays and numbers are welcome alike.

    Args:
        log_dir: the folder; None: ``runs/`` with the date, the machine's name and ``comment``.
        comment: what the default folder's name ends with.
        purge_step: TensorBoard hides what the folder holds of this step and later ones, for runs that go on.
        max_queue: how many records may wait before they are written.
        flush_secs: how long they may wait.
        filename_suffix: what the event files' names end with.

    Example:
        >>> import tempfile
        >>> from flambeau.utils.tensorboard import SummaryWriter
        >>> with tempfile.TemporaryDirectory() as folder, SummaryWriter(folder) as writer:
        ...     for step in range(3):
        ...         writer.add_scalar("loss", 1 / (step + 1), step)
    """

    def __init__(
        self,
        log_dir: Any = None,
        comment: str = "",
        purge_step: int | None = None,
        max_queue: int = 10,
        flush_secs: float = 120,
        filename_suffix: str = "",
    ) -> None:
        if not log_dir:
            now = datetime.now().strftime("%b%d_%H-%M-%S")
            log_dir = os.path.join("runs", f"{now}_{socket.gethostname()}{comment}")
        self.log_dir = log_dir
        self.purge_step = purge_step
        self.max_queue = max_queue
        self.flush_secs = flush_secs
        self.filename_suffix = filename_suffix
        self.file_writer: FileWriter | None = None
        self.all_writers: dict[str, FileWriter] | None = None
        self.default_bins = _default_bins()
        self._projector_config = ProjectorConfig()
        self._get_file_writer()

    # ------------------------------------------------------------ files

    def _new_file(self, folder: Any) -> FileWriter:
        return FileWriter(folder, self.max_queue, self.flush_secs, self.filename_suffix)

    def _get_file_writer(self) -> FileWriter:
        """The folder's own file, begun anew after ``close``."""
        if self.file_writer is None or self.all_writers is None:
            self.file_writer = self._new_file(self.log_dir)
            self.all_writers = {self.file_writer.get_logdir(): self.file_writer}
            if self.purge_step is not None:
                step = self.purge_step
                self.file_writer.add_event(Event(step=step, file_version="brain.Event:2"))
                self.file_writer.add_event(Event(step=step, session_log=SessionLog(status=SessionLog.START)))
                self.purge_step = None
        return self.file_writer

    def get_logdir(self) -> Any:
        """The folder."""
        return self.log_dir

    def flush(self) -> None:
        """Writes what waits."""
        for writer in (self.all_writers or {}).values():
            writer.flush()

    def close(self) -> None:
        """Writes what waits, and closes the files; adding more begins new ones."""
        for writer in (self.all_writers or {}).values():
            writer.flush()
            writer.close()
        self.file_writer = self.all_writers = None

    def __enter__(self) -> SummaryWriter:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # ------------------------------------------------------------ numbers

    def add_scalar(
        self,
        tag: str,
        scalar_value: Any,
        global_step: Any = None,
        walltime: float | None = None,
        new_style: bool = False,
        double_precision: bool = False,
    ) -> None:
        """Logs a number.

        Args:
            new_style: write it as a tensor, which loads faster.
            double_precision: of float64; in the new style alone.

        Raises:
            AssertionError: if there is more than one element.
        """
        record = summary.scalar(tag, scalar_value, new_style, double_precision)
        self._get_file_writer().add_summary(record, global_step, walltime)

    def add_scalars(
        self, main_tag: str, tag_scalar_dict: dict[str, Any], global_step: Any = None, walltime: float | None = None
    ) -> None:
        """Logs numbers that belong into one chart: each goes to a run of its own, in a folder below."""
        walltime = time.time() if walltime is None else walltime
        folder = self._get_file_writer().get_logdir()
        assert self.all_writers is not None, "begun by _get_file_writer"
        for tag, value in tag_scalar_dict.items():
            place = f"{folder}/{main_tag.replace('/', '_')}_{tag}"
            if place not in self.all_writers:
                self.all_writers[place] = self._new_file(place)
            self.all_writers[place].add_summary(summary.scalar(main_tag, value), global_step, walltime)

    def add_tensor(self, tag: str, tensor: Any, global_step: Any = None, walltime: float | None = None) -> None:
        """Logs a whole tensor.

        Raises:
            ValueError: if it has 2 GiB or more, or a type that the format lacks.
        """
        self._get_file_writer().add_summary(summary.tensor_proto(tag, tensor), global_step, walltime)

    def add_histogram(
        self,
        tag: str,
        values: Any,
        global_step: Any = None,
        bins: Any = "tensorflow",
        walltime: float | None = None,
        max_bins: int | None = None,
    ) -> None:
        """Logs how values are distributed.

        Args:
            bins: ``"tensorflow"``, whose bins grow by a tenth, or what ``numpy.histogram`` takes.
            max_bins: put bins together until there are about so many.

        Raises:
            ValueError: if there are no values.
        """
        chosen = self.default_bins if isinstance(bins, str) and bins == "tensorflow" else bins
        self._get_file_writer().add_summary(summary.histogram(tag, values, chosen, max_bins), global_step, walltime)

    def add_histogram_raw(
        self,
        tag: str,
        min: Any,
        max: Any,
        num: Any,
        sum: Any,
        sum_squares: Any,
        bucket_limits: Any,
        bucket_counts: Any,
        global_step: Any = None,
        walltime: float | None = None,
    ) -> None:
        """Logs a histogram that was counted elsewhere; ``bucket_limits`` are the right ones.

        Raises:
            ValueError: if there are not as many limits as counts.
        """
        if len(bucket_limits) != len(bucket_counts):
            raise ValueError("len(bucket_limits) != len(bucket_counts), see the document.")
        record = summary.histogram_raw(tag, min, max, num, sum, sum_squares, bucket_limits, bucket_counts)
        self._get_file_writer().add_summary(record, global_step, walltime)

    # ------------------------------------------------------------ pictures and sound

    def add_image(
        self,
        tag: str,
        img_tensor: Any,
        global_step: Any = None,
        walltime: float | None = None,
        dataformats: str = "CHW",
    ) -> None:
        """Logs a picture, of bytes or of numbers in [0, 1].

        Args:
            dataformats: what its axes are: ``"CHW"``, ``"HWC"``, ``"HW"``, or with N a batch, drawn as a grid.

        Raises:
            AssertionError: if they do not fit its shape.
        """
        pixels = images.in_bytes(images.channels_last(as_array(img_tensor), dataformats))
        record = summary.one(tag, image=images.encoded(pixels))
        self._get_file_writer().add_summary(record, global_step, walltime)

    def add_images(
        self,
        tag: str,
        img_tensor: Any,
        global_step: Any = None,
        walltime: float | None = None,
        dataformats: str = "NCHW",
    ) -> None:
        """Logs a batch of pictures as a grid; as :meth:`add_image`."""
        self.add_image(tag, img_tensor, global_step, walltime, dataformats)

    def add_image_with_boxes(
        self,
        tag: str,
        img_tensor: Any,
        box_tensor: Any,
        global_step: Any = None,
        walltime: float | None = None,
        rescale: float = 1,
        dataformats: str = "CHW",
        labels: Any = None,
    ) -> None:
        """Logs a picture with boxes drawn into it.

        Args:
            box_tensor: (N, 4), each left, top, right, bottom.
            rescale: factor of the size.
            labels: a text for each box; ignored if there are not as many.
        """
        boxes = as_array(box_tensor)
        if isinstance(labels, str):
            labels = [labels]
        if labels is not None and len(labels) != len(boxes):
            labels = None
        pixels = images.in_bytes(images.channels_last(as_array(img_tensor), dataformats))
        record = summary.one(tag, image=images.encoded(pixels, rescale, boxes, labels))
        self._get_file_writer().add_summary(record, global_step, walltime)

    def add_figure(
        self, tag: str, figure: Any, global_step: Any = None, close: bool = True, walltime: float | None = None
    ) -> None:
        """Logs a figure of matplotlib's, or a list of them as a grid.

        Args:
            close: close them afterwards.
        """
        axes = "NCHW" if isinstance(figure, list) else "CHW"
        self.add_image(tag, images.of_figures(figure, close), global_step, walltime, dataformats=axes)

    def add_video(
        self, tag: str, vid_tensor: Any, global_step: Any = None, fps: float = 4, walltime: float | None = None
    ) -> None:
        """Logs videos (N, T, C, H, W), side by side, as an animated GIF."""
        record = summary.one(tag, image=images.animated(vid_tensor, fps))
        self._get_file_writer().add_summary(record, global_step, walltime)

    def add_audio(
        self,
        tag: str,
        snd_tensor: Any,
        global_step: Any = None,
        sample_rate: int = 44100,
        walltime: float | None = None,
    ) -> None:
        """Logs sound (1, L) within [-1, 1]; what is louder is cut off, with a word about it.

        Raises:
            AssertionError: if there is more than one channel.
        """
        self._get_file_writer().add_summary(summary.audio(tag, snd_tensor, sample_rate), global_step, walltime)

    def add_text(self, tag: str, text_string: str, global_step: Any = None, walltime: float | None = None) -> None:
        """Logs a text, shown as Markdown."""
        self._get_file_writer().add_summary(summary.text(tag, text_string), global_step, walltime)

    def add_mesh(
        self,
        tag: str,
        vertices: Any,
        colors: Any = None,
        faces: Any = None,
        config_dict: dict[str, Any] | None = None,
        global_step: Any = None,
        walltime: float | None = None,
    ) -> None:
        """Logs points in space, and triangles between them.

        Args:
            vertices: (B, N, 3).
            colors: (B, N, 3).
            faces: (B, M, 3), indices of vertices.
            config_dict: settings of three.js: camera, lights, material.
        """
        record = summary.mesh(tag, vertices, colors, faces, config_dict)
        self._get_file_writer().add_summary(record, global_step, walltime)

    # ------------------------------------------------------------ models and experiments

    def add_graph(
        self, model: Any, input_to_model: Any = None, verbose: bool = False, use_strict_trace: bool = True
    ) -> None:
        """Calls a module once, without gradients, and logs what it recorded as a graph.

        An operation stands within the module that recorded it; leaves are the inputs, parameters and buffers by
        name, and constants.

        Args:
            input_to_model: the argument, or a tuple of them.
            verbose: print the graph as well.
            use_strict_trace: accepted; nothing is traced.

        Raises:
            TypeError: if the model is no module.
            RuntimeError: if its forward looks at a value, and so cannot be drawn as one graph.
        """
        from flambeau.utils.tensorboard.graph import graph_of

        graph = graph_of(model, input_to_model)
        if verbose:
            print(graph)
        self._get_file_writer().add_graph((graph, None))

    def add_onnx_graph(self, prototxt: Any) -> None:
        """Not supported: this package reads no ONNX."""
        raise NotImplementedError("add_onnx_graph is not supported: flambeau reads no ONNX; use add_graph")

    def add_embedding(
        self,
        mat: Any,
        metadata: Any = None,
        label_img: Any = None,
        global_step: int | None = None,
        tag: str = "default",
        metadata_header: Any = None,
    ) -> None:
        """Writes points for the embedding projector.

        Args:
            mat: (N, D).
            metadata: N labels, or with ``metadata_header`` N rows of as many columns.
            label_img: (N, C, H, W), a picture for each.

        Raises:
            AssertionError: if the counts differ, or ``mat`` has not two dimensions.
        """
        from google.protobuf import text_format

        folder = self._get_file_writer().get_logdir()
        info = projector.write(folder, mat, metadata, label_img, global_step or 0, tag, metadata_header)
        self._projector_config.embeddings.append(info)
        with open(os.path.join(folder, "projector_config.pbtxt"), "w", encoding="utf-8") as file:
            file.write(text_format.MessageToString(self._projector_config))

    def add_pr_curve(
        self,
        tag: str,
        labels: Any,
        predictions: Any,
        global_step: Any = None,
        num_thresholds: int = 127,
        weights: Any = None,
        walltime: float | None = None,
    ) -> None:
        """Logs precision and recall of predicted probabilities at evenly spaced thresholds, of which 127 at most.

        Args:
            labels: what is true.
            predictions: probabilities, of the same shape.
            weights: of each.
        """
        record = summary.pr_curve(tag, labels, predictions, num_thresholds, weights)
        self._get_file_writer().add_summary(record, global_step, walltime)

    def add_pr_curve_raw(
        self,
        tag: str,
        true_positive_counts: Any,
        false_positive_counts: Any,
        true_negative_counts: Any,
        false_negative_counts: Any,
        precision: Any,
        recall: Any,
        global_step: Any = None,
        num_thresholds: int = 127,
        weights: Any = None,
        walltime: float | None = None,
    ) -> None:
        """Logs a precision-recall curve that was counted elsewhere; ``weights`` are accepted."""
        counts = (true_positive_counts, false_positive_counts, true_negative_counts, false_negative_counts)
        record = summary.pr_curve_raw(tag, *counts, precision, recall, num_thresholds)
        self._get_file_writer().add_summary(record, global_step, walltime)

    def add_custom_scalars_multilinechart(
        self, tags: list[str], category: str = "default", title: str = "untitled"
    ) -> None:
        """Puts scalars into one chart; see :meth:`add_custom_scalars`."""
        self.add_custom_scalars({category: {title: ["Multiline", tags]}})

    def add_custom_scalars_marginchart(
        self, tags: list[str], category: str = "default", title: str = "untitled"
    ) -> None:
        """Puts a value, its lower and its upper bound into one chart; see :meth:`add_custom_scalars`."""
        if len(tags) != 3:
            raise AssertionError(f"Expected 3 tags, got {len(tags)}.")
        self.add_custom_scalars({category: {title: ["Margin", tags]}})

    def add_custom_scalars(self, layout: dict[str, dict[str, Any]]) -> None:
        """Says which scalars stand together in which charts; to be called once.

        Args:
            layout: ``{category: {title: [kind, tags]}}``, the kind ``"Multiline"`` or ``"Margin"``.
        """
        self._get_file_writer().add_summary(summary.custom_scalars(layout))

    def add_hparams(
        self,
        hparam_dict: dict[str, Any],
        metric_dict: dict[str, Any],
        hparam_domain_discrete: dict[str, list[Any]] | None = None,
        run_name: str | None = None,
        global_step: Any = None,
    ) -> None:
        """Logs hyperparameters and what came of them, in a run of its own below the folder.

        Args:
            hparam_dict: bools, strings, numbers or None.
            metric_dict: numbers.
            hparam_domain_discrete: for some hyperparameters, all values that they may take.
            run_name: the run's folder; None: the time.

        Raises:
            TypeError: if these are no dictionaries, or a domain does not fit.
            ValueError: if a hyperparameter is of another type.
        """
        if type(hparam_dict) is not dict or type(metric_dict) is not dict:
            raise TypeError("hparam_dict and metric_dict should be dictionary.")
        records = summary.hparams(hparam_dict, metric_dict, hparam_domain_discrete)
        folder = os.path.join(self._get_file_writer().get_logdir(), run_name or str(time.time()))
        with SummaryWriter(log_dir=folder) as writer:
            for record in records:
                writer._get_file_writer().add_summary(record, global_step)
            for name, value in metric_dict.items():
                writer.add_scalar(name, value, global_step)

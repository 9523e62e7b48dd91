"""Logging for TensorBoard, under PyTorch's name: ``torch.utils.tensorboard``."""

try:
    import tensorboard as _tensorboard
except ImportError as error:
    raise ImportError(
        "flambeau.utils.tensorboard writes through the package tensorboard, which is not installed: "
        "pip install 'flambeau[tensorboard]'"
    ) from error

from tensorboard.summary.writer.record_writer import RecordWriter

from flambeau.utils.tensorboard.writer import FileWriter, SummaryWriter

__all__ = ["FileWriter", "RecordWriter", "SummaryWriter"]

"""What the loader is made of: collation, fetching, worker processes; modules named as PyTorch's."""

from flambeau.utils.data._utils import collate, fetch, worker

__all__ = ["collate", "fetch", "worker"]

"""Softmax over very many classes, the rare ones in clusters."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Sequence
from typing import Any

from flambeau.nn import functional as F
from flambeau.nn.modules.container import ModuleList, Sequential
from flambeau.nn.modules.linear import Linear
from flambeau.nn.modules.module import Module
from flambeau.ops.operator import NAMESPACES
from flambeau.tensor.tensor import Tensor

__all__ = ["AdaptiveLogSoftmaxWithLoss"]

_ASMoutput = namedtuple("_ASMoutput", ["output", "loss"])


class AdaptiveLogSoftmaxWithLoss(Module):
    """The log probability of each target among very many classes that are sorted by frequency.

    The frequent classes and the clusters of the others share a first softmax; each cluster has a second one, on
    a projection of the input that is the smaller the rarer its classes are.

    Shape: input (N, in_features) or (in_features), target (N) or (); output as the target, loss ().

    Args:
        in_features: size of the input.
        n_classes: how many classes; the most frequent must come first.
        cutoffs: where the clusters begin, increasing.
        div_value: by which the projections shrink from one cluster to the next.
        head_bias: whether the first layer has a bias.

    Attributes:
        head: the first layer.
        tail: for each cluster two layers, the projection and the classes.

    Grave, Joulin, Cissé, Grangier and Jégou, Efficient Softmax Approximation for GPUs, ICML 2017.

    Raises:
        ValueError: if the cutoffs are not increasing integers from 1 to ``n_classes - 1``.

    Example:
        >>> import flambeau as torch
        >>> layer = torch.nn.AdaptiveLogSoftmaxWithLoss(16, n_classes=100, cutoffs=[10, 50])
        >>> x = torch.zeros(3, 16)
        >>> out = layer(x, torch.tensor([0, 20, 99]))
        >>> out.output.shape, out.loss.shape
        (torch.Size([3]), torch.Size([]))
        >>> layer.log_prob(x).shape
        torch.Size([3, 100])
    """

    in_features: int
    n_classes: int
    cutoffs: list[int]
    div_value: float
    head_bias: bool
    head: Linear
    tail: ModuleList

    def __init__(
        self,
        in_features: int,
        n_classes: int,
        cutoffs: Sequence[int],
        div_value: float = 4.0,
        head_bias: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        cutoffs = list(cutoffs)
        if not cutoffs:
            raise ValueError("cutoffs should be a sequence of length larger than 0")
        if (
            cutoffs != sorted(cutoffs)
            or min(cutoffs) <= 0
            or max(cutoffs) > n_classes - 1
            or len(set(cutoffs)) != len(cutoffs)
            or any(int(c) != c for c in cutoffs)
        ):
            raise ValueError(
                "cutoffs should be a sequence of unique, positive integers sorted in an increasing order, where each "
                "value is between 1 and n_classes-1"
            )
        self.in_features = in_features
        self.n_classes = n_classes
        self.cutoffs = [*cutoffs, n_classes]
        self.div_value = div_value
        self.head_bias = head_bias
        self.shortlist_size = self.cutoffs[0]
        self.n_clusters = len(self.cutoffs) - 1
        self.head_size = self.shortlist_size + self.n_clusters
        self.head = Linear(self.in_features, self.head_size, bias=self.head_bias, device=device, dtype=dtype)
        self.tail = ModuleList()
        for i in range(self.n_clusters):
            hidden = int(self.in_features // (self.div_value ** (i + 1)))
            size = self.cutoffs[i + 1] - self.cutoffs[i]
            self.tail.append(
                Sequential(
                    Linear(self.in_features, hidden, bias=False, device=device, dtype=dtype),
                    Linear(hidden, size, bias=False, device=device, dtype=dtype),
                )
            )

    def reset_parameters(self) -> None:
        """Draws all layers anew."""
        self.head.reset_parameters()
        for projection, classes in self.tail:
            projection.reset_parameters()
            classes.reset_parameters()

    def forward(self, input_: Tensor, target_: Tensor) -> Any:
        """The log probability of each target (``output``) and minus their mean (``loss``)."""
        self._check(input_, target_)
        batched = target_.ndim > 0
        input = input_ if batched else input_.unsqueeze(0)
        target = target_ if batched else target_.unsqueeze(0)
        head = F.log_softmax(self.head(input), 1)
        place = target.clamp(max=self.shortlist_size - 1)
        output = None
        for i in range(self.n_clusters):
            low, high = self.cutoffs[i], self.cutoffs[i + 1]
            # Only the rows whose target is in the cluster go through its layers.
            rows = ((target >= low) & (target < high)).nonzero().squeeze(1)
            if not rows.shape[0]:
                continue
            place = place.index_fill(0, rows, self.shortlist_size + i)
            within = F.log_softmax(self.tail[i](input.index_select(0, rows)), 1)
            found = within.gather(1, (target.index_select(0, rows) - low).unsqueeze(1)).squeeze(1)
            added = head.new_zeros(target.shape[0]).index_add(0, rows, found)
            output = added if output is None else output + added
        first = head.gather(1, place.unsqueeze(1)).squeeze(1)
        output = first if output is None else first + output
        loss = (-output).mean()
        return _ASMoutput(output if batched else output.squeeze(0), loss)

    def _check(self, input: Tensor, target: Tensor) -> None:
        if target.ndim == 1:
            if input.shape[0] != target.shape[0]:
                raise RuntimeError("Input and target should have the same size in the batch dimension.")
            if input.ndim != 2:
                raise RuntimeError("1D target tensor expects 2D input tensors, but found inputs with size", input.shape)
        elif target.ndim == 0:
            if input.ndim != 1:
                raise RuntimeError("0D target tensor expects 1D input tensors, but found inputs with size", input.shape)
        else:
            raise RuntimeError("0D or 1D target tensor expected, multi-target not supported")
        values = target._array()
        if values.size and (values.min() < 0 or values.max() >= self.n_classes):
            raise RuntimeError(
                f"Target values should be in [0, {self.n_classes - 1}], but values in range [{values.min()}, "
                f"{values.max()}] were found. "
            )

    def _get_full_log_prob(self, input: Tensor, head_output: Tensor) -> Tensor:
        head = F.log_softmax(head_output, 1)
        size = self.shortlist_size
        parts = [head[:, :size]]
        for i, cluster in enumerate(self.tail):
            parts.append(F.log_softmax(cluster(input), 1) + head[:, size + i : size + i + 1])
        return NAMESPACES["torch"]["cat"](parts, 1)

    def log_prob(self, input: Tensor) -> Tensor:
        """The log probabilities of all classes: (N, in_features) gives (N, n_classes).

        Example:
            >>> import flambeau as torch
            >>> layer = torch.nn.AdaptiveLogSoftmaxWithLoss(16, n_classes=20, cutoffs=[5, 10])
            >>> layer.log_prob(torch.zeros(2, 16)).exp().sum(dim=1).detach().round(decimals=3)
            tensor([1., 1.])
        """
        return self._get_full_log_prob(input, self.head(input))

    def predict(self, input: Tensor) -> Tensor:
        """The most probable class of each row: (N, in_features) gives (N).

        Example:
            >>> import flambeau as torch
            >>> layer = torch.nn.AdaptiveLogSoftmaxWithLoss(16, n_classes=20, cutoffs=[5, 10])
            >>> layer.predict(torch.zeros(2, 16)).shape
            torch.Size([2])
        """
        head = self.head(input)
        best = head.argmax(1)
        # Only where a cluster is likelier than any frequent class need its classes be looked at.
        rows = (best >= self.shortlist_size).nonzero().squeeze(1)
        if not rows.shape[0]:
            return best
        full = self._get_full_log_prob(input.index_select(0, rows), head.index_select(0, rows))
        return best.index_copy(0, rows, full.argmax(1))

"""Connectionist temporal classification.

Graves, Fernández, Gomez and Schmidhuber, Connectionist Temporal Classification, ICML 2006: equations 6
to 8 (forward variables), 10 and 11 (backward variables) and 16 (the gradient), in logarithms.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau import devices, dtypes
from flambeau.graph.node import Aval
from flambeau.ops.loss_class import checked_reduction
from flambeau.ops.operator import NotDifferentiable, operator, public
from flambeau.ops.samples import T, case
from flambeau.tensor.tensor import Tensor, from_array

# ---------------------------------------------------------------- array code


def _log_sum(xp: Any, *terms: Any) -> Any:
    """``log Σ exp``; minus infinity where all terms are."""
    top = terms[0]
    for term in terms[1:]:
        top = xp.maximum(top, term)
    bounded = xp.where(top == -xp.inf, xp.zeros((), top.dtype), top)
    total = xp.exp(terms[0] - bounded)
    for term in terms[1:]:
        total = total + xp.exp(term - bounded)
    return xp.log(total) + bounded


def _scan(xp: Any, step: Any, first: Any, steps: Any) -> Any:
    """The states ``first, step(first, steps[0]), ...``, stacked."""
    if xp is np:
        states = [first]
        for given in zip(*steps, strict=True):
            states.append(step(states[-1], given))
        return np.stack(states)
    from jax import lax

    def body(state: Any, given: Any) -> Any:
        new = step(state, given)
        return new, new

    _, rest = lax.scan(body, first, steps)
    return xp.concatenate([first[None], rest])


def _extended(xp: Any, targets: Any, blank: int) -> Any:
    """Labels with blanks around each: (N, 2 S + 1)."""
    n, s = targets.shape
    blanks = xp.full((n, s + 1, 1), blank, targets.dtype)
    padded = xp.concatenate([targets, xp.full((n, 1), blank, targets.dtype)], axis=1)
    return xp.concatenate([blanks, padded[:, :, None]], axis=2).reshape(n, 2 * s + 2)[:, :-1]


def _emitted(xp: Any, log_probs: Any, labels: Any) -> Any:
    """The log probability of each label at each time: (T, N, L)."""
    index = xp.broadcast_to(labels[None], (log_probs.shape[0], *labels.shape))
    return xp.take_along_axis(log_probs, index, axis=2)


def _moved(xp: Any, state: Any, by: int) -> Any:
    """The states, ``by`` places further on (or back), with minus infinity coming in."""
    fill = xp.full((state.shape[0], min(abs(by), state.shape[1])), -xp.inf, state.dtype)
    if by > 0:
        return xp.concatenate([fill, state[:, :-by]], axis=1)[:, : state.shape[1]]
    return xp.concatenate([state[:, -by:], fill], axis=1)[:, : state.shape[1]]


def _may_skip(xp: Any, labels: Any, blank: int) -> Any:
    """Whether a label may follow the last but one: neither is it blank nor the same."""
    before = xp.concatenate(
        [xp.full((labels.shape[0], min(2, labels.shape[1])), blank, labels.dtype), labels[:, :-2]], axis=1
    )
    return (labels != blank) & (labels != before[:, : labels.shape[1]])


def _forward(xp: Any, emitted: Any, labels: Any, blank: int) -> Any:
    """Log probabilities of all beginnings that end at a time with a label: (T, N, L)."""
    place = xp.arange(labels.shape[1])[None]
    skip = _may_skip(xp, labels, blank)
    nothing = xp.full((), -xp.inf, emitted.dtype)
    first = xp.where(place < 2, emitted[0], nothing)

    def step(state: Any, given: Any) -> Any:
        two = xp.where(skip, _moved(xp, state, 2), nothing)
        return _log_sum(xp, state, _moved(xp, state, 1), two) + given[0]

    return _scan(xp, step, first, (emitted[1:],))


def _at(xp: Any, states: Any, time: Any, place: Any) -> Any:
    """``states[time[n], n, place[n]]`` for each n."""
    rows = xp.arange(states.shape[1])
    return states[time, rows, place]


def _likelihood(xp: Any, states: Any, input_lengths: Any, target_lengths: Any) -> Any:
    last = xp.maximum(input_lengths - 1, 0)
    ends = 2 * target_lengths
    nothing = xp.full((), -xp.inf, states.dtype)
    at_label = xp.where(target_lengths > 0, _at(xp, states, last, xp.maximum(ends - 1, 0)), nothing)
    total = _log_sum(xp, _at(xp, states, last, ends), at_label)
    # An input of no length says nothing, which is right if nothing is to be said.
    empty = xp.where(target_lengths == 0, xp.zeros((), states.dtype), nothing)
    return xp.where(input_lengths == 0, empty, total)


def _backward_states(xp: Any, emitted: Any, labels: Any, blank: int, input_lengths: Any, target_lengths: Any) -> Any:
    """Log probabilities of all endings that begin at a time with a label: (T, N, L)."""
    steps = emitted.shape[0]
    place = xp.arange(labels.shape[1])[None]
    ends = (2 * target_lengths)[:, None]
    # Whether a label may be left by two places at once.
    skip = xp.concatenate(
        [_may_skip(xp, labels, blank)[:, 2:], xp.zeros((labels.shape[0], min(2, labels.shape[1])), bool)], axis=1
    )
    nothing = xp.full((), -xp.inf, emitted.dtype)
    final = (place == ends) | (place == ends - 1)
    zero = xp.zeros((), emitted.dtype)
    ending = xp.where(final, zero, nothing)
    times = xp.arange(steps)[::-1]

    def step(state: Any, given: Any) -> Any:
        said, time = given
        two = xp.where(skip, _moved(xp, state, -2), nothing)
        onward = _log_sum(xp, state, _moved(xp, state, -1), two)
        onward = xp.where((time == input_lengths - 1)[:, None], ending, onward)
        inside = (time < input_lengths)[:, None] & (place <= ends)
        return xp.where(inside, onward + said, nothing)

    first = xp.full(emitted.shape[1:], -xp.inf, emitted.dtype)
    return _scan(xp, step, first, (emitted[::-1], times))[1:][::-1]


# ---------------------------------------------------------------- the operators


def _ctc_rule(
    log_probs: Aval, targets: Aval, input_lengths: Aval, target_lengths: Aval, *, blank: int, zero_infinity: bool
) -> Aval:
    if log_probs.dtype not in (dtypes.float32, dtypes.float64):
        raise NotImplementedError(f"\"ctc_loss_cpu\" not implemented for '{log_probs.dtype.title}'")
    return log_probs.of(log_probs.shape[1:2])


def _ctc_kernel(
    xp: Any,
    log_probs: Any,
    targets: Any,
    input_lengths: Any,
    target_lengths: Any,
    *,
    blank: int,
    zero_infinity: bool,
) -> Any:
    labels = _extended(xp, targets, blank)
    states = _forward(xp, _emitted(xp, log_probs, labels), labels, blank)
    loss = -_likelihood(xp, states, input_lengths, target_lengths)
    return xp.where(loss == xp.inf, xp.zeros((), loss.dtype), loss) if zero_infinity else loss


def _ctc_derivative(
    grad: Tensor,
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Tensor,
    target_lengths: Tensor,
    blank: int,
    zero_infinity: bool,
) -> Any:
    found = CTC_BACKWARD(grad, log_probs, targets, input_lengths, target_lengths, blank, zero_infinity)
    return found, None, None, None


def _ctc_samples() -> list[Any]:
    return [
        case(
            "nn.functional.ctc_loss",
            T(6, 2, 5, low=-3.0, high=-0.1),
            T(2, 3, dtype="int64", low=1, high=5),
            (6, 5),
            (3, 2),
            reduction=reduction,
            gradgrad=False,
            finite=False,
        )
        for reduction in ("mean", "sum", "none")
    ]


CTC = operator("ctc_loss", _ctc_rule, _ctc_kernel, _ctc_derivative, samples=_ctc_samples)


def _ctc_backward_rule(
    g: Aval,
    log_probs: Aval,
    targets: Aval,
    input_lengths: Aval,
    target_lengths: Aval,
    *,
    blank: int,
    zero_infinity: bool,
) -> Aval:
    return log_probs.of()


def _ctc_backward_kernel(
    xp: Any,
    g: Any,
    log_probs: Any,
    targets: Any,
    input_lengths: Any,
    target_lengths: Any,
    *,
    blank: int,
    zero_infinity: bool,
) -> Any:
    steps, _, classes = log_probs.shape
    labels = _extended(xp, targets, blank)
    emitted = _emitted(xp, log_probs, labels)
    before = _forward(xp, emitted, labels, blank)
    after = _backward_states(xp, emitted, labels, blank, input_lengths, target_lengths)
    total = _likelihood(xp, before, input_lengths, target_lengths)
    # The emission at the time itself is counted twice.
    with_label = xp.exp(before + after - emitted - total[None, :, None])
    with_label = xp.where((before == -xp.inf) | (after == -xp.inf), xp.zeros((), g.dtype), with_label)
    flat = _summed_by_label(xp, with_label, labels, classes)
    found = (xp.exp(log_probs) - flat) * g[None, :, None]
    inside = (xp.arange(steps)[:, None] < input_lengths[None])[:, :, None]
    if zero_infinity:
        inside = inside & (total != -xp.inf)[None, :, None]
    else:
        found = xp.where((total == -xp.inf)[None, :, None], xp.full((), xp.nan, g.dtype), found)
    return xp.where(inside, found, xp.zeros((), g.dtype))


def _summed_by_label(xp: Any, values: Any, labels: Any, classes: int) -> Any:
    """Σ of what belongs to each class: (T, N, L) to (T, N, C)."""
    rows = xp.broadcast_to(xp.arange(labels.shape[0])[:, None], labels.shape)
    if xp is np:
        result = np.zeros((*values.shape[:2], classes), values.dtype)
        places: Any = (slice(None), rows, labels)
        np.add.at(result, places, values)
        return result
    return xp.zeros((*values.shape[:2], classes), values.dtype).at[:, rows, labels].add(values)


CTC_BACKWARD = operator(
    "ctc_loss_backward",
    _ctc_backward_rule,
    _ctc_backward_kernel,
    NotDifferentiable("PyTorch has no second derivative of ctc_loss either"),
    samples=lambda: _ctc_samples()[:1],
)


# ---------------------------------------------------------------- the public function


def _lengths(name: str, given: Any) -> np.ndarray:
    if isinstance(given, Tensor):
        if given.dtype.category > dtypes.INTEGER:
            raise RuntimeError(f"{name} must be integral")
        return given._array().astype(np.int64).reshape(-1)
    return np.asarray(given, np.int64).reshape(-1)


@public(into="nn.functional")
def ctc_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Any,
    target_lengths: Any,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Tensor:
    """Minus the log probability that a sequence of predictions spells the targets, blanks and repeats left out.

    Args:
        log_probs: logarithms of class probabilities, (T, N, C) or (T, C).
        targets: class indices, (N, S) or (S), or all in one line, (Σ target_lengths).
        input_lengths, target_lengths: of each example.
        blank: the index of the blank.
        reduction: ``"mean"`` divides by the targets' lengths first.
        zero_infinity: count losses that are infinite (targets too long) as zero.

    Raises:
        RuntimeError: if shapes or lengths do not fit.

    Example:
        >>> import flambeau as torch
        >>> logp = torch.full((3, 1, 2), 0.5).log()
        >>> torch.nn.functional.ctc_loss(logp, torch.tensor([[1]]), (3,), (1,), reduction="sum").exp()
        tensor(1.3333)
    """
    reduction = checked_reduction(reduction)
    batched = log_probs.ndim == 3
    if not batched:
        log_probs = log_probs.unsqueeze(1)
    steps, n, classes = log_probs.shape
    if targets.dtype.category != dtypes.INTEGER:
        raise RuntimeError("targets must be integral")
    given = _lengths("input_lengths", input_lengths)
    wanted = _lengths("target_lengths", target_lengths)
    if not 0 <= blank < classes:
        raise RuntimeError("blank must be in label range")
    if len(given) != n:
        raise RuntimeError("input_lengths must be of size batch_size")
    if len(wanted) != n:
        raise RuntimeError("target_lengths must be of size batch_size")
    if given.size and (given.max() > steps or given.min() < 0):
        raise RuntimeError(
            f"Expected input_lengths to have value at most {steps}, but got value {int(given.max())} "
            "(while checking arguments for ctc_loss_allocate_outputs)"
        )
    device = log_probs.device
    if targets.ndim == 1 and targets.dtype is dtypes.int32 and targets.device is devices.cpu:
        # In cuDNN's form targets stay on the CPU.
        targets = targets.to(device)
    loss = CTC(
        log_probs,
        _padded_targets(targets, wanted, n),
        from_array(given, device=device),
        from_array(wanted, device=device),
        int(blank),
        bool(zero_infinity),
    )
    if reduction == "none":
        return loss if batched else loss.squeeze(0)
    if reduction == "sum":
        return loss.sum()
    return (loss / from_array(np.maximum(wanted, 1), device=device).to(loss.dtype)).mean()


def _padded_targets(targets: Tensor, lengths: np.ndarray, n: int) -> Tensor:
    """The targets as (N, S), whichever way they were given."""
    longest = int(lengths.max()) if lengths.size else 0
    if targets.ndim == 1:
        if targets.shape[0] != int(lengths.sum()):
            raise RuntimeError(
                f"Expected tensor to have size {int(lengths.sum())} at dimension 0, but got size {targets.shape[0]} "
                "for argument #2 'targets' (while checking arguments for ctc_loss_allocate_outputs)"
            )
        if not longest:
            return targets.new_zeros((n, 0))
        starts = np.cumsum(lengths) - lengths
        places = np.minimum(starts[:, None] + np.arange(longest), targets.shape[0] - 1)
        return targets[from_array(places, device=targets.device)]
    if targets.shape[0] != n or targets.shape[1] < longest:
        raise RuntimeError(
            f"Expected tensor to have size at least {longest} at dimension 1, but got size {targets.shape[1]} for "
            "argument #2 'targets' (while checking arguments for ctc_loss_allocate_outputs)"
        )
    return targets

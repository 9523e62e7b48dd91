"""Limited-memory BFGS."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau import dtypes
from flambeau.autograd.grad_mode import enable_grad, no_grad
from flambeau.graph.node import Aval
from flambeau.ops.complex import view_as_real
from flambeau.ops.join import cat
from flambeau.ops.operator import NotDifferentiable, operator
from flambeau.ops.samples import case
from flambeau.optim.line_search import Point, strong_wolfe
from flambeau.optim.optimizer import Optimizer, check_lr, count_of, filled
from flambeau.tensor.tensor import Tensor

_CURVATURE = 1e-10
"""A pair of steps and gradients with less than this is not remembered."""

_HELD = ("d", "t", "old_dirs", "old_stps", "ro", "H_diag", "prev_flat_grad", "prev_loss")


def _shapes(*inputs: Aval, count: int) -> tuple[Aval, ...]:
    grad = inputs[0]
    return (grad.of(), *[grad.of(shape=()) for _ in range(count)])


def _two_loops(xp: Any, grad: Any, scale: Any, empty: Any, *history: Any, count: int) -> Any:
    """Minus the inverse Hessian times the gradient, and the weights of the changes, as one node.

    The first ``empty`` of the ``count`` places hold zeros.
    """
    changes, steps, inverses = (history[i * count : (i + 1) * count] for i in range(3))
    weights = [xp.zeros((), grad.dtype)] * count
    direction = -grad
    for i in reversed(range(empty, count)):
        weights[i] = xp.dot(steps[i], direction) * inverses[i]
        direction = direction - weights[i] * changes[i]
    direction = (direction * scale).astype(grad.dtype)
    for i in range(empty, count):
        direction = direction + (weights[i] - xp.dot(changes[i], direction) * inverses[i]) * steps[i]
    return (direction, *weights)


def _two_loops_lax(xp: Any, grad: Any, scale: Any, empty: Any, *history: Any, count: int) -> Any:
    """The same, with loops that stay loops: unrolled, long histories would take minutes to compile.

    Places that hold zeros change nothing.
    """
    from jax import lax

    if count == 0:
        return _two_loops(xp, grad, scale, 0, count=0)
    stacks = tuple(xp.stack(history[i * count : (i + 1) * count]) for i in range(3))

    def back(direction: Any, at: Any) -> Any:
        change, step, inverse = at
        weight = xp.dot(step, direction) * inverse
        return direction - weight * change, weight

    def forth(direction: Any, at: Any) -> Any:
        change, step, inverse, weight = at
        return direction + (weight - xp.dot(change, direction) * inverse) * step, None

    direction, weights = lax.scan(back, -grad, stacks, reverse=True)
    direction, _ = lax.scan(forth, (direction * scale).astype(grad.dtype), (*stacks, weights))
    return (direction, *[weights[i] for i in range(count)])


_DIRECTION = operator(
    "lbfgs_direction",
    _shapes,
    None,
    NotDifferentiable("an optimizer's step is not differentiable"),
    numpy=_two_loops,
    lax=_two_loops_lax,
    samples=lambda: [case("optim._examples.lbfgs", compare=False)],
)


class LBFGS(Optimizer):
    r"""Limited-memory BFGS: steps along an inverse Hessian kept as its last changes.

    ``θ ← θ + t d,  d = -H g``, where H is never formed, but applied by the two-loop recursion over the
    last changes of θ and of the gradient.  Each step takes up to ``max_iter`` such iterations.

    Args:
        params: parameters; groups of them are not supported.
        lr: learning rate t, or where a line search begins.
        max_iter: iterations in each step.
        max_eval: calls of the closure in each step; 1.25 ``max_iter`` unless given.
        tolerance_grad: end when no part of the gradient is greater.
        tolerance_change: end when neither the parameters nor the loss change more.
        history_size: changes to remember.
        line_search_fn: ``"strong_wolfe"`` or None.

    Raises:
        ValueError: for a negative learning rate, or groups.
        TypeError: for a step without a closure.

    Source: Liu and Nocedal, On the limited memory BFGS method for large scale optimization (1989);
    Nocedal and Wright, Numerical Optimization (2006), algorithms 7.4, 3.5 and 3.6.

    Example:
        >>> import flambeau as torch
        >>> x = torch.nn.Parameter(torch.tensor([3.0]))
        >>> optimizer = torch.optim.LBFGS([x], line_search_fn="strong_wolfe")
        >>> def closure():
        ...     optimizer.zero_grad()
        ...     loss = (x - 1) ** 2
        ...     loss.sum().backward()
        ...     return loss
        >>> _ = optimizer.step(closure)
        >>> x.detach()
        tensor([1.])
    """

    def __init__(
        self,
        params: Any,
        lr: Any = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        check_lr(lr)
        defaults = {
            "lr": lr,
            "max_iter": max_iter,
            "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
            "tolerance_grad": tolerance_grad,
            "tolerance_change": tolerance_change,
            "history_size": history_size,
            "line_search_fn": line_search_fn,
        }
        super().__init__(params, defaults)
        if len(self.param_groups) != 1:
            raise ValueError("LBFGS doesn't support per-parameter options (parameter groups)")

    @property
    def _params(self) -> list[Tensor]:
        return self.param_groups[0]["params"]

    def _step(self, closure: Callable[[], Any] | None = None) -> Any:
        if closure is None:
            raise TypeError("LBFGS.step() missing 1 required positional argument: 'closure'")
        with no_grad():
            return self._minimize(closure)

    def _minimize(self, closure: Callable[[], Any]) -> Any:
        group = self.param_groups[0]
        searching = group["line_search_fn"]
        if searching not in (None, "strong_wolfe"):
            raise RuntimeError("only 'strong_wolfe' is supported")
        state = self.state[self._params[0]]
        state.setdefault("func_evals", 0)
        state.setdefault("n_iter", 0)
        first_loss = self._evaluated(closure)
        loss, grad = float(first_loss), self._flat_grad()
        evaluations = 1
        state["func_evals"] += 1
        if _largest(grad) <= group["tolerance_grad"]:
            return first_loss
        held = {name: state.get(name) for name in _HELD}
        for iteration in range(1, group["max_iter"] + 1):
            state["n_iter"] += 1
            self._direct(state, held, grad, group["history_size"])
            before = loss
            direction = held["d"]
            held["prev_flat_grad"] = grad
            held["prev_loss"] = before
            held["t"] = group["lr"].squeeze() if isinstance(group["lr"], Tensor) else group["lr"]
            if state["n_iter"] == 1:
                held["t"] = min(1.0, 1.0 / grad.abs().sum()) * held["t"]
            length = count_of(held["t"])
            slope = float(grad.dot(direction))
            if slope > -group["tolerance_change"]:
                break
            spent = 0
            if searching is not None:
                start = [p.detach().clone() for p in self._params]
                at = Point(0.0, loss, grad, slope)
                ray = self._ray(closure, start, direction)
                found, spent = strong_wolfe(ray, at, length, _largest(direction), limit=group["max_eval"] - evaluations)
                loss, grad = found.value, found.grad
                if found.place != length:
                    held["t"] = length = found.place
                self._move(length, direction)
            else:
                self._move(length, direction)
                if iteration != group["max_iter"]:
                    loss, grad = float(self._evaluated(closure)), self._flat_grad()
                    spent = 1
            evaluations += spent
            state["func_evals"] += spent
            if evaluations >= group["max_eval"] or _largest(grad) <= group["tolerance_grad"]:
                break
            if _largest(direction * held["t"]) <= group["tolerance_change"]:
                break
            if abs(loss - before) < group["tolerance_change"]:
                break
        state.update(held)
        return first_loss

    def _direct(self, state: dict[str, Any], held: dict[str, Any], grad: Tensor, size: int) -> None:
        """Sets the direction, after remembering what the last step changed."""
        if state["n_iter"] == 1:
            held.update(d=-grad, t=None, old_dirs=[], old_stps=[], ro=[], H_diag=1)
            return
        changes, steps, inverses = held["old_dirs"], held["old_stps"], held["ro"]
        change, step = grad - held["prev_flat_grad"], held["d"] * held["t"]
        curvature = change.dot(step)
        if curvature > _CURVATURE:
            if len(changes) == size:
                for kept in (changes, steps, inverses):
                    kept.pop(0)
            changes.append(change)
            steps.append(step)
            inverses.append(1.0 / curvature)
            held["H_diag"] = curvature / change.dot(change)
        weights = state.setdefault("al", [None] * size)
        # Room grows by doubling, so that a growing history makes few programs.
        room = min(_next_power_of_two(len(changes)), size)
        empty = room - len(changes)
        inputs = [grad, held["H_diag"], empty]
        for kept, like in ((changes, grad), (steps, grad), (inverses, curvature)):
            inputs.extend([filled(like, 0) for _ in range(empty)])
            inputs.extend(kept)
        # All are kept, those of empty places too: what is kept is part of a program's structure.
        held["d"], *self._weights = _DIRECTION(inputs, room)
        weights[: len(changes)] = self._weights[empty:]

    def _ray(self, closure: Callable[[], Any], start: list[Tensor], direction: Tensor) -> Callable[[float], Point]:
        """The loss along a direction, as a function of the length; the parameters stay."""

        def at(length: float) -> Point:
            self._move(length, direction)
            loss, grad = float(self._evaluated(closure)), self._flat_grad()
            for p, value in zip(self._params, start, strict=True):
                p.copy_(value)
            return Point(length, loss, grad, float(grad.dot(direction)))

        return at

    def _evaluated(self, closure: Callable[[], Any]) -> Any:
        with enable_grad():
            return closure()

    def _flat_grad(self) -> Tensor:
        parts = []
        for p in self._params:
            grad = p.new_zeros(p.shape) if p.grad is None else p.grad.detach()
            if grad.dtype.category == dtypes.COMPLEX:
                grad = view_as_real(grad)
            parts.append(grad.reshape(-1))
        return cat(parts, 0)

    def _move(self, length: float, direction: Tensor) -> None:
        offset = 0
        for p in self._params:
            real = view_as_real(p) if p.dtype.category == dtypes.COMPLEX else p
            count = real.numel()
            real.add_(direction[offset : offset + count].reshape(real.shape), alpha=length)
            offset += count


def _next_power_of_two(count: int) -> int:
    return 1 << (count - 1).bit_length() if count else 0


def _largest(vector: Tensor) -> float:
    return float(vector.abs().max())

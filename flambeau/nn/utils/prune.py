"""Pruning: keeping some elements of a parameter at zero.

A pruned parameter ``name`` becomes ``name_orig``, which is trained, and a buffer ``name_mask``; before each
forward ``name`` is worked out as their product.
"""

from __future__ import annotations

import numbers
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import Any

import flambeau
from flambeau.nn.modules.module import Module
from flambeau.nn.utils.convert_parameters import parameters_to_vector
from flambeau.tensor.tensor import Tensor

# ---------------------------------------------------------------- what the methods share


def _validate_pruning_amount_init(amount: Any) -> None:
    """Checks that an amount is a number of elements, or a fraction."""
    if not isinstance(amount, numbers.Real):
        raise TypeError(f"Invalid type for amount: {amount}. Must be int or float.")
    whole = isinstance(amount, numbers.Integral)
    if (whole and amount < 0) or (not whole and not 0.0 <= float(amount) <= 1.0):
        raise ValueError(f"amount={amount} should either be a float in the range [0, 1] or a non-negative integer")


def _validate_pruning_amount(amount: Any, tensor_size: int) -> None:
    """Checks that there are as many elements as are to be pruned."""
    if isinstance(amount, numbers.Integral) and int(amount) > tensor_size:
        raise ValueError(f"amount={amount} should be smaller than the number of parameters to prune={tensor_size}")


def _validate_structured_pruning(t: Tensor) -> None:
    """Checks that there are channels."""
    if t.ndim <= 1:
        raise ValueError(
            "Structured pruning can only be applied to multidimensional tensors. Found tensor of shape "
            f"{t.shape} with {t.ndim} dims"
        )


def _validate_pruning_dim(t: Tensor, dim: int) -> None:
    if dim >= t.ndim:
        raise IndexError(f"Invalid index {dim} for tensor of size {t.shape}")


def _compute_nparams_toprune(amount: Any, tensor_size: int) -> int:
    """How many elements an amount, a number or a fraction, means."""
    return amount if isinstance(amount, numbers.Integral) else round(amount * tensor_size)  # type: ignore[return-value]


def _compute_norm(t: Tensor, n: Any, dim: int) -> Tensor:
    """The n-norm of each channel along a dimension."""
    dims = list(range(t.ndim))
    del dims[dim]
    return t.norm(p=n, dim=dims)


def _along(channels: Tensor, like: Tensor, dim: int) -> Tensor:
    """Values of channels, stretched over the tensor whose channels they are."""
    shape = [1] * like.ndim
    shape[dim] = -1
    return channels.to(like.dtype).reshape(shape).expand(like.shape)


# ---------------------------------------------------------------- methods


class BasePruningMethod(ABC):
    """A way of choosing what to prune; a subclass defines ``compute_mask`` and ``PRUNING_TYPE``.

    ``PRUNING_TYPE`` is ``"unstructured"`` (elements), ``"structured"`` (channels along ``dim``) or ``"global"``.

    Example:
        >>> import flambeau as torch
        >>> class Large(torch.nn.utils.prune.BasePruningMethod):
        ...     PRUNING_TYPE = "unstructured"
        ...     def compute_mask(self, t, default_mask):
        ...         return default_mask * (t.abs() > 1.5)
        >>> layer = torch.nn.Linear(3, 1)
        >>> _ = layer.weight.data.copy_(torch.tensor([[1., -2., 3.]]))
        >>> _ = Large.apply(layer, "weight")
        >>> layer.weight.detach()
        tensor([[ 0., -2.,  3.]])
    """

    _tensor_name: str
    PRUNING_TYPE: str

    def __call__(self, module: Module, inputs: Any) -> None:
        setattr(module, self._tensor_name, self.apply_mask(module))

    @abstractmethod
    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """Ones for what stays and zeros for what is pruned.

        Args:
            t: how important each element is.
            default_mask: the mask so far.
        """

    def apply_mask(self, module: Module) -> Tensor:
        """The pruned tensor."""
        if self._tensor_name is None:
            raise AssertionError(f"Module {module} has to be pruned")
        original = getattr(module, self._tensor_name + "_orig")
        return getattr(module, self._tensor_name + "_mask").to(original.dtype) * original

    @classmethod
    def apply(cls, module: Module, name: str, *args: Any, importance_scores: Any = None, **kwargs: Any) -> Any:
        """Prunes a parameter, on top of what is pruned already.

        Args:
            module: the module that has it.
            name: its name.
            args, kwargs: for the method's constructor.
            importance_scores: how important each element is; the parameter itself if None.
        """
        method = cls(*args, **kwargs)
        method._tensor_name = name
        before = _taken_off(module, name)
        if before is not None:
            if not isinstance(before, PruningContainer):
                before = PruningContainer(before)
            before.add_pruning_method(method)
            method = before
        original = getattr(module, name)
        if importance_scores is None:
            importance_scores = original
        elif importance_scores.shape != original.shape:
            raise AssertionError(
                f"importance_scores should have the same shape as parameter {name} of {module}, got "
                f"{importance_scores.shape} vs {original.shape}"
            )
        first = before is None
        if first:
            module.register_parameter(name + "_orig", original)
            del module._parameters[name]
            mask = flambeau.ones_like(original)
        else:
            mask = getattr(module, name + "_mask").detach().clone()
        try:
            mask = method.compute_mask(importance_scores, default_mask=mask)
            module.register_buffer(name + "_mask", mask)
            setattr(module, name, method.apply_mask(module))
            module.register_forward_pre_hook(method)
        except Exception:
            if first:
                module.register_parameter(name, getattr(module, name + "_orig"))
                del module._parameters[name + "_orig"]
            raise
        return method

    def prune(self, t: Tensor, default_mask: Tensor | None = None, importance_scores: Tensor | None = None) -> Tensor:
        """A tensor with what is pruned set to zero; belongs to no module."""
        if importance_scores is None:
            importance_scores = t
        elif importance_scores.shape != t.shape:
            raise AssertionError(
                f"importance_scores should have the same shape as tensor t, got {importance_scores.shape} vs {t.shape}"
            )
        mask = flambeau.ones_like(t) if default_mask is None else default_mask
        return t * self.compute_mask(importance_scores, default_mask=mask)

    def remove(self, module: Module) -> None:
        """Makes the parameter a plain one again, with its zeros."""
        name = self._tensor_name
        if name is None:
            raise AssertionError(f"Module {module} has to be pruned before pruning can be removed")
        weight = self.apply_mask(module)
        if hasattr(module, name):
            delattr(module, name)
        original = module._parameters[name + "_orig"]
        assert original is not None
        original.data = weight.detach()
        del module._parameters[name + "_orig"]
        del module._buffers[name + "_mask"]
        setattr(module, name, original)


def _taken_off(module: Module, name: str) -> Any:
    """The pruning of a parameter so far, its hook taken off; None if there is none."""
    found = [
        (key, hook)
        for key, hook in module._forward_pre_hooks.items()
        if isinstance(hook, BasePruningMethod) and hook._tensor_name == name
    ]
    if len(found) > 1:
        raise AssertionError(
            f"Avoid adding multiple pruning hooks to the same tensor {name} of module {module}. Use a PruningContainer."
        )
    for key, hook in found:
        del module._forward_pre_hooks[key]
        return hook
    return None


class PruningContainer(BasePruningMethod):
    """Several methods, applied to the same parameter one after another.

    Args:
        args: the methods.

    Example:
        >>> import flambeau as torch
        >>> layer = torch.nn.Linear(4, 1)
        >>> _ = torch.nn.utils.prune.l1_unstructured(layer, "weight", amount=1)
        >>> _ = torch.nn.utils.prune.l1_unstructured(layer, "weight", amount=1)
        >>> [type(hook).__name__ for hook in layer._forward_pre_hooks.values()]
        ['PruningContainer']
        >>> int(layer.weight_mask.sum())
        2
    """

    def __init__(self, *args: Any) -> None:
        self._pruning_methods: tuple[Any, ...] = ()
        if len(args) == 1:
            self._tensor_name = args[0]._tensor_name
        for method in args:
            self.add_pruning_method(method)

    def add_pruning_method(self, method: Any) -> None:
        """Adds a method, which must be for the same parameter."""
        if not isinstance(method, BasePruningMethod) and method is not None:
            raise TypeError(f"{type(method)} is not a BasePruningMethod subclass")
        if method is not None and self._tensor_name != method._tensor_name:
            raise ValueError(
                f"Can only add pruning methods acting on the parameter named '{self._tensor_name}' to PruningContainer "
                f"{self}. Found '{method._tensor_name}'"
            )
        self._pruning_methods += (method,)

    def __len__(self) -> int:
        return len(self._pruning_methods)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._pruning_methods)

    def __getitem__(self, idx: Any) -> Any:
        return self._pruning_methods[idx]

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """The mask so far, with what the latest method prunes of the rest."""
        method = self._pruning_methods[-1]
        mask = default_mask.to(t.dtype)
        kind = method.PRUNING_TYPE
        if kind == "unstructured":
            kept: Any = default_mask == 1
        elif kind == "structured":
            if not hasattr(method, "dim"):
                raise AttributeError(
                    'Pruning methods of PRUNING_TYPE "structured" need to have the attribute `dim` defined.'
                )
            dim = method.dim + t.ndim if method.dim < 0 else method.dim
            if dim < 0:
                raise IndexError(f"Index is out of bounds for tensor with dimensions {t.ndim}")
            # Channels that are not pruned as a whole.
            alive = default_mask.sum(dim=[d for d in range(t.ndim) if d != dim]) != 0
            kept = (slice(None),) * dim + (alive,)
        elif kind == "global":
            kept = (slice(None),) * t.ndim
        else:
            raise ValueError(f"Unrecognized PRUNING_TYPE {kind}")
        partial = method.compute_mask(t[kept], default_mask=default_mask[kept])
        mask = mask.clone()
        mask[kept] = partial.to(mask.dtype)
        return mask


class Identity(BasePruningMethod):
    """Prunes nothing.

    Example:
        >>> import flambeau as torch
        >>> layer = torch.nn.Linear(3, 1)
        >>> _ = torch.nn.utils.prune.Identity.apply(layer, "weight")
        >>> layer.weight_mask
        tensor([[1., 1., 1.]])
    """

    PRUNING_TYPE = "unstructured"

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """The mask so far."""
        return default_mask

    @classmethod
    def apply(cls, module: Module, name: str) -> Any:  # type: ignore[override]
        """Puts it on a parameter."""
        return super().apply(module, name)


class _ByRank(BasePruningMethod):
    """Prunes the elements that are lowest, or highest, in some order."""

    PRUNING_TYPE = "unstructured"

    def __init__(self, amount: Any) -> None:
        _validate_pruning_amount_init(amount)
        self.amount = amount

    def _ranked(self, t: Tensor) -> tuple[Tensor, bool]:
        raise NotImplementedError

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """The mask so far, with the chosen elements pruned."""
        size = t.numel()
        count = _compute_nparams_toprune(self.amount, size)
        _validate_pruning_amount(count, size)
        if count == 0:
            return default_mask.clone()
        values, largest = self._ranked(t)
        chosen = flambeau.topk(values.reshape(-1), k=count, largest=largest).indices
        return default_mask.reshape(-1).index_fill(0, chosen, 0).reshape(default_mask.shape)


class RandomUnstructured(_ByRank):
    """Prunes elements at random.

    Args:
        amount: how many, or which fraction.

    Example:
        >>> import flambeau as torch
        >>> method = torch.nn.utils.prune.RandomUnstructured(amount=0.5)
        >>> (method.prune(torch.ones(10)) == 0).sum()
        tensor(5)
    """

    def _ranked(self, t: Tensor) -> tuple[Tensor, bool]:
        return flambeau.rand_like(t), True

    @classmethod
    def apply(cls, module: Module, name: str, amount: Any) -> Any:  # type: ignore[override]
        """Puts it on a parameter."""
        return super().apply(module, name, amount=amount)


class L1Unstructured(_ByRank):
    """Prunes the elements of the smallest magnitude.

    Args:
        amount: how many, or which fraction.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.utils.prune.L1Unstructured(amount=2).prune(torch.tensor([-3., 1., 2., 4.]))
        tensor([-3.,  0.,  0.,  4.])
    """

    def _ranked(self, t: Tensor) -> tuple[Tensor, bool]:
        return t.detach().abs(), False

    @classmethod
    def apply(cls, module: Module, name: str, amount: Any, importance_scores: Any = None) -> Any:  # type: ignore[override]
        """Puts it on a parameter."""
        return super().apply(module, name, amount=amount, importance_scores=importance_scores)


class _ByChannel(BasePruningMethod):
    PRUNING_TYPE = "structured"

    amount: Any
    dim: int

    def _kept(self, t: Tensor, size: int, count: int) -> Tensor:
        """Of each channel, whether it stays when ``count`` of them go."""
        raise NotImplementedError

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """The mask so far, with the chosen channels pruned."""
        _validate_structured_pruning(t)
        _validate_pruning_dim(t, self.dim)
        size = t.shape[self.dim]
        count = _compute_nparams_toprune(self.amount, size)
        _validate_pruning_amount(count, size)
        if count == 0:
            return default_mask
        return _along(self._kept(t.detach(), size, count), t, self.dim) * default_mask.to(t.dtype)


class RandomStructured(_ByChannel):
    """Prunes channels at random.

    Args:
        amount: how many, or which fraction.
        dim: the dimension along which the channels are.

    Example:
        >>> import flambeau as torch
        >>> method = torch.nn.utils.prune.RandomStructured(amount=1, dim=0)
        >>> method.prune(torch.ones(3, 4)).sum()
        tensor(8.)
    """

    def __init__(self, amount: Any, dim: int = -1) -> None:
        _validate_pruning_amount_init(amount)
        self.amount = amount
        self.dim = dim

    def _kept(self, t: Tensor, size: int, count: int) -> Tensor:
        drawn = flambeau.rand(size)
        return (drawn > flambeau.kthvalue(drawn, k=count).values).to(t.device)

    @classmethod
    def apply(cls, module: Module, name: str, amount: Any, dim: int = -1) -> Any:  # type: ignore[override]
        """Puts it on a parameter."""
        return super().apply(module, name, amount=amount, dim=dim)


class LnStructured(_ByChannel):
    """Prunes the channels of the smallest n-norm.

    Args:
        amount: how many, or which fraction.
        n: of the norm, as of ``torch.norm``.
        dim: the dimension along which the channels are.

    Example:
        >>> import flambeau as torch
        >>> x = torch.tensor([[3., 4.], [-5., 1.], [0., 2.]])
        >>> torch.nn.utils.prune.LnStructured(amount=1, n=2, dim=0).prune(x)
        tensor([[ 3.,  4.],
                [-5.,  1.],
                [ 0.,  0.]])
    """

    def __init__(self, amount: Any, n: Any, dim: int = -1) -> None:
        _validate_pruning_amount_init(amount)
        self.amount = amount
        self.n = n
        self.dim = dim

    def _kept(self, t: Tensor, size: int, count: int) -> Tensor:
        largest = flambeau.topk(_compute_norm(t, self.n, self.dim), k=size - count, largest=True).indices
        return flambeau.zeros(size, dtype=t.dtype, device=t.device).index_fill(0, largest, 1)

    @classmethod
    def apply(  # type: ignore[override]
        cls, module: Module, name: str, amount: Any, n: Any, dim: int, importance_scores: Any = None
    ) -> Any:
        """Puts it on a parameter."""
        return super().apply(module, name, amount=amount, n=n, dim=dim, importance_scores=importance_scores)


class CustomFromMask(BasePruningMethod):
    """Prunes what a mask says.

    Args:
        mask: ones for what stays and zeros for what is pruned.

    Example:
        >>> import flambeau as torch
        >>> method = torch.nn.utils.prune.CustomFromMask(torch.tensor([1., 0., 1.]))
        >>> method.prune(torch.tensor([7., 8., 9.]))
        tensor([7., 0., 9.])
    """

    PRUNING_TYPE = "global"

    def __init__(self, mask: Tensor) -> None:
        self.mask = mask

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """The mask so far, times the mask that was given."""
        if default_mask.shape != self.mask.shape:
            raise AssertionError(
                f"default_mask shape {default_mask.shape} must match self.mask shape {self.mask.shape}"
            )
        return default_mask * self.mask.to(default_mask.dtype)

    @classmethod
    def apply(cls, module: Module, name: str, mask: Tensor) -> Any:  # type: ignore[override]
        """Puts it on a parameter."""
        return super().apply(module, name, mask=mask)


# ---------------------------------------------------------------- functions


def identity(module: Module, name: str) -> Module:
    """Splits a parameter into original and mask without pruning anything.

    Example:
        >>> import flambeau as torch
        >>> layer = torch.nn.utils.prune.identity(torch.nn.Linear(3, 1), "weight")
        >>> sorted(name for name, _ in layer.named_parameters())
        ['bias', 'weight_orig']
    """
    Identity.apply(module, name)
    return module


def random_unstructured(module: Module, name: str, amount: Any) -> Module:
    """Prunes elements at random.

    Args:
        module: the module that has the parameter.
        name: its name.
        amount: how many, or which fraction.

    Example:
        >>> import flambeau as torch
        >>> layer = torch.nn.utils.prune.random_unstructured(torch.nn.Linear(5, 2), "weight", amount=3)
        >>> (layer.weight == 0).sum()
        tensor(3)
    """
    RandomUnstructured.apply(module, name, amount)
    return module


def l1_unstructured(module: Module, name: str, amount: Any, importance_scores: Tensor | None = None) -> Module:
    """Prunes the elements of the smallest magnitude.

    Args:
        module: the module that has the parameter.
        name: its name.
        amount: how many, or which fraction.
        importance_scores: what is looked at instead of the parameter itself.

    Example:
        >>> import flambeau as torch
        >>> m = torch.nn.utils.prune.l1_unstructured(torch.nn.Linear(4, 4), "weight", amount=0.5)
        >>> int((m.weight == 0).sum())
        8
    """
    L1Unstructured.apply(module, name, amount=amount, importance_scores=importance_scores)
    return module


def random_structured(module: Module, name: str, amount: Any, dim: int) -> Module:
    """Prunes channels at random.

    Args:
        module: the module that has the parameter.
        name: its name.
        amount: how many, or which fraction.
        dim: the dimension along which the channels are.

    Example:
        >>> import flambeau as torch
        >>> layer = torch.nn.utils.prune.random_structured(torch.nn.Linear(5, 4), "weight", amount=0.5, dim=0)
        >>> (layer.weight == 0).all(dim=1).sum()
        tensor(2)
    """
    RandomStructured.apply(module, name, amount, dim)
    return module


def ln_structured(
    module: Module, name: str, amount: Any, n: Any, dim: int, importance_scores: Tensor | None = None
) -> Module:
    """Prunes the channels of the smallest n-norm.

    Args:
        module: the module that has the parameter.
        name: its name.
        amount: how many, or which fraction.
        n: of the norm, as of ``torch.norm``.
        dim: the dimension along which the channels are.
        importance_scores: what is looked at instead of the parameter itself.

    Example:
        >>> import flambeau as torch
        >>> layer = torch.nn.Linear(2, 3)
        >>> _ = layer.weight.data.copy_(torch.tensor([[3., 4.], [-5., 1.], [0., 2.]]))
        >>> torch.nn.utils.prune.ln_structured(layer, "weight", amount=1, n=2, dim=0).weight.detach()
        tensor([[ 3.,  4.],
                [-5.,  1.],
                [ 0.,  0.]])
    """
    LnStructured.apply(module, name, amount, n, dim, importance_scores=importance_scores)
    return module


def custom_from_mask(module: Module, name: str, mask: Tensor) -> Module:
    """Prunes what a mask says: ones for what stays and zeros for what is pruned.

    Example:
        >>> import flambeau as torch
        >>> layer = torch.nn.Linear(3, 1)
        >>> mask = torch.tensor([[1, 0, 1]])
        >>> (torch.nn.utils.prune.custom_from_mask(layer, "weight", mask).weight == 0).int()
        tensor([[0, 1, 0]], dtype=torch.int32)
    """
    CustomFromMask.apply(module, name, mask)
    return module


def global_unstructured(
    parameters: Any, pruning_method: type[BasePruningMethod], importance_scores: Any = None, **kwargs: Any
) -> None:
    """Prunes several parameters as if they were one.

    Args:
        parameters: pairs of module and name.
        pruning_method: an unstructured method's class.
        importance_scores: by such a pair, what is looked at instead of the parameter itself.
        kwargs: for the method's constructor.

    Raises:
        TypeError: if the method is not unstructured.

    Example:
        >>> import flambeau as torch
        >>> small, large = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
        >>> _ = torch.nn.init.constant_(small.weight, 0.1), torch.nn.init.constant_(large.weight, 1.0)
        >>> pairs = [(small, "weight"), (large, "weight")]
        >>> torch.nn.utils.prune.global_unstructured(pairs, torch.nn.utils.prune.L1Unstructured, amount=0.5)
        >>> int((small.weight == 0).sum()), int((large.weight == 0).sum())
        (4, 0)
    """
    if not isinstance(parameters, Iterable):
        raise TypeError("global_unstructured(): parameters is not an Iterable")
    scores = {} if importance_scores is None else importance_scores
    if not isinstance(scores, dict):
        raise TypeError("global_unstructured(): importance_scores must be of type dict")
    pairs = list(parameters)
    values = parameters_to_vector([scores.get((m, name), getattr(m, name)) for m, name in pairs])
    masks = [getattr(m, name + "_mask", flambeau.ones_like(getattr(m, name))) for m, name in pairs]
    container = PruningContainer()
    container._tensor_name = "temp"
    method = pruning_method(**kwargs)
    method._tensor_name = "temp"
    if method.PRUNING_TYPE != "unstructured":
        raise TypeError(
            'Only "unstructured" PRUNING_TYPE supported for the `pruning_method`. Found method '
            f"{pruning_method} of type {method.PRUNING_TYPE}"
        )
    container.add_pruning_method(method)
    final = container.compute_mask(values, parameters_to_vector(masks))
    start = 0
    for module, name in pairs:
        parameter = getattr(module, name)
        end = start + parameter.numel()
        custom_from_mask(module, name, mask=final[start:end].view_as(parameter))
        start = end


def remove(module: Module, name: str) -> Module:
    """Makes a pruned parameter a plain one again, with its zeros.

    Raises:
        ValueError: if it is not pruned.

    Example:
        >>> import flambeau as torch
        >>> layer = torch.nn.utils.prune.l1_unstructured(torch.nn.Linear(4, 1), "weight", amount=2)
        >>> layer = torch.nn.utils.prune.remove(layer, "weight")
        >>> sorted(name for name, _ in layer.named_parameters()), int((layer.weight == 0).sum())
        (['bias', 'weight'], 2)
    """
    for key, hook in module._forward_pre_hooks.items():
        if isinstance(hook, BasePruningMethod) and hook._tensor_name == name:
            hook.remove(module)
            del module._forward_pre_hooks[key]
            return module
    raise ValueError(f"Parameter '{name}' of module {module} has to be pruned before pruning can be removed")


def is_pruned(module: Module) -> bool:
    """Whether a parameter of a module, or of one of its submodules, is pruned.

    Example:
        >>> import flambeau as torch
        >>> layer = torch.nn.Linear(4, 1)
        >>> before = torch.nn.utils.prune.is_pruned(layer)
        >>> before, torch.nn.utils.prune.is_pruned(torch.nn.utils.prune.identity(layer, "weight"))
        (False, True)
    """
    return any(
        isinstance(hook, BasePruningMethod)
        for _, submodule in module.named_modules()
        for hook in submodule._forward_pre_hooks.values()
    )

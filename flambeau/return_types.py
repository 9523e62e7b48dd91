"""Results with names: the tuples that functions with several results return."""

from __future__ import annotations

from collections.abc import Iterable
from operator import itemgetter
from typing import Any


class _Named(tuple[Any, ...]):
    """A tuple whose items have names.

    Attributes:
        n_fields, n_sequence_fields, n_unnamed_fields: how many items there are, as PyTorch has it.
    """

    __slots__ = ()
    __match_args__: tuple[str, ...] = ()

    def __new__(cls, items: Iterable[Any], further: dict[str, Any] | None = None, /) -> _Named:
        # PyTorch pickles results with a dictionary of items beyond the sequence, of which there are none.
        if not isinstance(items, Iterable):
            raise TypeError("constructor requires a sequence")
        self = tuple.__new__(cls, items)
        wanted = len(cls.__match_args__)
        if len(self) != wanted:
            raise TypeError(
                f"torch.return_types.{cls.__name__}() takes a {wanted}-sequence ({len(self)}-sequence given)"
            )
        return self

    def __repr__(self) -> str:
        shown = ",\n".join(f"{name}={item!r}" for name, item in zip(self.__match_args__, self, strict=True))
        return f"torch.return_types.{type(self).__name__}(\n{shown})"

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (tuple(self),))


_FIELDS = {
    **dict.fromkeys(
        ("cummax", "cummin", "kthvalue", "max", "median", "min", "mode", "nanmedian", "sort", "topk"), "values indices"
    ),
    "_lu_with_info": "LU pivots info",
    "aminmax": "min max",
    "frexp": "mantissa exponent",
    "geqrf": "a tau",
    "histogram": "hist bin_edges",
    "histogramdd": "hist bin_edges",
    "linalg_cholesky_ex": "L info",
    "linalg_eig": "eigenvalues eigenvectors",
    "linalg_eigh": "eigenvalues eigenvectors",
    "linalg_inv_ex": "inverse info",
    "linalg_ldl_factor": "LD pivots",
    "linalg_ldl_factor_ex": "LD pivots info",
    "linalg_lstsq": "solution residuals rank singular_values",
    "linalg_lu": "P L U",
    "linalg_lu_factor": "LU pivots",
    "linalg_lu_factor_ex": "LU pivots info",
    "linalg_qr": "Q R",
    "linalg_slogdet": "sign logabsdet",
    "linalg_solve_ex": "result info",
    "linalg_svd": "U S Vh",
    "lu_unpack": "P L U",
    "qr": "Q R",
    "slogdet": "sign logabsdet",
    "svd": "U S V",
    "triangular_solve": "solution cloned_coefficient",
}


def _type_of(name: str, fields: str) -> type:
    names = tuple(fields.split())
    members: dict[str, Any] = {field: property(itemgetter(i)) for i, field in enumerate(names)}
    members.update(
        __slots__=(),
        __match_args__=names,
        __module__=__name__,
        __doc__=f"The results of ``{name}``: {', '.join(names)}.",
        n_fields=len(names),
        n_sequence_fields=len(names),
        n_unnamed_fields=0,
    )
    return type(name, (_Named,), members)


for _name, _fields in _FIELDS.items():
    globals()[_name] = _type_of(_name, _fields)


def named(name: str, *items: Any) -> Any:
    """The results of the function of that name, as a tuple with names."""
    return globals()[name](items)

"""What is printed of tensors of all kinds, and of what stands around them, is PyTorch's to the letter."""

from __future__ import annotations

from typing import Any

import pytest
import torch as oracle

import flambeau

# One expression a line; ``l`` is the library.
TABLE = """
l.zeros(0)
l.tensor(1.5)
l.tensor([1+2j,3.5])
l.tensor([True,False])
l.tensor([1e30,1e-30])
l.tensor([float("inf"),float("nan"),1.])
l.arange(2000)
l.zeros(2,3,4)
l.ones(2,requires_grad=True)
l.ones(2,requires_grad=True)*2
(l.ones(2,requires_grad=True)*2).view(1,2)
l.ones(2,requires_grad=True).sum()
l.ones(2,requires_grad=True)[0]
l.ones(3).half()
l.ones(3).bfloat16()
l.ones(3,device="meta")
l.empty(2,3,device="meta",dtype=l.float64,requires_grad=True)
l.nn.Parameter(l.ones(2,2))
l.nn.Parameter(l.arange(60.).reshape(3,20),requires_grad=False)
[l.ones(1),l.zeros(2)]
{"a":l.ones(1)}
l.nn.Linear(2,2).state_dict().keys()
l.ones(2,3).t()
l.ones(2,3).t().detach()
l.ones(1).expand(3)
l.ones(3).conj()
l.tensor([1+2j]).conj()
l.nn.Linear(1,1)(l.ones(1,1)).shape
l.ones(2,3).shape
l.ones(2,3).size()
l.float32
l.ones(2,dtype=l.uint8)
l.ones(2,dtype=l.float8_e5m2)
l.device("meta")
l.ones(1).device
l.strided
l.contiguous_format
l.nn.Buffer(l.ones(2))
l.nn.ParameterList([l.ones(2)])
l.nn.UninitializedParameter()
l.finfo(l.float32)
l.iinfo(l.int8)
l.max(l.ones(2),0)
l.sort(l.ones(2))
l.ones(2).exp_()
l.ones(2,requires_grad=True).clone().exp_()
l.ones(2,requires_grad=True).max(0)
l.nn.functional.softmax(l.ones(2,requires_grad=True),0)
""".strip().splitlines()

OPTIONS: list[dict[str, Any]] = [
    {},
    {"precision": 2},
    {"sci_mode": True},
    {"threshold": 5, "edgeitems": 1},
    {"linewidth": 30},
    {"profile": "short"},
    {"profile": "full"},
]


@pytest.mark.usefixtures("defaults")
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_printed(options: dict[str, Any]) -> None:
    for library in (flambeau, oracle):
        library.set_printoptions(profile="default")
        library.set_printoptions(**options)
    for expression in TABLE:
        found, expected = (repr(eval(expression, {"l": library})) for library in (flambeau, oracle))
        assert found == expected, expression

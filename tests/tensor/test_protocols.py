"""Python's protocols and conversions, and NumPy beside tensors: value, type and error are PyTorch's."""

from __future__ import annotations

import copy
import math
import pickle
from typing import Any

import numpy as np
import pytest
import torch as oracle

import flambeau

# One expression a line; ``l`` is the library.
TABLE = """
l.tensor(3).__index__()
l.tensor([3]).__index__()
l.tensor(3.).__index__()
l.tensor(True).__index__()
[1,2,3][l.tensor(1)]
range(l.tensor(3))
int(l.tensor(2.7))
int(l.tensor([2.7]))
int(l.tensor([1,2]))
int(l.tensor(1+2j))
float(l.tensor(1+2j))
float(l.tensor(2))
float(l.tensor([1,2]))
complex(l.tensor(2.5))
complex(l.tensor(1+2j))
int(l.tensor(float("nan")))
bool(l.tensor([]))
bool(l.tensor([1,2]))
bool(l.tensor([[0.]]))
bool(l.tensor(0j))
len(l.tensor(1))
len(l.zeros(3,2))
list(l.arange(3))
iter(l.tensor(1))
list(l.zeros(0,2))
2 in l.arange(3)
5 in l.arange(3)
l.tensor(1) in l.arange(3)
"a" in l.arange(3)
np.float32(1) in l.arange(3)
None in l.arange(3)
list(reversed(l.arange(3)))
reversed(l.tensor(1))
[*l.arange(2)]
(lambda a,b:(a,b))(*l.arange(2))
np.asarray(l.arange(3))
np.array(l.arange(3),dtype="float32")
np.asarray(l.ones(2).bool())
np.ones(2)+l.ones(2)
np.ones(2,np.float32)*l.ones(2)
np.arange(2)-l.arange(2)
l.ones(2)+np.ones(2)
l.ones(2)@np.ones(2,np.float32)
np.ones(2,np.float32)@l.ones(2)
np.ones((2,2),np.float32)@l.ones(2)
np.float64(2)*l.ones(2)
l.ones(2)*np.float64(2)
np.float32(2)*l.ones(2)
np.int64(2)*l.arange(2)
l.arange(2)*np.int64(2)
np.int64(2)+l.ones(2)
np.float64(2)/l.arange(1,3)
np.float64(2)-l.ones(2)
np.float64(2)**l.ones(2)
np.float64(2)<l.ones(2)
np.ones(2)==l.ones(2)
l.ones(2)==np.ones(2)
np.sum(l.ones(2))
np.mean(l.ones(2))
np.stack([l.ones(2),l.ones(2)])
np.concatenate([l.ones(2),np.ones(2)])
l.tensor(1.5).item()
l.tensor([1,2]).item()
l.ones(2,2).tolist()
l.tensor(1.).tolist()
l.ones(2).half().tolist()
l.ones(2).bfloat16().tolist()
l.ones(2).requires_grad_().numpy()
l.ones(2).conj().numpy()
f"{l.tensor(1.23456):.3f}"
f"{l.tensor(7):>5d}"
f"{l.tensor(7):.2f}"
f"{l.tensor([1.5]):.2f}"
f"{l.tensor([1.5,2.5])}"
f"{l.tensor(True)}"
f"{l.tensor(1.5)}"
f"{l.tensor(1+2j):.1f}"
"%d %.2f %s" % (l.tensor(3), l.tensor(1.5), l.tensor(2))
"{:e}".format(l.tensor(12345.))
(lambda t: {t: 1}[t])(l.tensor(1))
copy.copy(l.arange(3))
copy.deepcopy(l.arange(3))
copy.deepcopy(l.ones(2).requires_grad_()*2)
pickle.loads(pickle.dumps(l.arange(3)))
pickle.loads(pickle.dumps(l.ones(2,dtype=l.bfloat16)))
0 < l.tensor(1) < 2
0 < l.tensor([1,2]) < 2
divmod(l.tensor([7,-7]),3)
divmod(7,l.tensor([2,3]))
divmod(l.tensor([7.5]),l.tensor([2.]))
round(l.tensor([1.5,2.5]))
round(l.tensor(1.2345),2)
round(l.tensor(3))
pow(l.tensor(2),3)
pow(2,l.tensor(3))
math.floor(l.tensor(1.5))
math.ceil(l.tensor(1.5))
math.trunc(l.tensor(-1.5))
math.floor(l.tensor([1.5,2.5]))
math.sqrt(l.tensor(4.))
abs(l.tensor([-1,2]))
-l.tensor([True])
+l.tensor([True])
~l.tensor([True,False])
l.tensor([True])-l.tensor([True])
l.tensor([True])-True
True+l.tensor([True])
l.tensor([True,False])|True
True^l.tensor([True,False])
3&l.tensor([1,2])
1<<l.tensor([1,2])
l.tensor([8])>>1
8>>l.tensor([1])
l.tensor([1.])&1
l.tensor([7])//2
7//l.tensor([2])
7%l.tensor([4])
-7%l.tensor([4.])
l.tensor([1])/2
2/l.tensor([4])
l.tensor([1])@l.tensor([2])
l.tensor(1)@l.tensor(2)
l.ones(2)+"a"
"a"+l.ones(2)
l.ones(2)+None
l.ones(2)+[1,2]
[1,2]+l.ones(2)
l.ones(2)@[1,2]
l.ones(2)==None
l.ones(2)!=None
l.ones(2)=="a"
l.ones(2)<"a"
l.ones(2)<None
l.tensor([1])==1.5
sum(l.arange(4))
max(l.tensor([3,1,2]))
sorted(l.tensor([3,1,2]))
min(l.tensor(3),l.tensor(2))
any(l.tensor([0,1]))
isinstance(l.ones(1), l.Tensor)
l.ones(2).__array_priority__
np.from_dlpack(l.arange(3))
l.from_dlpack(np.arange(3))
l.from_dlpack(l.arange(3))
dict(zip("ab",l.arange(2)))["a"]
l.arange(3)[np.int64(1)]
l.arange(3)[np.array([0,2])]
l.arange(3)[np.array([True,False,True])]
np.arange(3)[l.tensor([0,2])]
np.arange(3)[l.tensor(1)]
l.ones(2).__rsub__(1)
(lambda a: a.__iadd__(l.ones(2)))(np.ones(2))
l.tensor(np.float32(1.5))
l.tensor([np.float32(1.5),np.float64(2)])
l.tensor([l.tensor(1),l.tensor(2)])
bytes(l.tensor([1,2],dtype=l.uint8))
l.ones(2)**np.float64(2)
l.ones(2)*np.ones((1,2),np.float32)
""".strip().splitlines()


def told(result: Any) -> Any:
    """What can be seen of a result, the same for both libraries."""
    if isinstance(result, flambeau.Tensor | oracle.Tensor):
        return "tensor", str(result.dtype), tuple(result.shape), result.tolist()
    if isinstance(result, np.ndarray):
        return "array", str(result.dtype), result.shape, result.tolist()
    if isinstance(result, tuple | list):
        return type(result).__name__, [told(x) for x in result]
    return type(result).__name__, result


def outcome(expression: str, library: Any) -> Any:
    names = {"l": library, "np": np, "copy": copy, "math": math, "pickle": pickle}
    try:
        return told(eval(expression, names))
    except (TypeError, ValueError, RuntimeError, IndexError) as error:
        return type(error).__name__, str(error)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("expression", TABLE)
def test_expression(expression: str) -> None:
    # As text, so that nan equals nan and 1 is not True.
    assert repr(outcome(expression, flambeau)) == repr(outcome(expression, oracle))

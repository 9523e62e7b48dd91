"""Python's protocols and conversions, and NumPy beside tensors: value, type and error are PyTorch's."""

from __future__ import annotations

import copy
import math
import operator
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
np.add(l.ones(2),1)
np.exp(l.ones(2))
np.add(l.ones(2),l.ones(2))
np.add(np.ones(2),l.ones(2))
np.multiply.outer(l.ones(2),l.ones(2))
np.float32(2)-l.arange(2)
np.array([l.tensor(1),l.tensor(2)])
np.array([l.ones(2),l.ones(2)])
np.asarray(l.ones(2).requires_grad_())
np.where(l.tensor([True,False]),1,2)
np.argmax(l.tensor([1,3,2]))
np.testing.assert_allclose(l.ones(2),np.ones(2))
np.isclose(l.ones(2),1.)
np.allclose(l.ones(2),1.)
np.linalg.norm(l.ones(2))
np.dot(l.ones(2),l.ones(2))
np.matmul(l.ones(2,2),l.ones(2))
np.clip(l.ones(2),0,.5)
np.transpose(l.ones(2,3)).shape
np.reshape(l.ones(4),(2,2))
np.shape(l.ones(2,3))
np.ndim(l.ones(2,3))
np.squeeze(l.ones(1,3))
np.ones(2)@l.ones(2)
np.ones((2,2))@l.ones(2)
np.ones(2)//l.ones(2)
np.ones(2)%l.ones(2)
np.ones(2)**l.ones(2)
np.ones(2)-l.ones(2).requires_grad_()
np.ones(2).__iadd__(l.ones(2))
operator.iadd(np.ones(2),l.ones(2))
operator.imul(np.ones(2),l.ones(2))
operator.iand(l.tensor([3]),np.array([1]))
operator.imatmul(l.ones(2,2),l.ones(2,2))
operator.index(l.tensor(3))
operator.index(l.tensor([[3]]))
l.ones(2)+np.ones((2,2))
l.ones(2)//np.ones(2)
l.ones(2)%np.ones(2)
l.ones(2)**np.ones(2)
l.tensor([1])|np.array([2])
l.tensor([1])<<np.array([2])
l.ones(2)@np.ones((2,2),np.float32)
l.ones(2)*np.float32(2)
l.ones(2)*np.bool_(True)
l.ones(2)==np.float64(1)
l.arange(3)[np.uint8(1)]
l.arange(3)[[True,False,True]]
l.arange(3)[1.0]
l.arange(3)[np.float64(1)]
l.arange(3)["a"]
l.arange(6).reshape(2,3)[np.array([0,1]),np.array([1,2])]
l.arange(3)[range(2)]
l.tensor(1)[0]
l.tensor(1)[...]
l.tensor(1)[None]
len(l.tensor([]))
l.tensor(1).__hash__() is None
bool(l.tensor(float('nan')))
bool(l.ones(1,1,1))
not l.tensor(0)
l.tensor(1) and 2
round(l.tensor([1.234]),1)
round(l.tensor([15]),-1)
math.isnan(l.tensor(float('nan')))
math.exp(l.tensor(1.))
math.pow(l.tensor(2.),3)
math.gcd(l.tensor(4),6)
math.floor(l.tensor(2))
int(l.tensor(True))
int(l.tensor(2**40))
int(l.tensor(float('inf')))
float(l.tensor(1j))
float(l.tensor(True))
complex(l.tensor([1.,2.]))
str(l.tensor(1))
repr(l.ones(2))
format(l.tensor(3),'03d')
format(l.tensor(3.5),'d')
format(l.tensor([1]),'d')
"%d"%l.tensor(3.7)
"%s"%l.tensor([1.])
"{:.2f}".format(l.tensor([1.5]))
"{:>10}".format(l.tensor(True))
"{:x}".format(l.tensor(255))
sum([l.ones(2),l.ones(2)])
sum(l.ones(2,2))
max(l.tensor(1.),l.tensor(2.))
sorted([l.tensor(3),l.tensor(1)])
list(zip(l.arange(2),l.arange(2)))
list(enumerate(l.arange(2)))
list(map(int,l.arange(3)))
dict([(l.tensor(1).item(),2)])
set([1,l.tensor(1).item()])
l.tensor(2) in [1,2]
1 in [l.tensor(1)]
l.tensor([1,2]) in [l.tensor([1,2])]
l.arange(3).__contains__(l.tensor([1,2,3]))
l.arange(3).__contains__([1])
1.5 in l.arange(3)
True in l.arange(3)
1j in l.arange(3)
copy.copy(l.ones(2).requires_grad_()).requires_grad
copy.deepcopy([l.ones(2)]*2)[0]
pickle.loads(pickle.dumps(l.ones(2).requires_grad_())).requires_grad
pickle.loads(pickle.dumps(l.tensor(1j)))
pickle.loads(pickle.dumps(l.zeros(0,2)))
pickle.loads(pickle.dumps(l.float32)) is l.float32
pickle.loads(pickle.dumps(l.device('cpu')))==l.device('cpu')
pickle.loads(pickle.dumps(l.Size([1])))
divmod(l.tensor(7),l.tensor(2))
divmod(7.5,l.tensor(2))
7//l.tensor(2.)
2**l.tensor([1,2])
2.5**l.tensor([1,2])
l.tensor([1,2])**-1
l.tensor([1,2])**0.5
True+l.tensor([1])
l.tensor([True])+True
l.tensor([True])*2
1.5*l.tensor([True])
l.tensor([1])/0
l.tensor([1])//0
1/l.tensor([0])
1//l.tensor([0])
l.tensor([1],dtype=l.uint8)-2
-l.tensor([1],dtype=l.uint8)
~l.tensor([1.])
l.tensor([1.])^1
l.tensor([5])&True
1.5&l.tensor([1])
l.ones(2)@2
2@l.ones(2)
l.ones(2,2)@l.ones(3)
l.ones(2)>[1,2]
l.ones(2)==[1,1]
l.ones(2)==(1,1)
[1,1]==l.ones(2)
l.ones(2)!="a"
None==l.ones(2)
l.ones(2)>1j
l.tensor(1j)>0
l.tensor(1j)==1j
abs(l.tensor(3+4j))
l.tensor(3+4j).real
l.ones(2).__array__()
l.ones(2).__array__(np.float64)
l.ones(2).__array_wrap__(np.ones(2))
l.ones(2).__len__()
np.from_dlpack(l.ones(2))
memoryview(l.ones(2))
bytes(l.ones(2))
bytearray(l.tensor([1,2],dtype=l.uint8))
l.tensor(bytearray(b"ab"))
l.tensor(memoryview(b"ab"))
l.tensor(np.array(1))
l.tensor((1,2))
l.tensor([[1,2],(3,4)])
l.tensor({1:2})
l.tensor(iter([1]))
l.tensor([l.ones(1),l.ones(1)])
l.tensor(True)
l.tensor(np.bool_(True))
l.tensor(np.int32(1))
l.tensor([np.int8(1)])
l.tensor([1,None])
l.as_tensor(np.arange(3))
l.as_tensor([1.5])
l.ones(2).tolist()==[1,1]
l.ones(2).to(l.tensor(1,dtype=l.int64))
l.ones(2).__iter__().__next__()
next(iter(l.arange(2)))
l.ones(2).__setitem__(0,5)
(lambda a:(a.__setitem__(0,np.float64(3)),a)[1])(l.ones(2))
(lambda a:(a.__setitem__(slice(None),np.ones(2)),a)[1])(l.zeros(2))
(lambda a:(a.__setitem__(0,l.tensor(True)),a)[1])(l.zeros(2))
l.ones(2).foo
setattr(l.ones(2),'foo',1)
l.ones(2).__class__.__name__
type(l.ones(2)).__mro__[-1]
l.ones(2).__reversed__()
isinstance(l.nn.Parameter(l.ones(1)),l.Tensor)
l.ones(2).__rpow__(2)
l.ones(2).__rtruediv__(2)
l.ones(2).__rfloordiv__(2)
l.ones(2).__rmod__(2) if hasattr(l.Tensor,'__rmod__') else 0
l.ones(2).__rmatmul__(l.ones(2))
l.ones(2).__radd__(1)
l.ones(2).__rmul__(2)
l.tensor([1]).__rand__(1)
l.tensor([1]).__ror__(1)
l.tensor([1]).__rxor__(1)
l.tensor([1]).__rlshift__(1)
l.tensor([1]).__rrshift__(1)
l.ones(2).__pos__()
l.ones(2).__index__()
l.tensor([True]).__invert__()
l.ones(2).__bool__()
l.tensor(1).__int__()
l.tensor(1).__float__()
l.tensor(1).__complex__()
l.ones(2).__div__(2)
l.ones(2).__idiv__(2)
l.ones(2).__rdiv__(2)
np.linspace(0,l.tensor(1.),3)
np.arange(l.tensor(3))
np.zeros(l.tensor(2))
np.zeros((l.tensor(2),2)).shape
np.full(2,l.tensor(3.))
l.zeros(l.tensor(2))
l.zeros(l.tensor(2),np.int64(2)).shape
l.arange(l.tensor(3))
l.full((2,),l.tensor(3.))
l.ones(2).view(np.int64(2))
l.ones(4).reshape(l.tensor(2),2)
range(l.tensor(1),l.tensor(4),l.tensor(2))
"abc"[l.tensor(1)]
[1,2,3][l.tensor(0):l.tensor(2)]
slice(l.tensor(1)).indices(3)
"a"*l.tensor(2)
[0]*l.tensor(2)
chr(l.tensor(97))
hex(l.tensor(255))
bin(l.tensor(5))
int("10",l.tensor(2))
divmod(np.float64(7),l.tensor(2.))
np.float64(7)//l.tensor(2.)
np.int64(3)&l.tensor([1])
np.float64(1)==l.ones(2)
np.float64(1)!=l.ones(2)
np.float64(2)>l.ones(2)
np.float64(2)@l.ones(2)
np.array(2.)*l.ones(2)
np.array([2.])+l.tensor(1)
np.maximum(l.ones(2),2)
np.sqrt(l.tensor(4.))
np.mean(l.ones(2,2),axis=0)
np.sum(l.ones(2,2),axis=1)
np.cumsum(l.ones(2))
np.argsort(l.tensor([2,1]))
np.sort(l.tensor([2,1]))
np.round(l.tensor([1.6]))
np.repeat(l.tensor([1,2]),2)
np.copy(l.ones(2))
np.nonzero(l.tensor([0,1]))
np.flip(l.tensor([0,1]))
np.expand_dims(l.ones(2),0).shape
np.isnan(l.ones(2))
np.hstack([l.ones(2),l.ones(2)])
np.tile(l.ones(2),2)
np.atleast_2d(l.ones(2))
np.broadcast_to(l.ones(2),(2,2))
np.einsum('i,i',l.ones(2),l.ones(2))
np.power(l.ones(2),2)
np.logical_and(l.tensor([True]),True)
np.add.reduce(l.ones(2))
np.add(l.ones(2),1,out=np.zeros(2))
np.equal(l.ones(2),1)
np.greater(l.ones(2),0)
np.sin(l.ones(2,dtype=l.float64))
np.abs(l.tensor([-1]))
np.negative(l.tensor([1]))
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
    names = {"l": library, "np": np, "copy": copy, "math": math, "operator": operator, "pickle": pickle}
    try:
        return told(eval(expression, names))
    except (ArithmeticError, AttributeError, TypeError, ValueError, RuntimeError, IndexError) as error:
        return type(error).__name__, str(error)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("expression", TABLE)
def test_expression(expression: str) -> None:
    # As text, so that nan equals nan and 1 is not True.
    assert repr(outcome(expression, flambeau)) == repr(outcome(expression, oracle))


def test_a_tensor_that_was_computed_can_be_pickled() -> None:
    for library in (flambeau, oracle):
        kept = pickle.loads(pickle.dumps(library.ones(2, requires_grad=True) * 2))
        assert kept.tolist() == [2.0, 2.0]
        assert kept.requires_grad
        assert kept.is_leaf


@pytest.mark.parametrize("call", ["flip", "repeat", "tile", "reshape", "permute"])
def test_names_of_no_argument_are_refused(call: str) -> None:
    for library in (flambeau, oracle):
        with pytest.raises(TypeError):
            getattr(library.ones(2), call)(0, axis=0)
    with pytest.raises(TypeError, match=rf"{call}\(\) got an unexpected keyword argument 'axis'"):
        getattr(flambeau.ones(2), call)(0, axis=0)

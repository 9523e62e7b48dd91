"""``torch.device`` beside PyTorch's: names, numbers, errors, printed forms."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch

import flambeau
from tests.nn.both import observe, same

FORMS = """
    device("cpu") device("cuda") device("meta") device("cuda:1") device("cpu:0") device("cuda",3) device("cpu",0)
    device(type="cuda") device(type="cuda",index=1) device("cuda",index=2) device(torch.device("cuda:1"))
    device(torch.device("cpu")) device("cpu",-1) device("cuda",-1) device(-1) device("cuda:1",0) device("cuda:-1")
    device("cuda:a") device("cuda:") device("cuda:0").type device("cuda:0").index device("cuda").index
    device("cuda:0")==torch.device("cuda",0) device("cuda:0")==torch.device("cuda") device("cpu")=="cpu"
    device("cpu")!=torch.device("meta")
""".split()


def _made(expression: str) -> Any:
    def program(library: Any) -> Any:
        found = eval(f"library.{expression}", {"library": library, "torch": library})
        return (repr(found), str(found)) if isinstance(found, library.device) else found

    return program


@pytest.mark.parametrize("expression", FORMS)
def test_forms(expression: str) -> None:
    same(_made(expression))


@pytest.mark.parametrize("expression", ["device('foo')", "device('foo:1')"])
def test_kinds_that_there_are_not(expression: str) -> None:
    (_, ours, *_), (_, theirs, *_) = (observe(_made(expression), library) for library in (flambeau, torch))
    assert ours is not None
    assert theirs is not None
    assert ours[0] == theirs[0]
    assert ours[1].startswith("Expected one of cpu, cuda,")
    assert theirs[1].startswith("Expected one of cpu, cuda,")
    assert ours[1].partition(" device type at")[2] == theirs[1].partition(" device type at")[2]


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda device: pickle.loads(pickle.dumps(device))])
def test_devices_that_are_equal_are_one(copied: Any) -> None:
    device = flambeau.device("cuda:1")
    assert copied(device) is device is flambeau.device("cuda", 1)
    assert len({device, flambeau.device("cuda"), flambeau.device("cuda:1")}) == 2

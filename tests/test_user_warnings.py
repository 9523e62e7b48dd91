"""Warnings point to the line of the program that caused them, not into the package."""

from __future__ import annotations

import pytest

import flambeau

CAUSES = {
    "base class": lambda: flambeau.nn.LSTM(3, 3, dropout=0.5),
    "renamed function": lambda: flambeau.nn.init.uniform(flambeau.zeros(2)),
    "forward": lambda: flambeau.nn.Softmax()(flambeau.zeros(2)),
    "decorated method": lambda: flambeau.optim.lr_scheduler.StepLR(_sgd(), 1).step(),
    "helper": lambda: flambeau.nn.utils.clip_grad_norm_((p for p in ()), 1.0),
    "operator": lambda: flambeau.zeros(2).index_reduce(0, flambeau.tensor([0]), flambeau.ones(1), "amax"),
}


def _sgd():
    return flambeau.optim.SGD([flambeau.zeros(1)], 0.1)


@pytest.mark.parametrize("cause", CAUSES)
def test_warnings_point_to_the_line_that_caused_them(cause):
    with pytest.warns(Warning) as caught:
        CAUSES[cause]()
    line = CAUSES[cause].__code__.co_firstlineno
    assert {(warning.filename, warning.lineno) for warning in caught} == {(__file__, line)}

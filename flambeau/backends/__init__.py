"""Switches of PyTorch's backends, which programs set: ``torch.backends``.

Those that say how exact products of float32 must be hold for accelerators.  The others choose among PyTorch's kernels:
here the engine chooses by measurement, so they are kept and have no effect.
"""

from __future__ import annotations

from flambeau.backends import cuda as cuda
from flambeau.backends import cudnn as cudnn
from flambeau.backends import mkldnn as mkldnn
from flambeau.backends import mps as mps
from flambeau.backends.switches import Precision, SwitchModule, become

fp32_precision: str


class _Backends(SwitchModule):
    fp32_precision = Precision("generic")


become(__name__, _Backends)

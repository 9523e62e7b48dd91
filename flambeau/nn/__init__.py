"""Neural networks: modules, parameters, functions."""

from flambeau.nn import functional, init, modules, parameter, utils
from flambeau.nn.parameter import Buffer, Parameter, UninitializedBuffer, UninitializedParameter

for _module in vars(modules).copy().values():
    for _name in getattr(_module, "__all__", ()):
        globals()[_name] = getattr(_module, _name)

"""Neural networks: modules, parameters, functions."""

from flambeau.nn import functional, modules

for _module in vars(modules).copy().values():
    for _name in getattr(_module, "__all__", ()):
        globals()[_name] = getattr(_module, _name)

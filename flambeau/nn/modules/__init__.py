"""Layers, one file per family."""

from flambeau.nn.modules import (
    activation,
    adaptive,
    attention,
    batchnorm,
    channelshuffle,
    container,
    conv,
    distance,
    dropout,
    flatten,
    fold,
    instancenorm,
    lazy,
    linear,
    loss,
    module,
    normalization,
    padding,
    pixelshuffle,
    pooling,
    recurrent,
    rnn,
    sparse,
    transformer,
    upsampling,
    utils,
)

# The classes themselves are reached from here as well, whichever file they stand in.
for _module in [
    value for name, value in vars().copy().items() if not name.startswith("_") and hasattr(value, "__all__")
]:
    for _name in _module.__all__:
        globals()[_name] = getattr(_module, _name)

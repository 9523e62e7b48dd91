"""oneDNN's switches: ``torch.backends.mkldnn``.  It is not here, so they have no effect."""

from __future__ import annotations

from flambeau.backends.switches import Switch, SwitchModule, become

enabled: bool


class _Mkldnn(SwitchModule):
    enabled = Switch("set_enabled_mkldnn", False)


become(__name__, _Mkldnn)


def is_available() -> bool:
    """Whether oneDNN is here: it is not.

    Example:
        >>> import flambeau as torch
        >>> torch.backends.mkldnn.is_available()
        False
    """
    return False

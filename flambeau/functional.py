"""The functions of ``flambeau.nn.functional``, under the short name that tutorials use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flambeau.nn import functional as _functional

globals().update({name: getattr(_functional, name) for name in dir(_functional) if not name.startswith("_")})

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...

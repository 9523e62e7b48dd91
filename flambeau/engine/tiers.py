"""Running programs: on the tier asked for, or on the one that the judge holds to be the fastest."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from flambeau import devices
from flambeau.engine import interpreter, precision
from flambeau.engine.accelerators import NoTierError
from flambeau.engine.judge import Entry, entries, entry_of
from flambeau.engine.tier import INTERPRETER, TIERS, XLA
from flambeau.graph.node import Aval, Node
from flambeau.graph.program import Stretch

MODES = ("auto", *(tier.name for tier in TIERS), "both")
INTERPRETED_RUNS = 2
"""Where the choice must not depend on measurement, a program is compiled after this many runs."""

_mode = os.environ.get("FLAMBEAU_TIER", "auto")
if _mode not in MODES:
    raise ValueError(f"FLAMBEAU_TIER must be one of {', '.join(MODES)}, got {_mode!r}")
_deterministic = False


def get_tier() -> str:
    """The tier in force, as :func:`set_tier` takes it.

    Example:
        >>> import flambeau
        >>> flambeau.engine.get_tier() in ("auto", "interpreter", "compiled", "both")
        True
    """
    return _mode


def set_tier(mode: str) -> None:
    """Chooses the tier from now on, as the variable FLAMBEAU_TIER does at the start.

    Args:
        mode: ``"interpreter"``: everything in NumPy.  ``"compiled"``: everything in XLA, compiled when
            first met.  ``"auto"``: measured choice.  ``"both"``: for debugging, each operation on both;
            raises :class:`~flambeau.engine.compare.TiersDisagree` at the first that disagrees.

    Raises:
        ValueError: for any other word.

    Example:
        >>> import flambeau
        >>> before = flambeau.engine.get_tier()
        >>> flambeau.engine.set_tier("interpreter")
        >>> flambeau.engine.get_tier()
        'interpreter'
        >>> flambeau.engine.set_tier(before)
    """
    global _mode
    if mode not in MODES:
        raise ValueError(f"the tier must be one of {', '.join(MODES)}, got {mode!r}")
    _mode = mode
    entries.clear()


def set_precision(level: str) -> None:
    """Sets how exact products are in programs compiled from now on; those of another level are forgotten."""
    if level != precision.level:
        precision.level = level
        entries.clear()


def set_convolutions(tf32: bool) -> None:
    """Sets whether convolutions may be TF32 in programs compiled from now on; all others are forgotten."""
    if tf32 != precision.convolutions:
        precision.convolutions = tf32
        entries.clear()


def is_deterministic() -> bool:
    """Whether the choice of tier must not depend on measurement."""
    return _deterministic


def set_deterministic(wanted: bool) -> None:
    """Has a program compiled at its third run, whatever it costs, instead of when that promises a gain."""
    global _deterministic
    _deterministic = wanted
    entries.clear()


def run(stretch: Stretch) -> list[Any]:
    """Runs a stretch of recorded work."""
    leaves = stretch.leaves
    entry = entry_of(stretch)
    if shows(entry):
        return execute(entry, Shown([node.value for node in leaves], dict(enumerate(leaves))), stretch.donated)
    values = [node.value for node in leaves]
    results = execute(entry, values, stretch.donated)
    for node, value in zip(leaves, values, strict=True):
        # A tier may have put a value into a form of its own: next time it need not.
        if node.value is not value:
            node.value = value
    return results


def shows(entry: Entry) -> bool:
    """Whether a program's values are :class:`Shown`."""
    return entry.chosen is None or entry.chosen.executable.lets_go


class Shown(list):
    """Values that nodes show: what a tier puts in a value's place is shown at once, so the old one can go.

    Else all weights would be there twice while tiers are compared, or while an optimizer makes new ones.

    Args:
        nodes: what shows a value, by the value's place.
    """

    def __init__(self, values: list[Any], nodes: Mapping[int, Node]) -> None:
        super().__init__(values)
        self._nodes = nodes

    def __setitem__(self, i: Any, value: Any) -> None:
        super().__setitem__(i, value)
        if i in self._nodes:
            self._nodes[i].value = value


def execute(entry: Entry, values: list[Any], donated: tuple[bool, ...], may_differ: bool = True) -> list[Any]:
    """Runs a known program on values for its leaves.

    Args:
        may_differ: whether Python numbers among them may be others than they were at the caller's last run.
    """
    if entry.program.device is not devices.cpu:
        return _offloaded(entry, values, donated)
    if may_differ and entry.constants:
        entry.note_changes(values)
    if _mode == "auto":
        if _deterministic:
            return _run_by_count(entry, values, donated)
        return entry.run(values, donated)
    if _mode == "both":
        return _compared(entry, values)
    tier = INTERPRETER if _mode == INTERPRETER.name else XLA
    return entry.form(tier, donated).run(values, donated)


def _offloaded(entry: Entry, values: list[Any], donated: tuple[bool, ...]) -> list[Any]:
    """Runs an accelerator's program: XLA alone can, so it is compiled when first met."""
    if _mode == "both":
        return _compared(entry, values)
    if entry.chosen is None:
        if _mode == INTERPRETER.name:
            raise NoTierError(
                f"the interpreter computes on the CPU alone, and this program belongs on {entry.program.device}: set "
                "FLAMBEAU_TIER (or engine.set_tier) to 'auto' or 'compiled', or move the tensors to the CPU"
            )
        if not XLA.can_run(entry.program):
            raise NoTierError(f"computing on {entry.program.device} needs JAX, which is not installed")
        entry.chosen = entry.form(XLA, donated)
    return entry.chosen.run(values, donated)


def _compared(entry: Entry, values: list[Any]) -> list[Any]:
    # Imported here: only the debug mode needs it.
    from flambeau.engine import compare

    return compare.run(entry.program, values)


def run_step(call: Any, values: list[Any]) -> Any:
    """One operation by itself, where it belongs."""
    if call.place is devices.cpu:
        result = interpreter.run_step(call, values)
        return result if isinstance(call.out, tuple) else interpreter.as_array(result)
    # Imported here, as wherever only the compiled tier needs it.
    from flambeau.engine import xla

    results = xla.run_step(call, values, call.place)
    return tuple(results) if isinstance(call.out, tuple) else results[0]


def put(value: Any, aval: Aval) -> Any:
    """A value on the accelerator where it belongs."""
    # Imported here, as wherever only the compiled tier needs it.
    from flambeau.engine import xla

    return xla.put(value, aval)


def _run_by_count(entry: Entry, values: list[Any], donated: tuple[bool, ...]) -> list[Any]:
    entry.runs += 1
    tier = XLA if entry.runs > INTERPRETED_RUNS and XLA.can_run(entry.program) else INTERPRETER
    return entry.form(tier, donated).run(values, donated)


def compiled(entry: Entry) -> Any:
    """A program's compiled form; made now, unless it is made already."""
    entry.collect()
    return entry.form(XLA, (False,) * len(entry.program.leaves)).executable


def wait() -> None:
    """Waits for background compilation, and for what accelerators were given to do, to finish."""
    for entry in list(entries.values()):
        entry.collect()
    if devices.accelerated:
        # Imported here, as wherever only the compiled tier needs it.
        from flambeau.engine import xla

        xla.wait()

"""The judge: which tier runs a program, decided by measurement.

A program met for the first time is interpreted.  One that comes back, and whose measured cost promises
a gain, is made ready by a further tier in the background; then the tiers take turns on the work at hand
until it is clear which is fastest, and that one keeps the program.  Now and then the verdict is looked
at again, since the first may have fallen in a noisy moment.
"""

from __future__ import annotations

import os
import sys
import threading
from time import perf_counter
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary, ref

from flambeau import devices
from flambeau.engine.form import FEW, LONG, Form, turns_of
from flambeau.engine.kin import GAIN, HOPELESS, Kin
from flambeau.engine.memory import return_free_memory
from flambeau.engine.statistics import counters
from flambeau.engine.tier import INTERPRETER, TIERS, Executable, Tier
from flambeau.graph.program import Program, Stretch, program_of
from flambeau.user_warnings import warn

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

WORTHWHILE = 40e-6
"""Seconds: a program that the interpreter runs faster than this has little to gain."""
PATIENCE = 0.5
"""Compile once the interpreter has spent this part of what compiling is expected to take ..."""
REGULAR = 16
"""... or has run the program so often that it may be one of many that make up a loop."""
THRIFTY = 1.0
"""All compiling together may take this part of the time that all interpreting has taken ..."""
EAGER = 4.0
"""... or this, where somebody asked for it, or where it has paid for programs of the same kin.

What somebody asked for may also be paid for by its own interpreting alone.
"""
RUNS_BETWEEN_TRIALS = 8, 128
"""A verdict on short runs is looked at again after as many as take some seconds, but within these bounds ..."""
SECONDS_BETWEEN_TRIALS = 3.0
"""... and after twice as many each time, but not before ..."""
PRICE = 0.01
"""... what running the slower tiers again costs is at most this part of the time since the last verdict."""


class _Spending:
    """Seconds spent in the interpreter, and on compiling, in all.

    Attributes:
        promised: seconds expected of compilations that have not finished.
    """

    interpreted = 0.0
    compiled = 0.0
    promised = 0.0

    def affords(self, seconds: float, budget: float) -> bool:
        """Whether that much more compiling stays within a part of what interpreting has cost so far."""
        return self.compiled + self.promised + seconds <= budget * self.interpreted


spending = _Spending()


PLAIN = Kin()
"""Everything that is recorded and run as it comes."""

_plain: WeakValueDictionary[tuple[Any, ...], Kin] = WeakValueDictionary()
"""Those parts of it that differ in shapes alone, such as the steps of one loop, by their operators."""


def _kin_of(program: Program) -> Kin:
    operators = tuple([step.call.op for step in program.steps])
    if any(op.urgent for op in operators):
        return Kin(asked=True)
    found = _plain.get(operators)
    if found is None:
        found = _plain[operators] = Kin(wider=PLAIN)
    return found


class Entry:
    """What is known of one program.

    Attributes:
        program: the work.
        constants: Python numbers among the leaves, by position, that were never seen to change.
        forms: the program as tiers run it, by the tier's name, in the order in which they were ready.
        chosen: the form that keeps the program, once judged.
        runs, spent: of the interpreter before there was anything else, and the seconds that took.
        kin: programs of the same origin.
        gain: how much faster the best further tier was than the first in the last trial; None while that is not known.
    """

    __slots__ = (
        "__weakref__",
        "_expected",
        "_job",
        "_left",
        "_period",
        "_refused",
        "chosen",
        "constants",
        "forms",
        "gain",
        "kin",
        "program",
        "runs",
        "spent",
    )

    def __init__(self, stretch: Stretch) -> None:
        self.program = program_of(stretch)
        self.constants: dict[int, Any] = {}
        if self.program.device is devices.cpu:
            # An accelerator's program takes long to compile again, and reads numbers at no cost.
            self.constants.update((i, node.value) for i, node in enumerate(stretch.leaves) if node.aval.weak)
        self.kin = _kin_of(self.program)
        self.forms: dict[str, Form] = {}
        self.chosen: Form | None = None
        self.runs = 0
        self.spent = 0.0
        self.gain: float | None = None
        self._job: tuple[Tier, Future[Executable]] | None = None
        self._expected = 0.0
        self._refused: set[str] = set()
        self._left = 0
        self._period = 0

    def join(self, kin: Kin) -> None:
        """Makes it one of the programs of another origin."""
        self.kin = kin
        kin.meet(self)

    def form(self, tier: Tier, donated: tuple[bool, ...]) -> Form:
        """The program as a tier runs it; made now if need be."""
        found = self.forms.get(tier.name)
        if found is None:
            make_room(tier)
            before = perf_counter()
            found = Form(tier, tier.build(self.program, donated, dict(self.constants)))
            if tier is not INTERPRETER:
                spending.compiled += perf_counter() - before
            self._keep(found)
        return found

    def _keep(self, form: Form) -> None:
        self.forms[form.tier.name] = form
        if form.tier is not INTERPRETER:
            _holders.append(ref(self))

    def give_up(self, tier: Tier) -> None:
        """Forgets the program as a tier runs it; it is made ready again if that promises a gain."""
        form = self.forms.pop(tier.name)
        self.gain = None
        if self.chosen is form:
            self.chosen = None

    def note_changes(self, values: list[Any]) -> None:
        """A Python number is a constant of its program until it is seen to change."""
        changed = [i for i, known in self.constants.items() if values[i] != known]
        if changed:
            for i in changed:
                del self.constants[i]
            # What was compiled holds the old numbers.
            if self._job is not None:
                self._done_building()
            self.chosen = None
            self.gain = None
            self.forms.clear()

    # ------------------------------------------------------------ running

    def run(self, values: list[Any], donated: tuple[bool, ...]) -> list[Any]:
        """Runs the program on the tier held to be the fastest, or on one whose turn it is to be timed."""
        chosen = self.chosen
        if chosen is not None:
            self._left -= 1
            if self._left:
                return chosen.run(values, donated)
            return self._try_again(values, donated)
        if len(self.forms) > 1:
            return self._take_turns(values, donated)
        return self._interpret(values, donated)

    def _interpret(self, values: list[Any], donated: tuple[bool, ...]) -> list[Any]:
        form = self.form(INTERPRETER, donated)
        results = form.timed(values, donated)
        seconds = form.seconds[-1]
        self.runs += 1
        self.spent += seconds
        spending.interpreted += seconds
        if self._job is not None:
            if self._job[1].done():
                self.collect()
        else:
            self._start_building(donated)
        return results

    def _start_building(self, donated: tuple[bool, ...]) -> None:
        for tier in TIERS:
            if tier.name in self.forms or tier.name in self._refused or not self._promises_gain(tier):
                continue
            make_room(tier)
            self._expected = tier.expected_seconds(self.program)
            spending.promised += self._expected
            job = _background().submit(_built, tier, self.program, donated, dict(self.constants))
            self._job = tier, job
            self.kin.builds(job)
            return

    def _promises_gain(self, tier: Tier) -> bool:
        seconds = tier.expected_seconds(self.program)
        gain = self.kin.gain()
        if gain is None:
            wanted = self.kin.asked or self._is_hot(seconds)
            budget = EAGER if self.kin.asked else THRIFTY
            wanted = wanted and not self.kin.is_trying()
        elif gain >= (self.kin.clearly() if self.kin.asked else GAIN):
            wanted = self.runs > 1
            budget = EAGER
        else:
            wanted = gain > 1 and (self.runs >= REGULAR or self.spent * (1 - 1 / gain) > seconds)
            budget = THRIFTY
        return wanted and (spending.affords(seconds, budget) or self._has_paid(seconds)) and tier.can_run(self.program)

    def _has_paid(self, seconds: float) -> bool:
        """Whether it has been interpreted long enough by itself, where somebody asked for compilation.

        Once all others of a loop are compiled, interpreting costs next to nothing any more, and what is left would wait
        for ever for a part of that.
        """
        return self.kin.asked and self.spent > PATIENCE * seconds

    def _is_hot(self, seconds: float) -> bool:
        """Whether so much has been spent on it, or so often, that compiling may be worth its seconds."""
        if self.runs < 2 or min(self.forms[INTERPRETER.name].seconds) < WORTHWHILE:
            return False
        return self.spent > PATIENCE * seconds or self.runs >= REGULAR

    def _done_building(self) -> None:
        self._job = None
        spending.promised -= self._expected

    def collect(self) -> None:
        """Takes over what the background has built; waits for it if need be."""
        if self._job is None:
            return
        tier, job = self._job
        self._done_building()
        error = job.exception()
        if error is None:
            self._keep(Form(tier, job.result()))
            self.begin_trial()
            return
        self._refused.add(tier.name)
        warn(
            f"flambeau: XLA could not compile a program of {len(self.program.steps)} operations, which goes on "
            f"in the interpreter: {type(error).__name__}: {error}",
            RuntimeWarning,
        )

    # ------------------------------------------------------------ judging

    def first(self) -> Form:
        """The program on the tier that was ready first."""
        return next(iter(self.forms.values()))

    def _further(self) -> list[Form]:
        _, *others = self.forms.values()
        return others

    def begin_trial(self) -> None:
        """Leaves open which tier keeps the program until a trial has shown it."""
        self.chosen = None
        self.gain = None
        for form in self.forms.values():
            form.turns = 0

    def was_on_trial(self) -> bool:
        """Whether enough has been seen for a verdict."""
        return len(self.forms) > 1 and any(form.turns for form in self._further()) and self._is_timed()

    def _is_timed(self) -> bool:
        return all(form.seconds for form in self.forms.values())

    def measure(self) -> float:
        """How much faster the best further tier is than the first; known from now on."""
        self.gain = self.first().typical() / min(form.typical() for form in self._further())
        return self.gain

    def is_clear(self) -> bool:
        """Whether the newest tier has shown that it is far ahead of all others."""
        *others, newest = self.forms.values()
        if not others:
            return True
        return newest.turns >= FEW and min(form.typical() for form in others) >= HOPELESS * newest.typical()

    def stands(self) -> bool:
        """Whether there is a verdict that another trial would not change.

        It is against noise, which long runs average out; and it would hold both tiers' results at once.
        """
        if self.chosen is None or not self._is_timed():
            return False
        fastest = self.chosen.typical()
        rivals = [form for form in self.forms.values() if form is not self.chosen]
        return fastest >= LONG or all(form.typical() > HOPELESS * fastest for form in rivals)

    def _take_turns(self, values: list[Any], donated: tuple[bool, ...]) -> list[Any]:
        form = self.kin.form_on_trial(self)
        if form is None:
            form = self._decide()
            _make_way(form, values)
            return form.run(values, donated)
        if not form.turns:
            # Each has its turns in a row: threads of one that has just worked go on spinning and disturb the next.
            _make_way(form, values)
        return form.timed(values, donated)

    def _decide(self) -> Form:
        self.chosen = self._of_kin() or self._best()
        counters.verdicts += 1
        self._rest()
        return self.chosen

    def _best(self) -> Form:
        forms = list(self.forms.values())
        best = forms[-1]
        for form in reversed(forms[:-1]):
            if form.typical() < self.kin.clearly() * best.typical():
                best = form
        return best

    def _of_kin(self) -> Form | None:
        """The form that programs of its kin are to run in; None where that is not known, or the gain is out of line."""
        favours = self.kin.favours()
        is_extreme = not self.kin.asked and self.gain is not None and not 1 / HOPELESS < self.gain < HOPELESS
        if favours is None or is_extreme:
            return None
        if not favours:
            return self.first()
        return min(self._further(), key=Form.typical) if self._is_timed() else self._further()[-1]

    def _rest(self) -> None:
        """Lets the verdict stand for a while."""
        assert self.chosen is not None
        least, most = RUNS_BETWEEN_TRIALS
        if self._is_timed():
            wanted = int(SECONDS_BETWEEN_TRIALS / self.chosen.typical())
            self._period = max(2 * self._period or min(max(wanted, least), most), self._affordable())
        else:
            self._period = most
        self._left = self._period

    def _affordable(self) -> int:
        """After how many runs another trial has its price."""
        assert self.chosen is not None
        fastest = self.chosen.typical()
        slower = [
            seconds for form in self.forms.values() if fastest < (seconds := form.typical()) <= HOPELESS * fastest
        ]
        lost = sum((seconds - fastest) * turns_of(seconds) for seconds in slower)
        return int(lost / (PRICE * fastest))

    def _try_again(self, values: list[Any], donated: tuple[bool, ...]) -> list[Any]:
        assert self.chosen is not None
        if self.stands() or len(self.forms) == 1:
            self._rest()
            return self.chosen.run(values, donated)
        self.kin.begin_trial()
        return self._take_turns(values, donated)


def _make_way(form: Form, values: list[Any]) -> None:
    """Puts values into the form of the tier that has the next runs, and returns what another tier has kept."""
    form.executable.prepare(values)
    return_free_memory()


_holders: list[ref[Entry]] = []
"""Entries with a form beyond the interpreter's, in the order in which they got it."""


def make_room(tier: Tier) -> None:
    """Gives up what a tier has made ready and nobody ran lately, if it can hold no more."""
    if not tier.is_crowded():
        return
    holders = [entry for entry in _living() if tier.name in entry.forms]
    idle = [entry for entry in holders if not entry.forms[tier.name].recent]
    for entry in idle or holders[: 1 + len(holders) // 2]:
        entry.give_up(tier)
        counters.programs_evicted += 1
    holders = [entry for entry in holders if tier.name in entry.forms]
    for entry in holders:
        entry.forms[tier.name].recent = False
    _holders[:] = [ref(entry) for entry in _living() if entry.forms.keys() - {INTERPRETER.name}]


def _living() -> dict[Entry, None]:
    return dict.fromkeys(entry for held in _holders if (entry := held()) is not None)


def _built(tier: Tier, program: Any, donated: tuple[bool, ...], constants: dict[int, Any]) -> Executable:
    started = perf_counter()
    try:
        return tier.build(program, donated, constants)
    finally:
        return_free_memory()
        spending.compiled += perf_counter() - started


_builder: ThreadPoolExecutor | None = None


def _background() -> ThreadPoolExecutor:
    global _builder
    if _builder is None:
        from concurrent.futures import ThreadPoolExecutor

        _builder = ThreadPoolExecutor(1, "flambeau-tiers", _step_back)
    return _builder


NICENESS = 5
"""Of the thread that compiles, beyond the process's: it gets a quarter of a core that the work at hand wants too."""


def _step_back() -> None:
    """Lets the work at hand go first: where its threads are as many as the cores, one more makes all of them wait."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), os.getpriority(os.PRIO_PROCESS, 0) + NICENESS)


ENTRIES_KEPT = 1024
entries: dict[tuple[Any, ...], Entry] = {}


def entry_of(stretch: Stretch) -> Entry:
    """What is known of a stretch's structural key; made if it was never met."""
    return entries.get(stretch.key) or _admitted(stretch)


def _admitted(stretch: Stretch) -> Entry:
    counters.programs_seen += 1
    if len(entries) >= ENTRIES_KEPT:
        # Dictionaries keep the order of insertion: the oldest quarter goes.
        for key in list(entries)[: ENTRIES_KEPT // 4]:
            del entries[key]
            counters.programs_evicted += 1
    entry = entries[stretch.key] = Entry(stretch)
    return entry

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
import warnings
from collections import deque
from time import perf_counter
from typing import TYPE_CHECKING, Any
from weakref import WeakSet, WeakValueDictionary, ref

from flambeau import devices
from flambeau.engine.memory import return_free_memory
from flambeau.engine.statistics import counters
from flambeau.engine.tier import INTERPRETER, TIERS, Executable, Tier
from flambeau.graph.program import Program, Stretch, program_of

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
"""... or this, where somebody asked for it, or where it has paid for programs of the same kin."""
GAIN = 1.25
"""Compiling has paid where it made programs faster by this factor."""
AT_ONCE = 2
"""So many programs are compiled before it is known whether that pays, of all that nobody asked for together."""
TURNS = 8
"""How many runs of each tier are compared at the most."""
FEW = 3
"""So many are enough where one tier is twice as fast as another, or where they are long."""
LONG = 0.3
"""Seconds of runs that are enough of each tier: noise is small beside them."""
CLEARLY = 0.9
"""A tier gives way to one that was ready before it only if that needs less than this part of its time ..."""
CLEARLY_THOUGH_ASKED = 0.8
"""... or this, where somebody asked for compilation, which goes on as long as its results are kept.

A trial shows each tier at its best, run after run.  With other work in between, the interpreter's many steps lose more
of that than one compiled program: of a growing cache's programs, slower by a sixth in trials, a loop is faster.
"""
RUNS_BETWEEN_TRIALS = 8, 128
"""A verdict on short runs is looked at again after as many as take some seconds, but within these bounds ..."""
SECONDS_BETWEEN_TRIALS = 3.0
"""... and after twice as many each time, but not before ..."""
PRICE = 0.01
"""... what running the slower tiers again costs is at most this part of the time since the last verdict."""
HOPELESS = 2.0
"""Tiers slower than the fastest by this factor get no second trial."""


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


class Kin:
    """Programs of one origin, say of one captured function: what compiling gained for some tells of the rest.

    Attributes:
        asked: whether somebody asked for compilation.
        wider: a larger family that it belongs to.
        gains: for the last programs that were judged, how much faster the best further tier was than the first.
        building: how many are being compiled.
        judged: its programs that have a verdict.
    """

    __slots__ = ("__weakref__", "_favoured", "asked", "building", "gains", "judged", "wider")

    def __init__(self, asked: bool = False, wider: Kin | None = None) -> None:
        self.asked = asked
        self.wider = wider
        self.gains: deque[float] = deque(maxlen=TURNS)
        self.building = 0
        self.judged: WeakSet[Entry] = WeakSet()
        self._favoured: bool | None = None

    def gain(self) -> float | None:
        """By what factor compiling has typically made programs faster; None while that is not known.

        What has paid in the larger family is expected to pay here; what has not, may.
        """
        if self.gains:
            return self._typical_gain()
        expected = self.wider.gain() if self.wider is not None else None
        return expected if expected is None or expected >= GAIN else None

    def clearly(self) -> float:
        """How much faster than a further tier the first must be to keep its programs."""
        return CLEARLY_THOUGH_ASKED if self.asked else CLEARLY

    def favoured(self) -> bool | None:
        """Whether its programs are to run on a further tier; None while too few were judged."""
        return self._typical_gain() >= self.clearly() if len(self.gains) >= FEW else None

    def _typical_gain(self) -> float:
        return sorted(self.gains)[len(self.gains) // 2]

    def learn(self, entry: Entry, gain: float) -> None:
        """Notes how much faster a further tier made one of its programs; what the others run on may change with it.

        Programs that take turns hand values over, and wait for each other's threads, where their tiers differ.
        """
        for kin in self._families():
            kin.gains.append(gain)
        self.judged.add(entry)
        before, self._favoured = self._favoured, self.favoured()
        if self._favoured is not before:
            for other in self.judged:
                other.look_again()

    def builds(self, more: int) -> None:
        """Counts programs that are being compiled."""
        for kin in self._families():
            kin.building += more

    def is_trying(self) -> bool:
        """Whether as many programs are being compiled as there should be while nothing is known."""
        return max(kin.building for kin in self._families()) >= AT_ONCE

    def _families(self) -> tuple[Kin, ...]:
        return (self,) if self.wider is None else (self, self.wider)


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


class Form:
    """A program as one tier runs it.

    Attributes:
        seconds: of the last runs that were timed, the newest last.
        turns: how many of them belong to the trial in progress.
        recent: whether it has run since room was last made.
    """

    __slots__ = ("executable", "recent", "seconds", "tier", "turns")

    def __init__(self, tier: Tier, executable: Executable) -> None:
        self.tier = tier
        self.executable = executable
        self.seconds: deque[float] = deque(maxlen=TURNS)
        self.turns = 0
        self.recent = True

    def run(self, values: list[Any], donated: tuple[bool, ...]) -> list[Any]:
        self.recent = True
        self.tier.count_run()
        return self.executable.run(values, donated)

    def timed(self, values: list[Any], donated: tuple[bool, ...]) -> list[Any]:
        """Runs, waits for the results, and notes how long that took.

        Taking values over from another tier is not counted: once all of a loop runs on one tier, it does not happen.
        """
        self.recent = True
        self.executable.prepare(values)
        started = perf_counter()
        results = self.executable.run(values, donated)
        self.executable.wait(results)
        self.seconds.append(perf_counter() - started)
        self.turns += 1
        self.tier.count_run()
        return results

    def is_known(self) -> bool:
        """Whether the trial has seen enough of it."""
        return self.turns >= FEW and self.turns >= _turns_of(self.typical())

    def typical(self) -> float:
        """A lower quartile: what a run costs when nothing else gets in its way, but not by luck."""
        ordered = sorted(self.seconds)
        return ordered[len(ordered) // 4]


def _turns_of(seconds: float) -> float:
    """How many runs of that length tell enough of a tier."""
    return max(FEW, min(TURNS, LONG / seconds))


class Entry:
    """What is known of one program.

    Attributes:
        program: the work.
        constants: Python numbers among the leaves, by position, that were never seen to change.
        forms: the program as tiers run it, by the tier's name, in the order in which they were ready.
        chosen: the form that keeps the program, once judged.
        runs, spent: of the interpreter before there was anything else, and the seconds that took.
        kin: programs of the same origin.
    """

    __slots__ = (
        "__weakref__",
        "_expected",
        "_gain",
        "_job",
        "_left",
        "_period",
        "_refused",
        "chosen",
        "constants",
        "forms",
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
        self._job: tuple[Tier, Future[Executable], Kin] | None = None
        self._expected = 0.0
        self._gain = 1.0
        self._refused: set[str] = set()
        self._left = 0
        self._period = 0

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
            self.kin.builds(1)
            constants = dict(self.constants)
            self._job = tier, _background().submit(_built, tier, self.program, donated, constants), self.kin
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
        return wanted and spending.affords(seconds, budget) and tier.can_run(self.program)

    def _is_hot(self, seconds: float) -> bool:
        """Whether so much has been spent on it, or so often, that compiling may be worth its seconds."""
        if self.runs < 2 or min(self.forms[INTERPRETER.name].seconds) < WORTHWHILE:
            return False
        return self.spent > PATIENCE * seconds or self.runs >= REGULAR

    def _done_building(self) -> None:
        assert self._job is not None
        # Its kin may be others by now: somebody may have asked for compilation meanwhile.
        self._job[2].builds(-1)
        self._job = None
        spending.promised -= self._expected

    def collect(self) -> None:
        """Takes over what the background has built; waits for it if need be."""
        if self._job is None:
            return
        tier, job, _ = self._job
        self._done_building()
        error = job.exception()
        if error is None:
            self._keep(Form(tier, job.result()))
            self._begin_trial()
            return
        self._refused.add(tier.name)
        warnings.warn(
            f"flambeau: XLA could not compile a program of {len(self.program.steps)} operations, which goes on "
            f"in the interpreter: {type(error).__name__}: {error}",
            RuntimeWarning,
            stacklevel=2,
        )

    # ------------------------------------------------------------ judging

    def _begin_trial(self) -> None:
        self.chosen = None
        for form in self.forms.values():
            form.turns = 0

    def _take_turns(self, values: list[Any], donated: tuple[bool, ...]) -> list[Any]:
        # The newest begins: it may never be worth another turn of the old ones.  Each has its turns in a row,
        # since the threads of one that has just worked go on spinning for a while and disturb the next.
        form = next((form for form in reversed(self.forms.values()) if not form.is_known()), None)
        if form is None or self._is_clear():
            form = self._decide()
            _make_way(form, values)
            return form.run(values, donated)
        if not form.turns:
            _make_way(form, values)
        return form.timed(values, donated)

    def _is_clear(self) -> bool:
        """Whether the newest tier is far ahead, runs before the trial included.

        Whether it is far behind is not known so soon: in its first runs the system gives it memory, page by page,
        which may take longer than the work.
        """
        *others, newest = self.forms.values()
        return newest.turns >= FEW and min(form.typical() for form in others) >= HOPELESS * newest.typical()

    def _decide(self) -> Form:
        forms = list(self.forms.values())
        best = forms[-1]
        for form in reversed(forms[:-1]):
            if form.typical() < self.kin.clearly() * best.typical():
                best = form
        self._gain = forms[0].typical() / min(form.typical() for form in forms[1:])
        self.kin.learn(self, self._gain)
        self.chosen = best = self._as_its_kin() or best
        counters.verdicts += 1
        self._rest()
        return best

    def _as_its_kin(self) -> Form | None:
        """The form that programs of its kin are to run in; None where that is not known, or the gain is out of line."""
        favoured = self.kin.favoured()
        is_extreme = not self.kin.asked and not 1 / HOPELESS < self._gain < HOPELESS
        first, *others = self.forms.values()
        if favoured is None or is_extreme or not others:
            return None
        return min(others, key=Form.typical) if favoured else first

    def look_again(self) -> None:
        """Has the next run follow its kin, if the verdict was another."""
        of_kin = self._as_its_kin()
        if of_kin is not None and self.chosen not in (None, of_kin):
            self._left = 1

    def _rest(self) -> None:
        """Lets the verdict stand for a while."""
        assert self.chosen is not None
        least, most = RUNS_BETWEEN_TRIALS
        wanted = int(SECONDS_BETWEEN_TRIALS / self.chosen.typical())
        self._period = max(2 * self._period or min(max(wanted, least), most), self._affordable())
        self._left = self._period

    def _affordable(self) -> int:
        """After how many runs another trial has its price."""
        assert self.chosen is not None
        fastest = self.chosen.typical()
        slower = [
            seconds for form in self.forms.values() if fastest < (seconds := form.typical()) <= HOPELESS * fastest
        ]
        lost = sum((seconds - fastest) * _turns_of(seconds) for seconds in slower)
        return int(lost / (PRICE * fastest))

    def _try_again(self, values: list[Any], donated: tuple[bool, ...]) -> list[Any]:
        assert self.chosen is not None
        of_kin = self._as_its_kin()
        if of_kin is not None and of_kin is not self.chosen:
            self.chosen = of_kin
            self._rest()
            _make_way(of_kin, values)
            return of_kin.run(values, donated)
        fastest = self.chosen.typical()
        rivals = [form for form in self.forms.values() if form is not self.chosen]
        # A second trial is against noise, which long runs average out; and it would hold both tiers' results at once.
        is_known = fastest >= LONG or all(form.typical() > HOPELESS * fastest for form in rivals)
        # So do verdicts on many of a kind; and runs of another tier among theirs cost all of them something.
        if is_known or (of_kin is not None and len(self.kin.gains) == TURNS):
            self._rest()
            return self.chosen.run(values, donated)
        self._begin_trial()
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
"""Of the thread that compiles: it gets a quarter of a core that the work at hand wants too."""


def _step_back() -> None:
    """Lets the work at hand go first: where its threads are as many as the cores, one more makes all of them wait."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)


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

"""The entries of a suite in worker processes, each with a time limit and safe from each other's crashes."""

from __future__ import annotations

import collections
import contextlib
import functools
import importlib
import multiprocessing
import multiprocessing.connection
import signal
import sys
import time
import types

import torch
from comparison import first_line
from translation import Library, Mismatch, NotApplicable


class Timeout(BaseException):
    """Not an Exception, so that the library under test does not swallow it."""


FAILURES = ("wrong", "missing", "error", "timeout", "crash")
GRACE = 15  # seconds past its timeout after which an entry stuck in native code is killed


class Report:
    """The outcome of one entry: for each column a status and how many samples passed. `plan` is
    the number of samples of each column."""

    def __init__(self, plan):
        self.columns = {column: {"status": "skip", "passed": 0, "total": 0, "message": ""} for column in plan}
        self.plan, self.finished = plan, set()

    def attempt(self, column, check, library):
        cell = self.columns[column]
        try:
            check()
        except NotApplicable:
            return
        except Exception as error:
            if cell["status"] not in FAILURES:
                cell["status"], cell["message"] = classify(error, library)
        else:
            cell["passed"] += 1
            if cell["status"] == "skip":
                cell["status"] = "pass"
        cell["total"] += 1

    def abort(self, status, message):
        """Nothing more will be learned about the columns that have not finished."""
        for column, cell in self.columns.items():
            if column not in self.finished and self.plan[column]:
                cell.update(status=status, message=message, total=self.plan[column])


def classify(error, library):
    if isinstance(error, Mismatch):
        return "wrong", first_line(error)
    lacking = isinstance(getattr(error, "obj", None), (types.ModuleType, type, library.Tensor))
    if isinstance(error, AttributeError) and lacking:
        return "missing", first_line(error)
    return "error", f"{type(error).__name__}: {first_line(error)}"


def run_entry(suite, entry, samples, library, timeout):
    start, report = time.monotonic(), Report({column: len(items) for column, items in samples.items()})

    def interrupt(signum, frame):
        raise Timeout

    signal.signal(signal.SIGALRM, interrupt)
    signal.alarm(timeout)
    try:
        for column, items in samples.items():
            for sample in items:
                report.attempt(column, functools.partial(suite.check, entry, column, sample, library), library)
            report.finished.add(column)
    except Timeout:
        report.abort("timeout", f"not finished after {timeout} s")
    finally:
        signal.alarm(0)
    return {"columns": report.columns, "seconds": round(time.monotonic() - start, 2)}


FORK = multiprocessing.get_context("fork")  # so that the databases are loaded only once


def load(name):
    return Library(importlib.import_module(name))


def serve(pipe, suite, options):
    """Worker process: run the entries named on the pipe; answer with the plan, then the outcome."""
    torch.set_num_threads(1)
    library = load(options.lib)
    while True:
        entry = suite.entries[pipe.recv()]
        samples = {column: suite.samples(entry, column) for column in suite.columns(entry)}
        pipe.send({column: len(items) for column, items in samples.items()})
        pipe.send(run_entry(suite, entry, samples, library, options.timeout))


class Worker:
    def __init__(self, suite, options):
        self.pipe, child = FORK.Pipe()
        self.process = FORK.Process(target=serve, args=(child, suite, options), daemon=True)
        self.process.start()
        child.close()
        self.entry = None

    def give(self, entry, timeout):
        self.entry, self.plan, self.deadline = entry, None, time.monotonic() + timeout + GRACE
        with contextlib.suppress(OSError):  # a dead worker is noticed below
            self.pipe.send(entry)

    def outcome(self, suite):
        """The result of the current entry, or None while it is being computed."""
        status, message = "timeout", "stuck in native code"
        if self.pipe.poll():
            try:
                if self.plan:
                    return self.pipe.recv()
                self.plan = self.pipe.recv()
                return None
            except (EOFError, ConnectionResetError):
                self.process.join()
                status, message = "crash", f"the process ended with exit code {self.process.exitcode}"
        elif time.monotonic() < self.deadline:
            return None
        self.process.kill()
        self.process.join()
        report = Report(self.plan or dict.fromkeys(suite.columns(suite.entries[self.entry]), 1))
        report.abort(status, message)
        return {"columns": report.columns, "seconds": None}


def run_entries(suite, names, options):
    pending, results = collections.deque(names), {}
    workers = [Worker(suite, options) for _ in range(min(options.jobs, len(names)))]
    while len(results) < len(names):
        workers = [
            worker if worker.entry or worker.process.is_alive() else Worker(suite, options) for worker in workers
        ]
        for worker in workers:
            if worker.entry is None and pending:
                worker.give(pending.popleft(), options.timeout)
        busy = [worker for worker in workers if worker.entry]
        multiprocessing.connection.wait([worker.pipe for worker in busy], timeout=1)
        for worker in busy:
            if outcome := worker.outcome(suite):
                results[worker.entry], worker.entry = outcome, None
        if sys.stderr.isatty():
            print(f"\r{len(results)}/{len(names)}", end="\r", file=sys.stderr)
    for worker in workers:
        worker.process.terminate()
    return {name: results[name] for name in names}

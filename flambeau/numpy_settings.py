"""What is set for NumPy unless the user has; to be imported before it, which asks but once.

OpenBLAS has NumPy's threads spin for some 25 ms after their work, so that they are at hand at once.  In a loop of short
programs they spin on while XLA's threads compute, and take a core from them: of a growing cache's programs a few that
NumPy runs would slow down all.  For less than half a millisecond, they are at hand within a program, and out of the way
after it.

NumPy asks Linux for huge pages below large arrays, and what is asked for a place stands for whatever comes there later.
The system then fills 2 megabytes for each few bytes in use there, at once or some seconds later, what was handed back
(:mod:`flambeau.engine.memory`) included: a GPT of 700 megabytes grew by 30 to 100, also while it did nothing.
Huge pages save time where memory is new; here freed memory is kept, and steps take as long without.
"""

import os

# The power of two of clock cycles.
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "20")
os.environ.setdefault("NUMPY_MADVISE_HUGEPAGE", "0")

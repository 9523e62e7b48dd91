"""How long NumPy's threads wait for more work before they sleep; to be imported before NumPy, which asks but once.

OpenBLAS has them spin for some 25 ms, so that they are at hand at once.  In a loop of short programs they spin on while
XLA's threads compute, and take a core from them: of a growing cache's programs a few that NumPy runs would slow down
all.  For less than half a millisecond, they are at hand within a program, and out of the way after it.
"""

import os

# The power of two of clock cycles.
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "20")

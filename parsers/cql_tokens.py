"""CQL text cut into tokens and statements, each with its line; it knows no statement's meaning."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from cdc_tail.errors import ConfigError

_TOKEN: Final = re.compile(
    r"""
      (?P<blank>  \s+ | --[^\n]* | //[^\n]* | /\*.*?\*/ )
    | (?P<string> '(?:[^']|'')*' | \$\$.*?\$\$ )
    | (?P<quoted> "(?:[^"]|"")*" )
    | (?P<uuid>   [0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12} )
    | (?P<number> -?[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?(?![\w]) )
    | (?P<word>   \w+ )
    | (?P<mark>   . )
    """,
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Token:
    """A token as it stands in the text from `start` to `end`."""

    kind: str
    text: str
    line: int
    start: int
    end: int

    @property
    def name(self) -> str | None:
        """The identifier that it is: bare ones in lower case; None where it is none."""
        if self.kind == "word":
            return self.text.lower()
        return self.text[1:-1].replace('""', '"') if self.kind == "quoted" else None

    @property
    def word(self) -> str:
        """A keyword or mark in upper case; what is quoted is neither and gives an empty string."""
        return self.text.upper() if self.kind in ("word", "mark") else ""


class Statement:
    """A cursor over one statement's tokens; mistakes raise ConfigError naming the line."""

    def __init__(self, source: str, tokens: list[Token]) -> None:
        self._source = source
        self._tokens = tokens
        self._next = 0

    @property
    def peek(self) -> Token:
        """The next token; an empty one behind the end."""
        if self._next < len(self._tokens):
            return self._tokens[self._next]
        last = self._tokens[-1]
        return Token("end", "", last.line, last.end, last.end)

    @property
    def is_done(self) -> bool:
        """Whether all tokens are taken."""
        return self._next >= len(self._tokens)

    def take(self) -> Token:
        """The next token, which is passed; raises ConfigError at the end."""
        token = self.peek
        if token.kind == "end":
            raise self.error("the statement ends too early")
        self._next += 1
        return token

    def accept(self, *words: str) -> bool:
        """Pass these keywords or marks if they come next, all or none."""
        tokens = self._tokens[self._next : self._next + len(words)]
        if [token.word for token in tokens] != list(words):
            return False
        self._next += len(words)
        return True

    def expect(self, *words: str) -> None:
        """Pass these keywords or marks; raises ConfigError where something else comes."""
        if not self.accept(*words):
            raise self.error(f"{' '.join(words)!r} expected, found {self.peek.text!r}")

    def name(self) -> str:
        """Pass an identifier."""
        name = self.peek.name
        if name is None:
            raise self.error(f"a name expected, found {self.peek.text!r}")
        self._next += 1
        return name

    def names(self) -> list[str]:
        """Pass identifiers in parentheses, parted by commas."""
        self.expect("(")
        names = [self.name()]
        while self.accept(","):
            names.append(self.name())
        self.expect(")")
        return names

    def text_until(self, *words: str) -> str:
        """Pass and return everything before one of these words outside brackets, or the end.

        A closing bracket without its opening one ends it, too.
        """
        start = self.peek.start
        end = start
        depth = 0
        while not self.is_done:
            word = self.peek.word
            if depth == 0 and (word in words or word in (")", "]", "}", ">")):
                break
            depth += (word in ("(", "<", "[", "{")) - (word in (")", ">", "]", "}"))
            end = self.take().end
        return self._source[start:end]

    def error(self, message: str) -> ConfigError:
        """What to raise for a mistake at the next token."""
        return ConfigError(f"CQL line {self.peek.line}: {message}")


def statements(text: str) -> Iterator[Statement]:
    """The statements of a text, in order."""
    tokens: list[Token] = []
    line = 1
    for match in _TOKEN.finditer(text):
        kind, token = match.lastgroup or "", match.group()
        if kind == "mark" and token == ";":
            if tokens:
                yield Statement(text, tokens)
            tokens = []
        elif kind != "blank":
            tokens.append(Token(kind, token, line, match.start(), match.end()))
        line += token.count("\n")
    if tokens:
        yield Statement(text, tokens)

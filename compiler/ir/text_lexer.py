"""Splits a line of the graph's text form into tokens, and reports what was expected instead."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn, TypeVar

import numpy as np

from compiler.errors import ModelError, one_line

T = TypeVar("T")

# A colon belongs to a name before a digit (`x:0`) and in a domain (`com.microsoft::Gelu`), else it
# ends one.
SIMPLE_NAME = re.compile(r"[A-Za-z_/](?:[A-Za-z0-9_./$+-]|:(?=[0-9])|::(?=[A-Za-z_]))*")
_TOKEN = re.compile(
    rf"""[ \t\r]*(?:(?P<text>"(?:[^"\\]|\\.)*")
    |(?P<number>(?:-?[0-9]+(?:\.[0-9]*)?(?:[eE][-+]?[0-9]+)?d?|-inf)(?![A-Za-z0-9_.]))
    |(?P<name>{SIMPLE_NAME.pattern})
    |(?P<placeholder><[^<>"]*>)
    |(?P<sign>->|\.\.\.|[()\[\]{{}}:,=@?])
    |(?P<end>(?:\#.*)?$))""",
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True)
class Token:
    """A piece of a line; its kind is a group of the pattern above."""

    kind: str
    text: str


class Line:
    """The tokens of a line, taken one after another."""

    def __init__(self, number: int, line: str) -> None:
        self.line_number = number
        self._tokens: list[Token] = []
        self._next = 0
        position = 0
        while not self._tokens or self._tokens[-1].kind != "end":
            match = _TOKEN.match(line, position)
            if match is None or match.lastgroup is None:
                self._fail("a name, number, text or sign", _shown(line[position:].strip()))
            self._tokens.append(Token(match.lastgroup, match[match.lastgroup]))
            position = match.end()

    @property
    def kind(self) -> str:
        """The kind of the next token."""
        return self._tokens[self._next].kind

    @property
    def next(self) -> str:
        """The text of the next token."""
        return self._tokens[self._next].text

    @property
    def second(self) -> Token:
        """The token after the next one."""
        return self._tokens[min(self._next + 1, len(self._tokens) - 1)]

    def fail(self, wanted: str) -> NoReturn:
        """Raises the error that names what was wanted in the place of the next token."""
        self._fail(wanted, "the end of the line" if self.kind == "end" else _shown(self.next))

    def refuse(self, reason: str) -> NoReturn:
        """Raises the error that explains why the line cannot be taken."""
        raise ModelError(f"line {self.line_number}: {reason}", code="M001")

    def _fail(self, wanted: str, found: str) -> NoReturn:
        self.refuse(f"wanted {wanted}, found {found}")

    def take(self) -> str:
        """Takes the next token and returns its text."""
        token = self._tokens[self._next]
        self._next += token.kind != "end"
        return token.text

    def took(self, sign: str) -> bool:
        """Takes a sign or word if it comes next, and returns whether it did."""
        found = self.next == sign and self.kind in ("sign", "name")
        self._next += found
        return found

    def want(self, *signs: str) -> None:
        """Takes signs or words that must come next."""
        for sign in signs:
            if not self.took(sign):
                self.fail(f"'{sign}'")

    def end(self) -> None:
        """Requires that the line has ended."""
        if self.kind != "end":
            self.fail("the end of the line")

    def items(self, opening: str, item: Callable[[], T], closing: str) -> tuple[T, ...]:
        """Takes items between brackets, separated by commas."""
        self.want(opening)
        found: list[T] = []
        while not self.took(closing):
            if found and not self.took(","):
                self.fail(f"',' or '{closing}'")
            found.append(item())
        return tuple(found)

    def name(self) -> str:
        """Takes a simple or quoted name."""
        if self.kind == "text":
            return self.text()
        return self.take() if self.kind == "name" else self.fail("a name")

    def names(self) -> tuple[str, ...]:
        """Takes names between round brackets."""
        return self.items("(", self.name, ")")

    def text(self) -> str:
        """Takes a quoted text."""
        if self.kind != "text":
            self.fail("a quoted text")
        try:
            text = str(json.loads(self.next))
        except ValueError:
            self.fail("a text with JSON's escapes")
        self.take()
        return text

    def integer(self) -> int:
        """Takes a whole number."""
        if self.kind != "number" or not re.fullmatch(r"-?[0-9]{1,20}", self.next):
            self.fail("a whole number")
        return int(self.take())

    def number(self) -> int | float:
        """Takes a whole number, a float32, or a double (which ends in d)."""
        if re.fullmatch(r"-?[0-9]+", self.next):
            return self.integer()
        text = self.raw_number()
        if text.endswith("d"):
            return float(text[:-1])
        with np.errstate(over="ignore"):
            return float(np.float32(text))

    def raw_number(self) -> str:
        """Takes the text of a number."""
        if self.kind != "number" and (self.kind != "name" or self.next not in ("inf", "nan")):
            self.fail("a number")
        return self.take()


def _shown(text: str) -> str:
    return f"'{one_line(text, 40)}'"

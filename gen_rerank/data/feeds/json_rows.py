"""JSON becomes rows, one object at a time: lines of objects, or one array of any size.

Python's own `json` reads the values, since exports hold `NaN` and half emoji, which stricter readers refuse for the
whole file. In lines a bad one is refused; behind a fault in an array nothing more can be read, so that is an error.
"""

from __future__ import annotations

import json
import re
from typing import IO, Any

from gen_rerank.data.feeds.rows import FeedRow, FeedRows, UnreadRow
from gen_rerank.data.feeds.source import FeedForm, FeedSource
from gen_rerank.errors import BadInput, first_line

_CHUNK = 2**16
_LARGEST = 2**24  # characters of one entry; a fault would have the whole rest read as one
_SPACE = re.compile(r"\s*")
_NO_OBJECT = "not a JSON object"


def json_rows(source: FeedSource) -> FeedRows:
    """Yield the objects of a file with the line in which each begins; of an array in one line, with their numbers.

    Raises:
        BadInput: an array that is not valid JSON to its end, or objects that take several lines each.
    """
    return _lines(source) if source.form is FeedForm.JSON_LINES else _array(source)


def _lines(source: FeedSource) -> FeedRows:
    with source.text() as file:
        for line, text in enumerate(file, start=1):
            text = text.strip().removeprefix("\ufeff")
            if text == "{" and line == 1:
                raise BadInput(
                    f"{source.path}: it has objects of several lines; write one object a line (jq -c . does it)"
                )
            if text:
                yield _line_row(line, text)


def _line_row(line: int, text: str) -> FeedRow | UnreadRow:
    try:
        return _row(line, json.loads(text))
    except json.JSONDecodeError as error:
        return UnreadRow(line, "not valid JSON", f"not valid JSON ({error.msg} at column {error.colno})")
    except (ValueError, RecursionError) as error:
        return UnreadRow(line, "not valid JSON", f"JSON that cannot be read ({first_line(error)})")


def _row(line: int, value: Any) -> FeedRow | UnreadRow:
    return FeedRow(line, value) if isinstance(value, dict) else UnreadRow(line, _NO_OBJECT, _NO_OBJECT)


def _array(source: FeedSource) -> FeedRows:
    with source.text() as file:
        entries = _ArrayReader(source, file)
        while entries.more():
            place = entries.place_number
            yield _row(place, entries.read())


class _ArrayReader:
    """Reads an array's entries from a window that moves over the text.

    An entry that is not whole in the window is read again with twice as much of the text, so that the work stays in
    proportion to the text.
    """

    def __init__(self, source: FeedSource, file: IO[str]) -> None:
        self.source = source
        self.file = file
        self.window = ""
        self.place = 0
        self.line = 1
        self.number = 0
        self.decoder = json.JSONDecoder()
        self.first = True
        if self._next().removeprefix("\ufeff") == "":
            self.place += 1  # the mark
        assert self._next() == "[", "the form was found by it"
        self.place += 1

    def more(self) -> bool:
        """Say whether an entry follows, and go to its beginning."""
        sign = self._next()
        if sign == "]":
            self.place += 1
            if self._next():
                raise self._fault("something follows the array's end")
            return False
        if not self.first:
            if sign != ",":
                raise self._fault("a comma is missing" if sign else "the array has no end")
            self.place += 1
            sign = self._next()
        self.first = False
        if not sign:
            raise self._fault("the array has no end")
        self.number += 1
        return True

    @property
    def place_number(self) -> int:
        """The line in which it stands, or the number of the entry where all are in one line."""
        return self.number if self.source.form is FeedForm.JSON_ITEMS else self.line

    def read(self) -> Any:
        """Return the entry that begins here."""
        while True:
            try:
                value, end = self.decoder.raw_decode(self.window, self.place)
                if end < len(self.window) or not self._fill():  # else a number may go on
                    break
            except json.JSONDecodeError as error:
                if len(self.window) - self.place > _LARGEST or not self._fill():
                    raise self._fault(error.msg) from error
            except (ValueError, RecursionError) as error:
                raise self._fault(first_line(error)) from error
        self._go_to(end)
        return value

    def _next(self) -> str:
        """Skip white space; return the next character, or an empty text at the end."""
        while True:
            match = _SPACE.match(self.window, self.place)
            assert match is not None, "it matches nothing too"
            self._go_to(match.end())
            if self.place < len(self.window):
                return self.window[self.place]
            if not self._fill():
                return ""

    def _go_to(self, place: int) -> None:
        self.line += self.window.count("\n", self.place, place)
        self.place = place

    def _fill(self) -> bool:
        """Read as much again as the window holds; say whether there was more."""
        rest = self.window[self.place :]
        more = self.file.read(max(_CHUNK, len(rest)))
        self.window, self.place = rest + more, 0
        return bool(more)

    def _fault(self, what: str) -> BadInput:
        return BadInput(
            f"{self.source.path.parent / self.source.name}:{self.place_number}: the array is not valid JSON ({what})"
        )

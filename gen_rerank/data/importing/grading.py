"""What a judge's grade is worth: a scale of numbers, or of words, becomes relevance in [0, 1] and back.

Grades are read as the decimal numbers that they are, so that what was written comes back to the last bit.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from itertools import count
from typing import Any

from gen_rerank.data import values
from gen_rerank.data.values import BadValue, shown
from gen_rerank.errors import BadInput

_NUMBER = r"([+-]?\d{1,9}(?:\.\d{1,9})?)"
_RANGE = re.compile(rf"{_NUMBER}(?:-|–|\.\.){_NUMBER}", re.ASCII)
_REMEMBERED = 2**14
_HELP = "write the worst and the best grade, as in 0-3, or words with their worth, as in no=0,partly=0.5,yes=1"


@dataclass(frozen=True)
class NumberScale:
    """Grades from a worst to a best number; the worst may be the larger.

    Example:
        >>> scale = NumberScale(Fraction(0), Fraction(3))
        >>> scale.relevance("1.5"), scale.written(0.5), str(scale)
        (0.5, '1.5', '0-3')
    """

    worst: Fraction
    best: Fraction

    def relevance(self, grade: Any) -> float:
        """Return what a grade is worth, in [0, 1].

        Raises:
            BadValue: it is no number, or lies outside of the scale.
        """
        return _worth(self, grade if isinstance(grade, str | int | float) else values.grade(grade))

    def has_word(self, written: Any) -> bool:
        """Return whether something is a word of the scale, which has none."""
        return False

    def written(self, relevance: float) -> str:
        """Return the grade with the fewest digits of which `relevance` makes this relevance again, to the last bit."""
        return _written(self, relevance)

    def whole(self, relevance: float) -> int:
        """Return the nearest whole grade."""
        return round(self.grade(relevance))

    def __str__(self) -> str:
        """Return it as people write it."""
        return f"{float(self.worst):g}-{float(self.best):g}"

    def grade(self, relevance: float) -> Fraction:
        """Return the grade that is worth so much, exactly."""
        # As it is printed: 0.835 is 83.5 hundredths, and not a little less.
        return self.worst + Fraction(repr(relevance)) * (self.best - self.worst)

    def holds(self, number: Fraction) -> bool:
        """Return whether a number is a grade."""
        return min(self.worst, self.best) <= number <= max(self.worst, self.best)


@dataclass(frozen=True)
class WordScale:
    """Grades that are words, each with its worth in [0, 1]; case does not count.

    Example:
        >>> WordScale({"exact": 1.0, "partial": 0.5}).relevance("Exact")
        1.0
    """

    worth: Mapping[str, float]

    def relevance(self, grade: Any) -> float:
        """Return what a grade is worth, in [0, 1].

        Raises:
            BadValue: it is none of the words.
        """
        given = values.required_text(grade).strip().casefold()
        for word, worth in self.worth.items():
            if word.casefold() == given:
                return worth
        raise BadValue(f"the grade {shown(grade)} is none of {', '.join(self.worth)}")

    def has_word(self, written: Any) -> bool:
        """Return whether something is a word of the scale, such as "None"."""
        return isinstance(written, str) and written.strip().casefold() in map(str.casefold, self.worth)

    def __str__(self) -> str:
        """Return it as people write it."""
        return ",".join(f"{word}={worth:g}" for word, worth in self.worth.items())


Scale = NumberScale | WordScale


def read_scale(written: str) -> Scale:
    """Return the scale that people wrote.

    Raises:
        BadInput: it is none.

    Example:
        >>> read_scale("1-5").relevance(2), read_scale("E=1,S=0.1,C=0.01,I=0").relevance("S")
        (0.25, 0.1)
    """
    text = written.strip()
    if "=" in text:
        return WordScale(_worths(text))
    found = _RANGE.fullmatch(text.replace(" ", ""))
    if not found or Fraction(found[1]) == Fraction(found[2]):
        raise BadInput(f"--scale {written}: no scale; {_HELP}")
    return NumberScale(Fraction(found[1]), Fraction(found[2]))


def number_scale(written: str) -> NumberScale:
    """Return the scale of numbers that people wrote, for what can only hold numbers.

    Raises:
        BadInput: it is none, or has words.
    """
    scale = read_scale(written)
    if not isinstance(scale, NumberScale):
        raise BadInput(f"--scale {written}: numbers are needed here, as in 0-3")
    return scale


def _worths(text: str) -> dict[str, float]:
    worths: dict[str, float] = {}
    for part in text.split(","):
        word, _, number = part.rpartition("=")
        word = word.strip()
        try:
            worth = values.grade(number)
        except BadValue as error:
            raise BadInput(f"--scale {text}: {part!r}: {error}; {_HELP}") from error
        if not word or word.casefold() in map(str.casefold, worths) or not 0 <= worth <= 1:
            raise BadInput(f"--scale {text}: {part!r}: each word once, with a worth from 0 to 1; {_HELP}")
        worths[word] = worth
    return worths


# Judges have few grades and give them often.
@lru_cache(maxsize=_REMEMBERED)
def _worth(scale: NumberScale, grade: str | float) -> float:
    """Return what a grade is worth, read as the decimal number that stands there.

    Raises:
        BadValue: it is no number, or lies outside of the scale.
    """
    number = values.grade(grade)
    exact = Fraction((values.text(grade) or "").strip() if isinstance(grade, str) else repr(number))
    if not scale.holds(exact):
        raise BadValue(f"the grade {shown(grade)} is outside of the scale {scale}")
    return float((exact - scale.worst) / (scale.best - scale.worst))


@lru_cache(maxsize=_REMEMBERED)
def _written(scale: NumberScale, relevance: float) -> str:
    exact = scale.grade(relevance)
    for digits in count():
        written = _decimal(round(exact * 10**digits), digits)
        if scale.holds(Fraction(written)) and scale.relevance(written) == relevance:
            return written
    raise AssertionError("a decimal number with enough digits is the float")


def _decimal(number: int, digits: int) -> str:
    """Return number / 10^digits, written out."""
    sign, figures = int(number < 0), tuple(map(int, str(abs(number))))
    return format(Decimal((sign, figures, -digits)), "f")

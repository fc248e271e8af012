"""How two queries may read alike: the words of a query whatever its spelling, and one slip of the fingers in a word."""

from __future__ import annotations

import re

from gen_rerank.data.importing.splitting import folded

_WORD = re.compile(r"\d+(?:[.,]\d+)*|[^\W\d_]+")
# In shorter words another letter is mostly another word: red and bed.
_LEAST_LETTERS = 4


def words_of_query(text: str) -> tuple[str, ...]:
    """Return the words and numbers of a query, without case and punctuation; a unit stands apart from its number.

    Example:
        >>> words_of_query("Laptop-sleeve, 15.6inch")
        ('laptop', 'sleeve', '15.6', 'inch')
    """
    return tuple(_WORD.findall(folded(text)))


def numbers_of(words: tuple[str, ...]) -> tuple[str, ...]:
    """Return the numbers among words, in order of their digits: two queries with other numbers want other things.

    Example:
        >>> numbers_of(("sleeve", "15.6", "inch"))
        ('15.6',)
    """
    return tuple(sorted(word for word in words if word[0].isdigit()))


def is_slip(one: str, two: str) -> bool:
    """Return whether two words differ by one slip: a letter more, less or other, or two neighbours changed over.

    Numbers, and words of fewer than four letters, have none.

    Example:
        >>> is_slip("kettle", "ketlte"), is_slip("red", "bed"), is_slip("shoe", "shoes"), is_slip("lamp", "desk")
        (True, False, True, False)
    """
    if one == two or one[0].isdigit() or two[0].isdigit() or min(len(one), len(two)) < _LEAST_LETTERS:
        return False
    short, long = sorted((one, two), key=len)
    start = next((place for place, (a, b) in enumerate(zip(short, long, strict=False)) if a != b), len(short))
    rest_short, rest_long = short[start:], long[start:]
    if len(long) == len(short) + 1:
        return rest_short == rest_long[1:]
    if len(long) != len(short):
        return False
    swapped = rest_short[:2] == rest_long[1::-1] and rest_short[2:] == rest_long[2:]
    return rest_short[1:] == rest_long[1:] or swapped

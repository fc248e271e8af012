"""Which queries are alike, step by step: the same words, one slip, nearly the same letters, nearly the same meaning.

Each step names what it found, so that people can look. Queries with other numbers are other queries in all steps: a
15 inch sleeve is no answer to a 13 inch one. What meaning is, a caller's encoder says; without one that step is left
out. MinHash is by the package `datasketch` (Broder 1997), the meaning step compares all with all, exactly.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from gen_rerank.data.leaks.wording import is_slip, numbers_of, words_of_query

LikenessKind = Literal["same words", "other order", "slip", "near", "meaning"]
# Vectors of length 1, `[n, dimensions]`.
Encode = Callable[[Sequence[str]], npt.NDArray[np.float32]]
_PERMUTATIONS = 128
_GRAM = 3
_AT_ONCE = 4096


@dataclass(frozen=True)
class Thresholds:
    """From where on two queries are alike.

    Attributes:
        near: the share of runs of three characters that two texts have in common (Jaccard).
        meaning: the cosine of two queries' vectors.
    """

    near: float = 0.8
    meaning: float = 0.9


@dataclass(frozen=True)
class Likeness:
    """Two queries that are alike.

    Attributes:
        one: the id of the first query.
        two: the id of the second.
        kind: the first step that found them.
        value: what the step measured; 1 where it only knows yes and no.
    """

    one: str
    two: str
    kind: LikenessKind
    value: float = 1.0


def alike(
    first: Mapping[str, str], second: Mapping[str, str], thresholds: Thresholds, encode: Encode | None = None
) -> list[Likeness]:
    """Return each two queries of two sides that are alike, once, by the first step that found them.

    Args:
        first: texts by id.
        second: texts by id; it may be the same as `first`, then none is compared with itself.
        thresholds: from where on.
        encode: for the last step; None leaves it out.

    Example:
        >>> found = alike({"a": "oak desk"}, {"b": "Desk, oak", "c": "sofa"}, Thresholds())
        >>> [(one.two, one.kind) for one in found]
        [('b', 'other order')]
    """
    one, two = ({key: words_of_query(text) for key, text in side.items()} for side in (first, second))
    found: dict[tuple[str, str], Likeness] = {}
    steps = [_same(one, two), _slips(one, two), _near(one, two, thresholds.near)]
    if encode is not None:
        steps.append(_meaning(first, second, thresholds.meaning, encode))
    for step in steps:
        for likeness in step:
            if likeness.one != likeness.two and numbers_of(one[likeness.one]) == numbers_of(two[likeness.two]):
                found.setdefault((likeness.one, likeness.two), likeness)
    return list(found.values())


Words = Mapping[str, tuple[str, ...]]


def _same(first: Words, second: Words) -> Iterator[Likeness]:
    """Yield queries with the same words; spaces within and between words do not count where the order is the same."""
    joined, sorted_words = defaultdict(list), defaultdict(list)
    for key, words in second.items():
        joined["".join(words)].append(key)
        sorted_words[tuple(sorted(words))].append(key)
    for key, words in first.items():
        for other in joined.get("".join(words), ()):
            yield Likeness(key, other, "same words")
        for other in sorted_words.get(tuple(sorted(words)), ()):
            yield Likeness(key, other, "other order")


def _slips(first: Words, second: Words) -> Iterator[Likeness]:
    """Yield queries whose words are the same but for one, which differs by one slip."""
    rests: dict[tuple[str, ...], list[tuple[str, str]]] = defaultdict(list)
    for key, words in second.items():
        for word, rest in _without_one(words):
            rests[rest].append((key, word))
    for key, words in first.items():
        for word, rest in _without_one(words):
            for other, changed in rests.get(rest, ()):
                if is_slip(word, changed):
                    yield Likeness(key, other, "slip")


def _without_one(words: tuple[str, ...]) -> Iterator[tuple[str, tuple[str, ...]]]:
    for word in dict.fromkeys(words):
        rest = list(words)
        rest.remove(word)
        yield word, tuple(sorted(rest))


def _near(first: Words, second: Words, threshold: float) -> Iterator[Likeness]:
    """Yield queries that share most runs of three characters: MinHash proposes them, and they are counted exactly."""
    from datasketch import MinHash, MinHashLSH

    # A little below, so that hardly any is missed by the hashes' chance.
    index = MinHashLSH(threshold=max(threshold - 0.1, 0.1), num_perm=_PERMUTATIONS)
    hashed = {}
    for key, words in second.items():
        grams = _grams(words)
        if grams:
            hashed[key] = grams
            index.insert(key, _minhash(MinHash, grams))
    for key, words in first.items():
        grams = _grams(words)
        for other in sorted(index.query(_minhash(MinHash, grams))) if grams else ():
            share = len(grams & hashed[other]) / len(grams | hashed[other])
            if share >= threshold:
                yield Likeness(key, other, "near", share)


def _grams(words: tuple[str, ...]) -> frozenset[str]:
    text = f"  {' '.join(sorted(words))}  "
    return frozenset(text[place : place + _GRAM] for place in range(len(text) - _GRAM + 1)) if words else frozenset()


def _minhash(kind: Callable[..., object], grams: frozenset[str]) -> object:
    made: object = kind(num_perm=_PERMUTATIONS)
    made.update_batch([gram.encode() for gram in sorted(grams)])  # type: ignore[attr-defined]
    return made


def _meaning(
    first: Mapping[str, str], second: Mapping[str, str], threshold: float, encode: Encode
) -> Iterator[Likeness]:
    """Yield queries whose vectors are near, each with its nearest ones."""
    if not first or not second:
        return
    keys, others = list(first), list(second)
    vectors = encode([second[key] for key in others])
    for start in range(0, len(keys), _AT_ONCE):
        part = keys[start : start + _AT_ONCE]
        cosines = encode([first[key] for key in part]) @ vectors.T
        for row, column in zip(*np.nonzero(cosines >= threshold), strict=True):
            yield Likeness(part[row], others[column], "meaning", min(float(cosines[row, column]), 1.0))

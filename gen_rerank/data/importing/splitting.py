"""Which split a query belongs to: drawn by a hash of its text, so that the order of a file does not matter.

Queries that read the same are always together. Near-duplicates are not looked for here.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import cast, get_args

from gen_rerank.data import values
from gen_rerank.data.records import Split
from gen_rerank.data.values import BadValue
from gen_rerank.errors import BadInput

SPLITS: tuple[Split, ...] = get_args(Split)
_USUAL_NAMES: Mapping[str, Split] = {
    "training": "train",
    "dev": "validation",
    "val": "validation",
    "valid": "validation",
    "testing": "test",
}
# Of very few queries the first of these have some.
_BY_NEED: tuple[Split, ...] = ("train", "test", "validation")
_ROUNDING = 1e-6


@dataclass(frozen=True)
class SplitPlan:
    """How queries are divided.

    Attributes:
        shares: of train, validation and test; they add up to 1.
        seed: the same seed draws the same splits.
    """

    shares: tuple[float, float, float] = (0.8, 0.1, 0.1)
    seed: int = 0

    @classmethod
    def read(cls, written: str, seed: int = 0) -> SplitPlan:
        """Return the plan that people wrote.

        Raises:
            BadInput: not three shares that add up to 1.

        Example:
            >>> SplitPlan.read("0.5, 0, 0.5").shares
            (0.5, 0.0, 0.5)
        """
        try:
            shares = tuple(values.grade(part) for part in written.split(","))
        except BadValue:
            shares = ()
        if len(shares) != len(SPLITS) or min(shares) < 0 or abs(sum(shares) - 1) > _ROUNDING:
            raise BadInput(
                f"--split {written}: three shares that add up to 1 are needed, of train, validation and test, as in "
                "0.8,0.1,0.1"
            )
        return cls(cast(tuple[float, float, float], shares), seed)

    def draw(self, texts: Iterable[str], known: Mapping[str, Split] | None = None) -> dict[str, Split]:
        """Return the split of each query, by its folded text.

        Each split with a share has a query, if there are enough.

        Args:
            texts: of queries.
            known: splits that are given, by folded text; they stay, and the shares are those of the others.

        Example:
            >>> drawn = SplitPlan((0.5, 0.0, 0.5)).draw(["desk", "Desk ", "lamp"])
            >>> len(drawn), sorted(drawn.values())
            (2, ['test', 'train'])
        """
        known = known or {}
        new = sorted({folded(text) for text in texts} - set(known), key=self.place)
        drawn = dict(known)
        for split, number in zip(SPLITS, self._numbers(len(new)), strict=True):
            drawn |= dict.fromkeys(new[:number], split)
            new = new[number:]
        return drawn

    def place(self, text: str) -> bytes:
        """Return by what a query is put in order before it is drawn: a hash of its folded text and the seed.

        Example:
            >>> sorted(["desk", "lamp", "sofa"], key=SplitPlan(seed=1).place)
            ['sofa', 'lamp', 'desk']
        """
        return blake2b(f"{self.seed} {text}".encode(), digest_size=16).digest()

    def _numbers(self, queries: int) -> list[int]:
        """Return how many queries each split gets: whole parts, then the largest rests; none is empty if it can be."""
        wanted = [queries * share for share in self.shares]
        numbers = [int(part + _ROUNDING) for part in wanted]
        rests = sorted(range(len(SPLITS)), key=lambda i: numbers[i] - wanted[i])
        for i in rests[: queries - sum(numbers)]:
            numbers[i] += 1
        for i in map(SPLITS.index, _BY_NEED):
            largest = max(range(len(SPLITS)), key=lambda j: numbers[j])
            if self.shares[i] and not numbers[i] and numbers[largest] > 1:
                numbers[largest] -= 1
                numbers[i] += 1
        return numbers


def folded(text: str) -> str:
    r"""Return a query's text as splits compare it: without invisible characters, case and differences of white space.

    Example:
        >>> folded(" Lap\u00adtop\tSleeve"), folded("ＬＡＰtop  sleeve")
        ('laptop sleeve', 'laptop sleeve')
    """
    return " ".join(unicodedata.normalize("NFKC", values.text(text) or "").casefold().split())


def read_split(given: object) -> Split | None:
    """Return the split that a source names; None where it names none.

    Raises:
        BadValue: it is no name of a split.

    Example:
        >>> read_split("Dev"), read_split("")
        ('validation', None)
    """
    word = (values.text(given) or "").strip().lower()
    if not word:
        return None
    found = _USUAL_NAMES.get(word, word)
    if found not in SPLITS:
        raise BadValue(f"there is no split {values.shown(given)}; there are {', '.join(SPLITS)}")
    return found

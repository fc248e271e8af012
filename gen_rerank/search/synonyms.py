"""Words that mean one thing, in a file that a shop writes; read as Solr, Elasticsearch and OpenSearch write theirs.

A line is `sofa, couch, settee` (each finds the others) or `telly => television, tv` (the first finds the others, not
back). A line that begins with `#` is a remark. They work on queries, so that a changed file needs no new index.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gen_rerank.errors import BadInput

Words = tuple[str, ...]


@dataclass(frozen=True)
class Synonyms:
    """What each run of words may stand for.

    Attributes:
        meanings: by the words as the index has them, what else they mean, each as words too.
    """

    meanings: dict[Words, tuple[Words, ...]]

    @classmethod
    def none(cls) -> Synonyms:
        """Return those of a shop that has none."""
        return cls({})

    @classmethod
    def of(cls, text: str, words_of: Callable[[str], Sequence[str]], file: str = "synonyms") -> Synonyms:
        """Read the lines of a file.

        Args:
            text: its content.
            words_of: makes words of a text as the index does.
            file: its name, for the sentence about a bad line.

        Raises:
            BadInput: a line has fewer than two meanings, two arrows, or a side that leaves no word.

        Example:
            >>> Synonyms.of("sofa, couch", str.split).meanings
            {('sofa',): (('couch',),), ('couch',): (('sofa',),)}
        """
        meanings: dict[Words, list[Words]] = {}
        for number, line in enumerate(text.splitlines(), start=1):
            said = line.strip()
            if not said or said.startswith("#"):
                continue
            for words, others in _pairs(said, words_of, f"{file}:{number}"):
                known = meanings.setdefault(words, [])
                known += [other for other in others if other != words and other not in known]
        return cls({words: tuple(others) for words, others in meanings.items() if others})

    def found(self, words: Sequence[str]) -> Iterator[tuple[int, int, tuple[Words, ...]]]:
        """Yield each run of words that has other meanings: where it begins and ends, and what it means.

        Example:
            >>> list(Synonyms.of("tv, television", str.split).found(["oled", "tv"]))
            [(1, 2, (('television',),))]
        """
        longest = max(map(len, self.meanings), default=0)
        for start in range(len(words)):
            for end in range(start + 1, min(start + longest, len(words)) + 1):
                if meant := self.meanings.get(tuple(words[start:end])):
                    yield start, end, meant


def read_synonyms_text(file: Path) -> str:
    """Return the text of a synonyms file.

    Raises:
        BadInput: it cannot be read, or is not UTF-8.

    Example:
        >>> read_synonyms_text(Path("synonyms.txt"))  # doctest: +SKIP
        'sofa, couch'
    """
    try:
        return file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise BadInput(
            f"{file}: cannot be read ({error.strerror}); synonyms are lines such as `sofa, couch`"
        ) from error
    except UnicodeDecodeError as error:
        raise BadInput(f"{file}: is not text in UTF-8; save it as UTF-8") from error


def _pairs(
    said: str, words_of: Callable[[str], Sequence[str]], place: str
) -> Iterator[tuple[Words, tuple[Words, ...]]]:
    sides = [[tuple(words_of(part)) for part in side.split(",")] for side in said.split("=>")]
    if len(sides) > 2 or any(not words for side in sides for words in side):
        raise BadInput(
            f"{place}: {said!r} is no line of synonyms; write `sofa, couch` or `telly => television`, "
            "each with a word that is no stop word"
        )
    if len(sides) == 1 and len(sides[0]) < 2:
        raise BadInput(f"{place}: {said!r} means nothing else; write its synonyms behind commas")
    for words in sides[0]:
        yield words, tuple(sides[-1])

"""Sentences that clients put around a product or a query, and how they are taken off.

The model reads the pair alone: a question such as "Is this snippet relevant …: Oak desk" would be read as a title.
Which sentences there are, only who wrote the client knows; so whoever runs the server lists them, with a placeholder
where the product or the query stands.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self

from gen_rerank.errors import BadInput

Part = Literal["product", "query"]

_PLACEHOLDER = re.compile(r"\{(product|document|query)\}")


@dataclass(frozen=True)
class Phrase:
    """A sentence around a product or a query.

    Attributes:
        part: what stands inside.
        before: what stands before it.
        after: what stands behind it.

    Example:
        >>> Phrase.of("Would a shopper buy this? {product}")
        Phrase(part='product', before='Would a shopper buy this?', after='')
    """

    part: Part
    before: str
    after: str

    @classmethod
    def of(cls, template: str) -> Self:
        """Return the phrase that a template describes.

        Args:
            template: has `{product}` (or `{document}`, which means the same) or `{query}` once, with words around it.

        Raises:
            BadInput: it has no such place or several, or nothing around it.
        """
        pieces = _PLACEHOLDER.split(template)
        if len(pieces) != 3:
            raise BadInput(
                f"--phrase {template!r}: write {{product}} or {{query}} once, where the text stands that is to be "
                "read, as in --phrase 'Is this relevant: {product}'"
            )
        before, name, after = pieces
        if not (before.strip() or after.strip()):
            raise BadInput(f"--phrase {template!r}: there are no words around it that could be taken off")
        return cls("query" if name == "query" else "product", before.strip(), after.strip())

    def inside(self, text: str) -> str | None:
        """Return what the phrase stands around in a text, or None where the text is not made of it.

        Example:
            >>> phrase = Phrase.of("Is {product} relevant?")
            >>> phrase.inside("Is Oak desk relevant?"), phrase.inside("Oak desk")
            ('Oak desk', None)
        """
        whole = text.strip()
        around = len(self.before) + len(self.after)
        if len(whole) < around or not (whole.startswith(self.before) and whole.endswith(self.after)):
            return None
        return whole[len(self.before) : len(whole) - len(self.after)].strip()


# As the package decisions-reranker asks, unless told otherwise.
KNOWN_PHRASES = (Phrase.of("Is this snippet relevant to answer the given query: {document}"),)


def bare(text: str, part: Part, phrases: Sequence[Phrase]) -> str:
    """Return a text without the words of the phrase around it; of several that fit, the one with the most words.

    Args:
        text: as the client sent it.
        part: what is looked for in it.
        phrases: that the server was given; the known ones are tried too.

    Example:
        >>> bare("Is this snippet relevant to answer the given query: Oak desk", "product", ())
        'Oak desk'
        >>> bare("Oak desk", "product", ())
        'Oak desk'
    """
    insides = [phrase.inside(text) for phrase in (*phrases, *KNOWN_PHRASES) if phrase.part == part]
    return min((inside for inside in insides if inside is not None), key=len, default=text)

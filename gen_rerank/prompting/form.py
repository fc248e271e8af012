"""What a prompt that somebody else rendered must look like to be one of a template's: the way back from text to parts.

Only the control tokens of the template, in its order, are taken for control tokens, and the template's own text between
them must stand where it stands. What the parts become is `gen_rerank.prompting.prompt`'s.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from os.path import commonprefix  # of any texts, in spite of its place

from gen_rerank.errors import BadInput


class Form:
    """The form of a template's prompts.

    Args:
        template: its name, for sentences.
        control: all control tokens of the tokenizer, as they are written.
        empty: a prompt without text in any field: text, a control token, text … text.
        full: the same with a text in each field.

    Example:
        >>> form = Form("tiny", ["[Q]", "[D]"], ["", "[Q]", "", "[D]", ""], ["", "[Q]", "x", "[D]", "x"])
        >>> form.parts("[Q]desk[D]Oak desk")
        ['', '[Q]', 'desk', '[D]', 'Oak desk']
    """

    def __init__(self, template: str, control: Iterable[str], empty: Sequence[str], full: Sequence[str]) -> None:
        self._template = template
        self._empty = list(empty)
        self._full = list(full)
        # Runs of spaces, which some tokenizers have as tokens, are text.
        longest_first = sorted((token for token in control if token.strip()), key=len, reverse=True)
        self._control = re.compile(f"({'|'.join(map(re.escape, longest_first)) or '(?!)'})")

    def parts(self, text: str) -> list[str]:
        """Return a rendered prompt as text, a control token, text … text.

        Raises:
            BadInput: it is not the template with something in its fields.
        """
        parts = self._control.split(text)
        template, expected = self._template, self._empty[1::2]
        if len(parts) > len(self._empty):
            raise BadInput(
                f"the prompt has more control tokens than the template {template!r}, so one of its fields holds the "
                "text of a control token; send the query and the product as parts instead"
            )
        if parts[1::2] != expected:
            raise BadInput(
                f"the prompt must hold the control tokens of the template {template!r} in this order: "
                f"{' '.join(expected)}"
            )
        for place, part in enumerate(parts[::2]):
            self._check_text(place, part)
        if [part.split() for part in parts] == [part.split() for part in self._empty]:
            raise BadInput("the prompt has no text in the fields of its template")
        return parts

    def _check_text(self, place: int, part: str) -> None:
        """Check a text between two control tokens: what the template has without text and with text alike is fixed."""
        least, most = self._empty[2 * place], self._full[2 * place]
        head, tail = _common_start(least, most), _common_start(least[::-1], most[::-1])[::-1]
        if part.startswith(head) and part.endswith(tail) and (least != most or part == least):
            return
        after = f"after the {place}. control token" if place else "at the start"
        raise BadInput(
            f"the text {after} of the prompt is not the one of the template {self._template!r}: it must "
            + (f"be {least!r}" if least == most else f"begin with {head!r} and end with {tail!r}")
        )


def _common_start(one: str, other: str) -> str:
    return commonprefix([one, other])  # noqa: RUF071 - texts, not paths

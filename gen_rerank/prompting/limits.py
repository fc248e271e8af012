"""The most tokens that one call allows, where it asks for fewer than the checkpoint.

How a prompt is cut to them is `gen_rerank.prompting.prompt`'s.
"""

from __future__ import annotations

from dataclasses import dataclass

from gen_rerank.errors import BadInput


@dataclass(frozen=True)
class Limits:
    """The limits of one call; None leaves it to the checkpoint, and so does what is above the checkpoint's own.

    Attributes:
        document_tokens: of the fields of a product together, each counted by itself as for its budget, without its
            label ("Brand:"). They are cut in `prompt.CUT_ORDER`.
        query_tokens: of the query.
        prompt_tokens: of the whole prompt, the template's own included; it is cut as to `max_length`.
    """

    document_tokens: int | None = None
    query_tokens: int | None = None
    prompt_tokens: int | None = None

    def check(self, template: str, least_length: int) -> None:
        """Check that the limits leave room for text.

        Args:
            template: the name of the prompt's template.
            least_length: the fewest tokens of a prompt that do.

        Raises:
            BadInput: one does not.

        Example:
            >>> Limits(query_tokens=8, prompt_tokens=64).check("product_first", 40)
        """
        for name, given in (("document_tokens", self.document_tokens), ("query_tokens", self.query_tokens)):
            if given is not None and given < 1:
                raise BadInput(f"{name} is {given}; it must be at least 1")
        if self.prompt_tokens is not None and self.prompt_tokens < least_length:
            raise BadInput(
                f"prompt_tokens is {self.prompt_tokens}; the template {template!r} alone has {least_length - 1} "
                f"tokens, so it must be at least {least_length}"
            )


NO_LIMITS = Limits()

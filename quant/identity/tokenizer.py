"""The tokenizer: one and the same in content, however the library wrote the file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from quant.identity.sides import Fault, Side

# In the order in which a text goes through them.
_PARTS = ("normalizer", "pre_tokenizer", "model", "added_tokens", "post_processor")


def check_tokenizer(reference: Side, candidate: Side) -> str:
    """Require the same tokenizer in content, and return its size.

    Raises:
        Fault: a token, merge, flag or rule that differs; the sentence names the first.
    """
    ours, theirs = reference.tokenizer, candidate.tokenizer
    for part in _PARTS:
        if ours.get(part) != theirs.get(part):
            raise Fault(f"another tokenizer: {_difference(part, ours.get(part), theirs.get(part))}")
    return f"the same in content: {len(ours['model']['vocab']):,} entries, the same merges, added tokens and rules"


def _difference(part: str, ours: Any, theirs: Any) -> str:
    if part == "added_tokens":
        before, after = ({token["content"]: token["id"] for token in tokens} for tokens in (ours, theirs))
        return _difference_of_ids("the added token", before, after) or "added tokens have other flags"
    if part != "model":
        return f"the {part.replace('_', '-')} is not the reference's"
    vocabularies = ours.get("vocab"), theirs.get("vocab")
    if all(isinstance(vocabulary, dict) for vocabulary in vocabularies):
        difference = _difference_of_ids("the token", *vocabularies)
        if difference:
            return difference
    for number, (a, b) in enumerate(zip(ours.get("merges", ()), theirs.get("merges", ()), strict=False)):
        if a != b:
            return f"merge {number} is {'+'.join(b)}, in the reference {'+'.join(a)}"
    field = next(key for key in {**ours, **theirs} if ours.get(key) != theirs.get(key))
    return f"the model's {field} is not the reference's"


def _difference_of_ids(what: str, ours: Mapping[str, int], theirs: Mapping[str, int]) -> str:
    """Name the first token, by its id in the reference, that has another id."""
    for token, number in sorted(ours.items(), key=lambda item: item[1]):
        if token not in theirs:
            return f"{what} {token!r} is missing"
        if theirs[token] != number:
            return f"{what} {token!r} has the id {theirs[token]}, in the reference {number}"
    extra = [token for token in theirs if token not in ours]
    return f"{what} {extra[0]!r} is not in the reference" if extra else ""

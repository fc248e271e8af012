"""The one place where a pair (query, product) becomes token ids.

Training, evaluation, every backend and the server render through `Prompt`, so that they cannot disagree. Three rules hold:

- **Text is data.** Only the template's own control tokens become control tokens. Whatever shoppers and sellers write
  is encoded by a copy of the tokenizer that knows no control tokens, so `<|im_end|>` in a title is ordinary text.
- **The suffix stands.** The last tokens carry the readout position. Fields are cut to fit *before* rendering: each to
  its budget, and when the whole is still too long the description first and the query last.
- **A template is identified by its hash**, which the checkpoint records.

Nothing here knows what a model answers; only the light `tokenizers` and `jinja2` libraries are used.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.resources import files
from typing import Annotated, Literal, get_args

from jinja2 import Environment, StrictUndefined, Template
from pydantic import BaseModel, ConfigDict, Field
from tokenizers import Tokenizer

from gen_rerank.errors import BadInput
from gen_rerank.records import Pair

FieldName = Literal["title", "brand", "category", "price", "attributes", "description", "query", "instruction"]
FIELDS: tuple[FieldName, ...] = get_args(FieldName)

# What goes first when a prompt is too long.
CUT_ORDER: tuple[FieldName, ...] = (
    "description", "attributes", "price", "category", "brand", "instruction", "title", "query",
)  # fmt: skip

DEFAULT_INSTRUCTION = "Rate how relevant the product is for the shopper's query."
DEFAULT_BUDGETS: dict[FieldName, int] = {
    "title": 64, "brand": 16, "category": 24, "price": 12,
    "attributes": 128, "description": 192, "query": 64, "instruction": 64,
}  # fmt: skip

# Separates control tokens from text in a rendered prompt; removed from every field, where it means nothing.
_MARK = "\0"
# No token of a known tokenizer is longer on collapsed text; bounds the work that a huge field can cause.
_CHARACTERS_PER_TOKEN = 32


class PromptSpec(BaseModel):
    """What a checkpoint records about its prompt.

    Attributes:
        template: the name of a file in `prompts/`, without its ending.
        sha256: the hash of that file; empty means "the file as it is now".
        max_length: the most tokens a rendered pair may have.
        budgets: the most tokens of each field; 0 leaves the field out.
        instruction: what the model is told, unless a request says otherwise.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    template: str = "product_first"
    sha256: str = ""
    max_length: Annotated[int, Field(ge=1)] = 512
    budgets: dict[FieldName, Annotated[int, Field(ge=0)]] = {}
    instruction: str = DEFAULT_INSTRUCTION

    def budget(self, field: FieldName) -> int:
        """Return the most tokens that `field` may have."""
        return self.budgets.get(field, DEFAULT_BUDGETS[field])


def template_names() -> list[str]:
    """Return the templates that are installed, by name."""
    return sorted(
        path.name.removesuffix(".jinja") for path in files("prompts").iterdir() if path.name.endswith(".jinja")
    )


def template_source(name: str) -> str:
    """Return the text of a template.

    Raises:
        BadInput: there is no template of this name.
    """
    if name not in template_names():
        raise BadInput(f"there is no prompt template {name!r}; choose one of {', '.join(template_names())}")
    return files("prompts").joinpath(f"{name}.jinja").read_text(encoding="utf-8")


def template_sha256(name: str) -> str:
    """Return the hash by which a checkpoint identifies its template."""
    return hashlib.sha256(template_source(name).encode()).hexdigest()


class Prompt:
    """Renders and tokenizes pairs for one checkpoint.

    Args:
        spec: template, budgets and length.
        tokenizer: the checkpoint's tokenizer (`tokenizer.json`), with its control tokens.

    Raises:
        BadInput: unknown template, a template that is not the one of `spec.sha256`, a template whose fixed part leaves
            no room in `max_length`, a tokenizer without an encoder template's control tokens, or one that makes control
            tokens out of plain text.

    Example:
        >>> prompt = Prompt(PromptSpec(), tokenizer)  # doctest: +SKIP
        >>> prompt.encode([Pair("oak desk", Product(product_id="1", title="Oak desk"))])  # doctest: +SKIP
        [[5, 18, 33, …]]
    """

    def __init__(self, spec: PromptSpec, tokenizer: Tokenizer) -> None:
        """Compile the template and split the tokenizer in control tokens and text."""
        source = template_source(spec.template)
        sha256 = template_sha256(spec.template)
        if spec.sha256 and spec.sha256 != sha256:
            raise BadInput(
                f"the checkpoint was made with another version of the prompt template {spec.template!r} "
                f"(sha256 {spec.sha256[:12]}…, installed is {sha256[:12]}…); install the version of gen_rerank it was made with"
            )
        self.spec = spec.model_copy(update={"sha256": sha256})
        self._control = {token.content: number for number, token in tokenizer.get_added_tokens_decoder().items()}
        _check_markers(spec.template, source, self._control)
        self._names = {number: token for token, number in self._control.items()}
        self._text = _plain_text_tokenizer(tokenizer, self._control)
        self._template = _compile(source, tuple(self._control.items()))
        fixed = len(self._tokens([dict.fromkeys(FIELDS, "")])[0])
        if fixed >= spec.max_length:
            raise BadInput(
                f"the fixed part of the template {spec.template!r} has {fixed} tokens, max_length is {spec.max_length}: no room for text"
            )

    def encode(self, pairs: Sequence[Pair], *, instruction: str | None = None) -> list[list[int]]:
        """Return the token ids of each pair, at most `max_length` each, unpadded.

        Args:
            pairs: what to render.
            instruction: replaces the checkpoint's own, for this call.

        Raises:
            BadInput: a query without text.
        """
        return self._fit(pairs, instruction)[1]

    def segments(self, pairs: Sequence[Pair], *, instruction: str | None = None) -> list[tuple[str, ...]]:
        """Return the texts between the control tokens of each pair's prompt, cut as `encode` cuts them.

        For the template `encoder` they are (query, document): what a library that knows pairs of texts, and no prompts,
        must be given so that it makes the token ids of `encode`.

        Raises:
            BadInput: a query without text.

        Example:
            >>> Prompt(PromptSpec(template="encoder"), tokenizer).segments([pair])  # doctest: +SKIP
            [('oak desk', 'Oak writing desk')]
        """
        rows, _ = self._fit(pairs, instruction)
        return [tuple(self._template.render(row).split(_MARK)[2:-2:2]) for row in rows]

    def render(self, pair: Pair, *, instruction: str | None = None) -> str:
        """Return the prompt of one pair as text, for people to read; models get `encode`."""
        (row,), _ = self._fit([pair], instruction)
        parts = self._template.render(row).split(_MARK)
        return "".join(self._names[int(part)] if i % 2 else part for i, part in enumerate(parts))

    def _fit(
        self, pairs: Sequence[Pair], instruction: str | None
    ) -> tuple[list[dict[FieldName, str]], list[list[int]]]:
        """Return the fields of each pair, cut to their budgets and to `max_length` together, and their token ids."""
        rows = self._within_budgets(pairs, instruction)
        encoded = self._tokens(rows)
        while too_long := [i for i, ids in enumerate(encoded) if len(ids) > self.spec.max_length]:
            for i in too_long:
                self._shrink(rows[i], len(encoded[i]) - self.spec.max_length)
            for i, ids in zip(too_long, self._tokens([rows[i] for i in too_long]), strict=True):
                encoded[i] = ids
        return rows, encoded

    def _within_budgets(self, pairs: Sequence[Pair], instruction: str | None) -> list[dict[FieldName, str]]:
        """Return the fields of each pair, cleaned and cut to their budgets."""
        rows = [_fields(pair, self.spec.instruction if instruction is None else instruction) for pair in pairs]
        for field in FIELDS:
            budget = self.spec.budget(field)
            # A token has at least one byte, so only texts with more bytes than the budget can be over it.
            long = {row[field] for row in rows if len(row[field].encode()) > budget}
            cut = dict(zip(long, self._cut(long, budget), strict=True))
            for row in rows:
                row[field] = cut.get(row[field], row[field])
        return rows

    def _cut(self, texts: Iterable[str], budget: int) -> list[str]:
        """Return the texts with at most `budget` tokens each."""
        bounded = [text[: budget * _CHARACTERS_PER_TOKEN] for text in texts]
        encodings = self._text.encode_batch(bounded, add_special_tokens=False)
        return [
            text if len(encoding) <= budget else text[: encoding.offsets[budget][0]].rstrip()
            for text, encoding in zip(bounded, encodings, strict=True)
        ]

    def _shrink(self, row: dict[FieldName, str], excess: int) -> None:
        """Take `excess` tokens off the fields of one row, the least important first."""
        for field in CUT_ORDER:
            if excess <= 0:
                return
            length = len(self._text.encode(row[field], add_special_tokens=False))
            keep = max(0, length - excess)
            row[field] = self._cut([row[field]], keep)[0] if keep else ""
            excess -= length - keep
        # What is left are the labels of the fields ("Brand:"), which go with them.
        assert excess <= 0 or not any(row.values()), "the fixed part was checked to fit"

    def _tokens(self, rows: Sequence[dict[FieldName, str]]) -> list[list[int]]:
        """Render and tokenize rows: one batched call for all the texts between control tokens."""
        rendered = [self._template.render(row).split(_MARK) for row in rows]
        texts = list(dict.fromkeys(text for parts in rendered for text in parts[::2]))
        encodings = self._text.encode_batch_fast(texts, add_special_tokens=False)
        ids = {text: encoding.ids for text, encoding in zip(texts, encodings, strict=True)}
        return [
            [number for i, part in enumerate(parts) for number in ((int(part),) if i % 2 else ids[part])]
            for parts in rendered
        ]


def _fields(pair: Pair, instruction: str) -> dict[FieldName, str]:
    product = pair.product
    row: dict[FieldName, str] = {
        "title": _clean(product.title),
        "brand": _clean(product.brand or ""),
        "category": _clean(product.category or ""),
        "price": "" if product.price is None else f"{product.price:.2f}",
        "attributes": _clean("; ".join(f"{name}: {value}" for name, value in product.attributes.items())),
        "description": _clean(product.description or ""),
        "query": _clean(pair.query),
        "instruction": _clean(instruction),
    }
    if not row["query"]:
        raise BadInput("the query has no text")
    return row


def _clean(text: str) -> str:
    """Collapse white space (a new line could imitate the template's own), drop the mark, mend broken Unicode."""
    return " ".join(text.replace(_MARK, " ").encode("utf-8", "replace").decode("utf-8").split())


def _plain_text_tokenizer(tokenizer: Tokenizer, control: dict[str, int]) -> Tokenizer:
    """Return a copy that knows no control tokens and adds none, and prove it on each of them."""
    description = json.loads(tokenizer.to_str())
    description.update(added_tokens=[], post_processor=None, truncation=None, padding=None)
    text = Tokenizer.from_str(json.dumps(description))
    # An unknown word becomes this one, which says nothing and ends nothing.
    unknown = control.get(description["model"].get("unk_token") or "")
    numbers = set(control.values()) - {unknown}
    for token in control:
        if numbers & set(text.encode(token, add_special_tokens=False).ids):
            raise BadInput(
                f"the tokenizer turns the plain text {token!r} into a control token; its vocabulary is not safe to serve"
            )
    return text


def _check_markers(template: str, source: str, control: dict[str, int]) -> None:
    """Refuse an encoder's template for a tokenizer of another family, such as RoBERTa's.

    A decoder may learn to read chat markers that it does not know as text; an encoder's head reads the token `[CLS]`.
    """
    missing = [token for token in dict.fromkeys(re.findall(r"\[[A-Z]+\]", source)) if token not in control]
    if missing:
        raise BadInput(
            f"the template {template!r} needs the control tokens {', '.join(missing)}, which the tokenizer lacks"
        )


@cache
def _compile(source: str, control: tuple[tuple[str, int], ...]) -> Template:
    """Compile a template in which each control token is replaced by its marked number."""
    for token, number in sorted(control, key=lambda item: -len(item[0])):
        source = source.replace(token, f"{_MARK}{number}{_MARK}")
    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)  # noqa: S701 - the output is for a tokenizer, not a browser
    return environment.from_string(source)

"""The one place where a pair (query, product) becomes token ids.

Training, evaluation, every backend and the server render through `Prompt`, so that they cannot disagree. Four rules
hold:

- **Text is data.** Only the template's own control tokens become control tokens. Whatever shoppers and sellers write
  is encoded by a copy of the tokenizer that knows no control tokens, so `<|im_end|>` in a title is ordinary text.
- **The suffix stands.** The last tokens carry the readout position. Fields are cut to fit *before* rendering: each to
  its budget, and when the whole is still too long the description first and the query last. A title that is longer than
  its budget goes on in the description, where there is none.
- **A prompt is tokenized line by line**, the same in training and in serving, so that the token ids of a product's
  lines can be kept (`gen_rerank.prompting.tokens`). It has the token ids of the whole text between two control tokens.
- **A template is identified by its hash**, which the checkpoint records.

Nothing here knows what a model answers; only the light `tokenizers` and `jinja2` libraries are used.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import chain
from typing import Annotated, Literal, get_args

from jinja2 import Environment, StrictUndefined, Template
from pydantic import BaseModel, ConfigDict, Field
from tokenizers import Tokenizer

from gen_rerank.data.cleaning import clean, mend
from gen_rerank.data.records import Pair, Product
from gen_rerank.errors import BadInput
from gen_rerank.prompting.form import Form
from gen_rerank.prompting.limits import NO_LIMITS, Limits
from gen_rerank.prompting.tokens import CHARACTERS_PER_TOKEN, PlainText

FieldName = Literal["title", "brand", "category", "price", "attributes", "description", "query", "instruction"]
FIELDS: tuple[FieldName, ...] = get_args(FieldName)
Fields = dict[FieldName, str]

# What goes first when a prompt is too long.
CUT_ORDER: tuple[FieldName, ...] = (
    "description", "attributes", "price", "category", "brand", "instruction", "title", "query",
)  # fmt: skip
PRODUCT_FIELDS = tuple(field for field in CUT_ORDER if field not in ("query", "instruction"))
# They stand behind a label of their own ("Brand:").
LABELLED_FIELDS = tuple(field for field in PRODUCT_FIELDS if field != "title")

DEFAULT_INSTRUCTION = "Rate how relevant the product is for the shopper's query."
DEFAULT_BUDGETS: dict[FieldName, int] = {
    "title": 64, "brand": 16, "category": 24, "price": 12,
    "attributes": 128, "description": 192, "query": 64, "instruction": 64,
}  # fmt: skip

# Separates control tokens from text in a rendered prompt; removed from every field, where it means nothing.
_MARK = "\0"


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

    @property
    def product_first(self) -> bool:
        """Whether the template writes the product before the query, so that pairs of one product begin alike.

        Raises:
            BadInput: there is no such template.
        """
        first = re.search(r"\{\{-?\s*(title|query)\b", template_source(self.template))
        assert first is not None, "a template shows both"
        return first.group(1) == "title"


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


@dataclass(frozen=True)
class Encoded:
    """Prompts as models read them, in the order of their pairs.

    Attributes:
        token_ids: of each prompt.
        cut: whether some text of the product did not fit. A field with the budget 0 is not part of the prompt and
            counts as little as a cut query or instruction.
    """

    token_ids: list[list[int]]
    cut: list[bool]


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
                f"(sha256 {spec.sha256[:12]}…, installed is {sha256[:12]}…); "
                "install the version of gen_rerank it was made with"
            )
        self.spec = spec.model_copy(update={"sha256": sha256})
        self._control = {token.content: number for number, token in tokenizer.get_added_tokens_decoder().items()}
        _check_markers(spec.template, source, self._control)
        self._names = {number: token for token, number in self._control.items()}
        self._text = PlainText(tokenizer)
        self._template = _compile(source, tuple(self._control.items()))
        empty, full = (self._parts(dict.fromkeys(FIELDS, text)) for text in ("", "\x01"))
        self._form = Form(spec.template, self._control, self._named(empty), self._named(full))
        self._takes_instruction = empty != self._parts({**dict.fromkeys(FIELDS, ""), "instruction": "\x01"})
        self._fixed = len(self._tokens([empty])[0])
        if self._fixed >= spec.max_length:
            raise BadInput(
                f"the fixed part of the template {spec.template!r} has {self._fixed} tokens, max_length is "
                f"{spec.max_length}: no room for text"
            )

    @property
    def least_length(self) -> int:
        """The fewest tokens of a prompt that leave room for text beside the template's own."""
        return self._fixed + 1

    def prepare(self, pairs: Sequence[Pair], *, instruction: str | None = None, limits: Limits = NO_LIMITS) -> Encoded:
        """Return the token ids of each pair, at most `max_length` each, unpadded, and which products were cut.

        Args:
            pairs: what to render.
            instruction: replaces the checkpoint's own, for this call.
            limits: below the checkpoint's own, for this call.

        Raises:
            BadInput: a query without text, or a limit that leaves no room for any.

        Example:
            >>> prompt.prepare([pair], limits=Limits(document_tokens=2)).cut  # doctest: +SKIP
            [True]
        """
        limits.check(self.spec.template, self.least_length)
        whole = self._rows(pairs, instruction)
        rows, token_ids = self._fit(whole, limits)
        cut = [any(old[field] != new[field] for field in PRODUCT_FIELDS) for old, new in zip(whole, rows, strict=True)]
        return Encoded(token_ids, cut)

    def encode(self, pairs: Sequence[Pair], *, instruction: str | None = None) -> list[list[int]]:
        """Return the token ids of `prepare`.

        Raises:
            BadInput: a query without text.
        """
        return self.prepare(pairs, instruction=instruction).token_ids

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
        rows, _ = self._fit(self._rows(pairs, instruction))
        return [tuple(self._parts(row)[2:-2:2]) for row in rows]

    def render(self, pair: Pair, *, instruction: str | None = None) -> str:
        """Return the prompt of one pair as text, for people to read and for clients to send; models get `encode`.

        Raises:
            BadInput: a query without text.
        """
        (row,), _ = self._fit(self._rows([pair], instruction))
        return "".join(self._named(self._parts(row)))

    def parse(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the token ids of prompts that somebody else rendered: the way back from `render`.

        Only the control tokens of the template, in its order, are taken for control tokens. What a prompt's text cannot
        say is whether such characters came from a field; then there are more of them, and it is refused.

        Raises:
            BadInput: a text is not a prompt of this template, has nothing in its fields, or is too long.

        Example:
            >>> prompt.parse([prompt.render(pair)]) == prompt.encode([pair])  # doctest: +SKIP
            True
        """
        for text in texts:
            self._check_length(len(text), self.spec.max_length * CHARACTERS_PER_TOKEN)
        prompts = [self._form.parts(mend(text)) for text in texts]
        for parts in prompts:
            parts[1::2] = [str(self._control[token]) for token in parts[1::2]]
        token_ids = self._tokens(prompts)
        for ids in token_ids:
            self._check_length(len(ids), self.spec.max_length)
        return token_ids

    def _rows(self, pairs: Sequence[Pair], instruction: str | None) -> list[Fields]:
        """Return the cleaned fields of each pair; those that the checkpoint leaves out are empty.

        What several pairs share, a query or a product, is cleaned once: both may be large and the pairs many.
        """
        if instruction is not None and not self._takes_instruction:
            raise BadInput(
                f"the prompt template {self.spec.template!r} has no instruction; leave it out for this model"
            )
        left_out = dict.fromkeys((field for field in FIELDS if not self.spec.budget(field)), "")
        told = _one_line(clean(self.spec.instruction if instruction is None else instruction))
        queries = {query: _one_line(clean(query)) for query in dict.fromkeys(pair.query for pair in pairs)}
        if not all(queries.values()):
            raise BadInput("the query has no text")
        distinct = {id(pair.product): pair.product for pair in pairs}
        products = {key: product_fields(product) | left_out for key, product in distinct.items()}
        if self.spec.budget("description"):
            self._continue_titles([row for row in products.values() if not row["description"]])
        return [
            {**products[id(pair.product)], "query": queries[pair.query], "instruction": told, **left_out}
            for pair in pairs
        ]

    def _continue_titles(self, rows: Sequence[Fields]) -> None:
        """Move what of a title is over its budget into the description: many shops send one long string."""
        heads = self._text.cut([(row["title"], self.spec.budget("title")) for row in rows])
        for row, head in zip(rows, heads, strict=True):
            title = row["title"]
            if len(head) < len(title):
                # Not in the middle of a word, where there is another place.
                end = len(head) if title[len(head)] == " " else max(title.rfind(" ", 0, len(head)), 0) or len(head)
                row["title"], row["description"] = title[:end].rstrip(), title[end:].strip()

    def _fit(self, whole: Sequence[Fields], limits: Limits = NO_LIMITS) -> tuple[list[Fields], list[list[int]]]:
        """Return the rows, cut to budgets, limits and `max_length`, and their token ids."""
        rows = self._within_budgets(whole, limits.query_tokens)
        if limits.document_tokens is not None:
            self._limit_products(rows, limits.document_tokens)
        longest = min(limits.prompt_tokens or self.spec.max_length, self.spec.max_length)
        encoded = self._tokens([self._parts(row) for row in rows])
        while too_long := [i for i, ids in enumerate(encoded) if len(ids) > longest]:
            # A field that goes takes its label with it, so text without a label is measured again before it is cut.
            labelled = [i for i in too_long if any(rows[i][field] for field in LABELLED_FIELDS)]
            bare = [i for i in too_long if not any(rows[i][field] for field in LABELLED_FIELDS)]
            for some, order in ((labelled, LABELLED_FIELDS), (bare, CUT_ORDER)):
                excess = [len(encoded[i]) - longest for i in some]
                self._shrink([rows[i] for i in some], excess, order)
            for i, ids in zip(too_long, self._tokens([self._parts(rows[i]) for i in too_long]), strict=True):
                encoded[i] = ids
        return rows, encoded

    def _within_budgets(self, rows: Sequence[Fields], query_tokens: int | None) -> list[Fields]:
        """Return copies of the rows in which each field is cut to its budget, and the query to `query_tokens` too."""
        budgets = {field: self.spec.budget(field) for field in FIELDS}
        if query_tokens is not None:
            budgets["query"] = min(budgets["query"], query_tokens)
        texts = self._text.cut([(row[field], budgets[field]) for row in rows for field in FIELDS])
        width = len(FIELDS)
        return [dict(zip(FIELDS, texts[i : i + width], strict=True)) for i in range(0, len(texts), width)]

    def _limit_products(self, rows: Sequence[Fields], document_tokens: int) -> None:
        """Cut the product of each row to `document_tokens`."""
        if document_tokens >= sum(self.spec.budget(field) for field in PRODUCT_FIELDS):
            return
        ids = self._text.token_ids([row[field] for row in rows for field in PRODUCT_FIELDS])
        width = len(PRODUCT_FIELDS)
        lengths = [sum(map(len, ids[i : i + width])) for i in range(0, len(ids), width)]
        self._shrink(rows, [length - document_tokens for length in lengths], PRODUCT_FIELDS)

    def _shrink(self, rows: Sequence[Fields], excess: list[int], order: Sequence[FieldName]) -> None:
        """Take `excess[i]` tokens off the fields of row `i`, the first of `order` first."""
        for field in order:
            long = [i for i, tokens in enumerate(excess) if tokens > 0]
            lengths = [len(ids) for ids in self._text.token_ids([rows[i][field] for i in long])]
            keep = [max(0, length - excess[i]) for i, length in zip(long, lengths, strict=True)]
            texts = self._text.cut([(rows[i][field], budget) for i, budget in zip(long, keep, strict=True)])
            for i, text, length, budget in zip(long, texts, lengths, keep, strict=True):
                rows[i][field] = text
                excess[i] -= length - budget
        # What is left are the labels of the fields ("Brand:"), which go with them.
        assert all(
            tokens <= 0 or not any(row[field] for field in order) for row, tokens in zip(rows, excess, strict=True)
        ), "the fixed part was checked to fit"

    def _parts(self, row: Fields) -> list[str]:
        """Render a row: text, the number of a control token, text … text."""
        return self._template.render(row).split(_MARK)

    def _tokens(self, prompts: Sequence[list[str]]) -> list[list[int]]:
        """Tokenize what `_parts` made: one batched call for all the texts between control tokens."""
        texts = list(dict.fromkeys(text for parts in prompts for text in parts[::2]))
        ids = dict(zip(texts, self._text.token_ids(texts), strict=True))
        return [
            list(chain.from_iterable((int(part),) if i % 2 else ids[part] for i, part in enumerate(parts)))
            for parts in prompts
        ]

    def _check_length(self, length: int, limit: int) -> None:
        """Refuse a prompt that somebody else rendered and that is too long: nobody knows what to cut."""
        if length > limit:
            raise BadInput(
                f"the prompt is longer than the {self.spec.max_length} tokens that the model reads; shorten the product"
            )

    def _named(self, parts: Sequence[str]) -> list[str]:
        """Return what `_parts` made with the control tokens as they are written."""
        return [self._names[int(part)] if i % 2 else part for i, part in enumerate(parts)]


def product_fields(product: Product) -> Fields:
    """Return the product's texts as a prompt shows them, each on one line; empty where the product has none.

    Example:
        >>> product_fields(Product(product_id="1", title="Oak  desk", attributes={"colour": "oak"}))["attributes"]
        'colour: oak'
    """
    return {
        "title": _one_line(product.title),
        "brand": _one_line(product.brand or ""),
        "category": _one_line(product.category or ""),
        "price": "" if product.price is None else f"{product.price:.2f}",
        "attributes": _one_line("; ".join(f"{name}: {value}" for name, value in product.attributes.items())),
        "description": _one_line(product.description or ""),
    }


def _one_line(text: str) -> str:
    """Collapse white space (a new line could imitate the template's own), drop the mark, mend broken Unicode."""
    return " ".join(mend(text).replace(_MARK, " ").split())


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
    # The output is for a tokenizer, not for a browser.
    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)  # noqa: S701
    return environment.from_string(source)

"""Where query and product stand in a request of typed questions, so that each question becomes a pair.

There are three ways, and the input says which:

- it is the query, and each question's instructions are a product: many products for one query;
- it is an object with a `product` and no `query`, and each question's instructions are a query: many queries about one
  product, which the model then reads once;
- it is an object with both: one pair, and the questions' words only name what is asked of it.

`document` means `product`. Anything that could be taken for one thing or another is refused.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gen_rerank.data.documents import NoText, product_of
from gen_rerank.data.records import Pair, Product
from gen_rerank.data.values import shown
from gen_rerank.errors import BadInput
from serve.phrases import Phrase, bare
from serve.question import Blank, Question, Refusal
from serve.wire.bodies import check_size
from serve.wire.documents import check_query
from serve.wire.requests import MAX_DOCUMENTS, EmptyDocuments, WireRequest
from serve.wire.said import Spoken, checked_objects, json_in, said, said_in_messages

# The API's own limit.
MAX_QUESTIONS = 400

Given = str | dict[str, Any] | list[dict[str, Any]]

_PRODUCTS = ("product", "document")
_WANTED = "give a text, which is the query, or an object with query, product or both"
# What other modes of rerankers put beside a query: no pair, so that no score of one would be an answer.
_COMPARED = {
    "documents": "a list of documents to be compared (jev-reranker's listwise mode)",
    "left": "two documents to be compared (jev-reranker's pairwise mode)",
    "right": "two documents to be compared (jev-reranker's pairwise mode)",
}


@dataclass(frozen=True)
class AskedAbout:
    """What the questions are about.

    Attributes:
        query: None where each question has its own.
        product: None where each question has its own; `Blank` where it has no text.
        instruction: what the model is to rate; None for the checkpoint's own.
    """

    query: str | None
    product: Product | Blank | None
    instruction: str | None = None


@dataclass(frozen=True)
class Posed:
    """One question, as far as it says what is scored.

    Attributes:
        place: where its instructions stand in the body.
        instructions: as the client gave them; None where there are none.
        answered: whether the model has an answer to such a question.
    """

    place: str
    instructions: Given | None
    answered: bool = True


class GradedRequest(WireRequest):
    """The body of a request of typed questions: one item a question, those that are refused by themselves as blanks."""

    def question(
        self,
        max_documents: int = MAX_DOCUMENTS,
        *,
        empty_documents: EmptyDocuments = "refuse",
        phrases: Sequence[Phrase] = (),
    ) -> Question:
        """Return one item a question.

        Args:
            max_documents: the most questions, if fewer than the API's own limit.
            empty_documents: with `last` a question about a product without text is refused by itself.
            phrases: the words around products or queries that are taken off.

        Raises:
            Refusal: no questions or too many, or one that cannot be asked.
        """
        posed = self.posed()
        if not posed:
            raise Refusal(422, "questions is empty; give at least one")
        check_size("questions", len(posed), min(MAX_QUESTIONS, max_documents), "entries")
        place, given = self.about()
        subject = subject_of(given, place, empty_last=empty_documents == "last")
        items = [
            pair_of(subject, each, number, phrases, empty_last=empty_documents == "last")
            for number, each in enumerate(posed)
        ]
        return Question(items, model=self.model, instruction=subject.instruction)

    @abstractmethod
    def about(self) -> tuple[str, Given]:
        """Return the name of the field that says what the questions are about, and its content."""

    @abstractmethod
    def posed(self) -> list[Posed]:
        """Return the questions, in order.

        Raises:
            Refusal: one is over a limit.
        """


def subject_of(given: Given, place: str, *, empty_last: bool = False) -> AskedAbout:
    """Return what the questions of a request are about.

    Args:
        given: as the client gave it.
        place: where it stands in the body, for the sentence.
        empty_last: whether a product without text is a `Blank`.

    Raises:
        Refusal: neither a query nor a product is there, or more than one of them, or what is not read.

    Example:
        >>> subject_of("oak desk", "input")
        AskedAbout(query='oak desk', product=None, instruction=None)
        >>> subject_of({"product": "Oak desk"}, "input").product.title
        'Oak desk'
    """
    found = said_in_messages(given, place)
    if not found.objects:
        check_query(found.text, place)
        return AskedAbout(found.text, None, found.instruction)
    fields = _only_object(found, place)
    for key, what in _COMPARED.items():
        if key in fields:
            raise Refusal(422, f"{place}.{key} is {what}; this model rates one pair at a time: use the pointwise mode")
    unknown = next((key for key in fields if key not in ("query", *_PRODUCTS)), None)
    query = fields.get("query")
    named = [key for key in _PRODUCTS if fields.get(key) is not None]
    if query is None and not named:
        raise Refusal(422, f"{place} is an object with neither query nor product; {_WANTED}")
    if unknown is not None:
        raise Refusal(422, f"{place} has {shown(unknown)} beside, which is not read; it may have query and product")
    if len(named) > 1:
        raise Refusal(422, f"{place} has a product and a document, which mean the same; give one")
    if query is not None:
        _check_text(query, f"{place}.query")
    product = _product(fields[named[0]], f"{place}.{named[0]}", 0, empty_last) if named else None
    return AskedAbout(query, product, found.instruction)


def pair_of(
    subject: AskedAbout, posed: Posed, number: int, phrases: Sequence[Phrase], *, empty_last: bool = False
) -> Pair | Blank:
    """Return the pair that a question asks about; a blank where it has no text, or the model no answer.

    Args:
        subject: what all questions are about.
        posed: the question.
        number: its place in the list, which is its product's id unless it has one.
        phrases: the words around products or queries that are taken off.
        empty_last: whether a product without text is a `Blank`.

    Raises:
        Refusal: the instructions are no product, or no query, whichever is missing.

    Example:
        >>> pair_of(AskedAbout("oak desk", None), Posed("questions.0.instructions", "Oak desk"), 0, ()).product.title
        'Oak desk'
    """
    if not posed.answered:
        return Blank()
    words = None if posed.instructions is None else said(posed.instructions, posed.place)
    if subject.query is not None and subject.product is not None:
        return _pair(subject.query, subject.product)
    if words is None:
        missing = "product" if subject.product is None else "query"
        raise Refusal(422, f"{posed.place} is missing; it is the {missing} that the question is about")
    if subject.query is not None:
        document = _document(words, posed.place, phrases)
        return _pair(subject.query, _product(document, posed.place, number, empty_last))
    assert subject.product is not None
    return _pair(_query(words, posed.place, phrases), subject.product)


def _pair(query: str, product: Product | Blank) -> Pair | Blank:
    return Pair(query, product) if isinstance(product, Product) else product


def _document(words: Spoken, place: str, phrases: Sequence[Phrase]) -> str | dict[str, Any]:
    """Return the product in a question: its JSON, where it has some, and else its text."""
    document: str | dict[str, Any]
    if words.objects:
        document = _one(words.objects, place)
    else:
        written = json_in(bare(words.text, "product", phrases), place)
        document = written if isinstance(written, str) else _one(checked_objects(written, place), place)
    if isinstance(document, str):
        return document
    named = next((key for key in _PRODUCTS if document.keys() == {key}), None)
    if named is None:
        return document
    inside = document[named]
    if not isinstance(inside, str | dict):
        raise Refusal(422, f"{place}.{named} is {shown(inside)}; a product is a text or an object")
    return inside


def _query(words: Spoken, place: str, phrases: Sequence[Phrase]) -> str:
    """Return the query in a question: a text, or an object with nothing but a `query`."""
    written = bare(words.text, "query", phrases) if not words.objects else ""
    found = json_in(written, place)
    objects = words.objects or (() if isinstance(found, str) else checked_objects(found, place))
    if not objects:
        check_query(written, place)
        return written
    fields = _one(objects, place)
    if fields.keys() != {"query"}:
        raise Refusal(422, f"{place} is an object; here it is a query, as a text or as an object with a query alone")
    _check_text(fields["query"], f"{place}.query")
    query: str = fields["query"]
    return query


def _product(document: Any, place: str, number: int, empty_last: bool) -> Product | Blank:
    if not isinstance(document, str | dict):
        raise Refusal(422, f"{place} is {shown(document)}; a product is a text or an object")
    try:
        return product_of(document, place, number)
    except BadInput as error:
        if empty_last and isinstance(error, NoText):
            return Blank()
        raise Refusal(422, str(error)) from error


def _only_object(found: Spoken, place: str) -> Mapping[str, Any]:
    if found.text.strip():
        raise Refusal(422, f"{place} has text beside JSON; put the text into the object, as its query")
    return _one(found.objects, place)


def _one(objects: Sequence[dict[str, Any]], place: str) -> dict[str, Any]:
    if len(objects) != 1:
        raise Refusal(422, f"{place} has {len(objects)} objects of JSON; give one")
    return objects[0]


def _check_text(query: Any, place: str) -> None:
    if not isinstance(query, str):
        raise Refusal(422, f"{place} is {shown(query)}; give a text")
    check_query(query, place)

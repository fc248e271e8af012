"""What the bodies of all requests have in common, and those about pairs: the model, what it is told to rate, limits.

vLLM's clients can ask for more than a distribution of relevance has to give. What would change a score is honoured here
or refused by name; what cannot change one is ignored.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from gen_rerank.data.records import Pair
from gen_rerank.prompting.limits import NO_LIMITS, Limits
from serve.question import Blank, Item, Question, Refusal
from serve.wire.documents import CountOrAll, DocumentTokens

# Unless the server was started with another limit: the most pairs of one request.
MAX_DOCUMENTS = 1024

# Whether a document without text is refused, or ranked last without being scored.
EmptyDocuments = Literal["refuse", "last"]

_MEANS = "scores are means of distributions, in [0, 1]"


def only(*allowed: Any) -> dict[str, Any]:
    """Return what the description of the API says of a field that has one right value, beside none at all."""
    return {"enum": [*allowed, None]}


def asked_of(query: str, item: Pair | Blank) -> Pair | Blank:
    """Return an item with another query; a document without text has none."""
    return Pair(query, item.product) if isinstance(item, Pair) else item


class WireRequest(BaseModel, ABC):
    """The body of a request. Fields that we do not know are ignored, as all of these services do: clients send many."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)

    model: Annotated[
        str | None, Field(description="The served name of the base or of an adapter; absent, the base.")
    ] = None

    @abstractmethod
    def question(self, max_documents: int = MAX_DOCUMENTS, *, empty_documents: EmptyDocuments = "refuse") -> Question:
        """Return what is asked.

        Args:
            max_documents: the most pairs that the request may have.
            empty_documents: what becomes of documents without text, where the request does not say.

        Raises:
            Refusal: a field cannot be answered as it stands, or there are too many pairs.
        """


class PairRequest(WireRequest):
    """The body of a request whose queries and documents are fields of their own."""

    instruction: Annotated[
        str | None,
        Field(description="Tells the model what to rate, instead of the checkpoint's own instruction."),
    ] = None
    empty_documents: Annotated[
        EmptyDocuments | None,
        Field(
            description="`last` ranks documents without text after all others, unscored and with a note; `refuse` "
            "refuses the request. Absent, as the server was started; that is `refuse` unless it was told otherwise."
        ),
    ] = None

    def _empty_last(self, default: EmptyDocuments) -> bool:
        """Say whether documents without text are ranked last."""
        return (self.empty_documents or default) == "last"

    def _question(self, items: Sequence[Item], *, limits: Limits = NO_LIMITS, refuse_cut: bool = False) -> Question:
        """Return the question about these items."""
        return Question(items, model=self.model, instruction=self._told(), limits=limits, refuse_cut=refuse_cut)

    def _told(self) -> str | None:
        """Return the instruction."""
        return self.instruction


class TemplateArguments(BaseModel):
    """What a client gives to a chat template; ours takes an instruction, and has nothing that others could act on."""

    instruction: Annotated[str | None, Field(description="Goes before the request's own `instruction`.")] = None


class ScoringRequest(PairRequest):
    """The fields that vLLM's rerank and score routes have in common."""

    max_tokens_per_doc: DocumentTokens = None
    max_tokens_per_query: Annotated[
        CountOrAll | None,
        Field(description="The most tokens of the query that are read, within the checkpoint's own; 0 for no limit."),
    ] = None
    truncate_prompt_tokens: Annotated[
        int | None,
        Field(
            ge=-1,
            le=2**31 - 1,
            description="The most tokens of a pair's whole prompt, the template's own included; the description is cut "
            "first and the query last. -1, or more than the model reads, leaves it as it is.",
        ),
    ] = None
    truncation_side: Annotated[
        Literal["left", "right"] | None, Field(description="`right`.", json_schema_extra=only("right"))
    ] = None
    use_activation: Annotated[bool | None, Field(description=f"`true`: {_MEANS}.", json_schema_extra=only(True))] = None
    activation: Annotated[
        bool | None, Field(description="An older name of `use_activation`.", json_schema_extra=only(True))
    ] = None
    softmax: Annotated[
        bool | None, Field(description="An older name of `use_activation`.", json_schema_extra=only(True))
    ] = None
    raw_scores: Annotated[
        bool | None, Field(description="`false`; `texts` on `/rerank` have them.", json_schema_extra=only(False))
    ] = None
    chat_template: Annotated[
        str | None, Field(description="None: the checkpoint has its own.", json_schema_extra=only(""))
    ] = None
    chat_template_kwargs: Annotated[
        TemplateArguments | None, Field(description="Arguments of the template, of which `instruction` is read.")
    ] = None

    def _question(self, items: Sequence[Item], *, limits: Limits | None = None, refuse_cut: bool = False) -> Question:
        """Return the question about these items.

        Raises:
            Refusal: a field asks for what is not done here.
        """
        self._check_refused()
        return super()._question(items, limits=limits or self._limits(), refuse_cut=refuse_cut)

    def _told(self) -> str | None:
        arguments = self.chat_template_kwargs
        return self.instruction if arguments is None or arguments.instruction is None else arguments.instruction

    def _limits(self) -> Limits:
        """Return the limits on tokens; what is 0 or -1 is none."""
        prompt_tokens = self.truncate_prompt_tokens
        return Limits(
            document_tokens=self.max_tokens_per_doc or None,
            query_tokens=self.max_tokens_per_query or None,
            prompt_tokens=None if prompt_tokens == -1 else prompt_tokens,
        )

    def _check_refused(self) -> None:
        if self.truncation_side == "left":
            raise Refusal(422, "truncation_side must be right or absent: texts are cut at their end")
        for name in ("use_activation", "activation", "softmax"):
            if getattr(self, name) is False:
                raise Refusal(422, f"{name} must be true or absent: {_MEANS}")
        if self.raw_scores:
            raise Refusal(422, f"raw_scores must be false or absent: {_MEANS}; texts on /rerank have log-odds")
        if self.chat_template:
            raise Refusal(422, "chat_template must be absent: the checkpoint has a template of its own")

"""What the bodies of all requests have in common, and those about pairs: the model, and what it is told to rate."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from gen_rerank.data.records import Pair
from serve.question import Question
from serve.wire.bodies import check_size

# Unless the server was started with another limit: the most pairs of one request.
MAX_DOCUMENTS = 1024
MAX_INSTRUCTION_CHARACTERS = 10_000


class WireRequest(BaseModel, ABC):
    """The body of a request. Fields that we do not know are ignored, as all of these services do: clients send many."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)

    model: Annotated[
        str | None, Field(description="The served name of the base or of an adapter; absent, the base.")
    ] = None

    @abstractmethod
    def question(self, max_documents: int = MAX_DOCUMENTS) -> Question:
        """Return what is asked.

        Args:
            max_documents: the most pairs that the request may have.

        Raises:
            Refusal: a field cannot be answered as it stands, or there are too many pairs.
        """


class PairRequest(WireRequest):
    """The body of a request whose queries and documents are fields of their own."""

    instruction: Annotated[
        str | None,
        Field(
            description="Tells the model what to rate, instead of the checkpoint's own instruction.",
            json_schema_extra={"maxLength": MAX_INSTRUCTION_CHARACTERS},
        ),
    ] = None

    def _question(self, items: list[Pair], *, document_tokens: int | None = None, refuse_cut: bool = False) -> Question:
        """Return the question about these pairs.

        Raises:
            Refusal: the instruction is too long.
        """
        check_instruction(self.instruction)
        return Question(
            items,
            model=self.model,
            instruction=self.instruction,
            document_tokens=document_tokens,
            refuse_cut=refuse_cut,
        )


def check_instruction(instruction: str | None, place: str = "instruction") -> None:
    """Check that an instruction has not too much text.

    Raises:
        Refusal: 422, it has more characters than the limit.
    """
    check_size(place, len(instruction or ""), MAX_INSTRUCTION_CHARACTERS, "characters")

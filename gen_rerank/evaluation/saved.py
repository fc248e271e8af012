"""The shape of a saved evaluation: what a file must hold, so that whatever is damaged is said when it is opened.

What the figures mean, `gen_rerank.evaluation.evaluation` knows.
"""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from gen_rerank.data.values import shown
from gen_rerank.errors import BadInput

# All measures lie in [0, 1]; a mean of ones may lie a last bit above.
_ROUNDING = 1e-6
Figure = Annotated[float, Field(strict=True, ge=-_ROUNDING, le=1 + _ROUNDING, allow_inf_nan=False)]
Figures = Annotated[list[Figure], Field(min_length=3, max_length=3)]
Count = Annotated[int, Field(strict=True, ge=0)]


class SavedSlice(BaseModel):
    """The queries of one tag; every other field is a measure with its mean and the ends of its interval."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Figures] = Field(init=False)

    queries: Count


class SavedBin(BaseModel):
    """A row of the reliability diagram."""

    model_config = ConfigDict(extra="forbid")

    low: Figure
    high: Figure
    pairs: Count
    predicted: Figure
    observed: Figure


class SavedUnranked(BaseModel):
    """The ids of the queries that cannot be ranked, by the reason."""

    one_judgment: list[str]
    all_alike: list[str]


class SavedEvaluation(BaseModel):
    """One evaluation as `Evaluation.to_json` writes it; what else lies in the file (differences, gates) is not read."""

    name: str
    data: str
    queries: Count
    pairs: Count
    scored_with: str = ""
    ranking: dict[str, Figures]
    calibration: dict[str, Figures] | None
    slices: dict[str, SavedSlice]
    reliability: list[SavedBin]
    unranked: SavedUnranked | None = None
    query_ids: list[str]
    per_query: dict[str, list[Figure | None]]

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if len(set(self.query_ids)) != len(self.query_ids) or len(self.query_ids) != self.queries:
            raise ValueError(f"query_ids are not the ids of {self.queries} queries, each once")
        for measure, values in self.per_query.items():
            if len(values) != self.queries:
                raise ValueError(f"per_query has not one value a query for {measure}")
        return self

    @classmethod
    def read(cls, row: Any) -> Self:
        """Return what a JSON value holds.

        Raises:
            BadInput: it is no evaluation, or is damaged; the sentence names the first fault.
        """
        try:
            return cls.model_validate(row)
        except ValidationError as error:
            raise BadInput(f"not an evaluation, or damaged: {_fault(error)}") from error


def _fault(error: ValidationError) -> str:
    """Return the first thing that is wrong, and where."""
    first = error.errors(include_url=False)[0]
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"])
    where = where.removeprefix(".") or "the file"
    if first["type"] == "missing":
        return f"{where} is missing"
    if first["type"] == "value_error":
        return str(first["ctx"]["error"])
    of_fields = first["type"] in ("model_type", "dict_type")  # whose message names a class of ours
    wanted = "a JSON object" if of_fields else first["msg"].removeprefix("Input should be ")
    return f"{where}: {wanted} is needed, not {shown(first['input'])}"

"""What text-embeddings-inference's clients ask at `GET /info` before anything else: the model, and the limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from gen_rerank import __version__
from serve.models import ServedModel
from serve.options import ServeOptions
from serve.scoring import TOKENIZING_THREADS


@dataclass(frozen=True)
class EngineFacts:
    """What is known of the engine once it runs.

    Attributes:
        dtype: the type of the weights' numbers, such as `bfloat16`.
        batch_tokens: the most tokens of one forward pass.
        batch_prompts: the most prompts of one forward pass.
    """

    dtype: str
    batch_tokens: int
    batch_prompts: int

    @classmethod
    def of(cls, engine: Any) -> EngineFacts:
        """Return the facts of vLLM's `EngineClient`."""
        config = engine.vllm_config
        return cls(
            dtype=str(config.model_config.dtype).removeprefix("torch."),
            batch_tokens=config.scheduler_config.max_num_batched_tokens,
            batch_prompts=config.scheduler_config.max_num_seqs,
        )


class Labels(BaseModel):
    """The one output of a reranker, as its `config.json` names it."""

    id2label: dict[str, str] = {"0": "LABEL_0"}
    label2id: dict[str, int] = {"LABEL_0": 0}


class ModelType(BaseModel):
    """What kind of model it is."""

    reranker: Labels = Labels()


class TeiInfo(BaseModel):
    """The answer of `GET /info`, in text-embeddings-inference's own names."""

    model_config = ConfigDict(protected_namespaces=())

    model_id: Annotated[str, Field(description="The served name of the base.")]
    model_sha: Annotated[str | None, Field(description="Its version.")]
    model_dtype: Annotated[str, Field(description="The type of its numbers.", examples=["bfloat16"])]
    model_type: ModelType = ModelType()
    max_concurrent_requests: Annotated[int, Field(description="Pairs that wait or run; a request has at least one.")]
    max_input_length: Annotated[int, Field(description="The most tokens of a prompt; longer ones are cut.")]
    max_batch_tokens: Annotated[int, Field(description="Of one forward pass.")]
    max_batch_requests: Annotated[int, Field(description="Prompts of one forward pass.")]
    max_client_batch_size: Annotated[int, Field(description="The most texts of one request.")]
    auto_truncate: Annotated[bool, Field(description="Texts that do not fit are cut.")] = True
    tokenization_workers: Annotated[int, Field(description="Threads that tokenize.")] = TOKENIZING_THREADS
    version: Annotated[str, Field(description="Of gen_rerank.")] = __version__
    sha: Annotated[str | None, Field(description="None.")] = None
    docker_label: Annotated[str | None, Field(description="None.")] = None


def tei_info(base: ServedModel, options: ServeOptions, engine: EngineFacts) -> TeiInfo:
    """Return what is told of a server."""
    return TeiInfo(
        model_id=base.name,
        model_sha=base.version,
        model_dtype=engine.dtype,
        max_concurrent_requests=options.max_queued_pairs,
        max_input_length=base.checkpoint.card.prompt.max_length,
        max_batch_tokens=engine.batch_tokens,
        max_batch_requests=engine.batch_prompts,
        max_client_batch_size=options.max_documents,
    )

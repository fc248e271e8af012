"""A checkpoint is opened with a backend of one's choice.

`transformers` is the reference that runs everywhere, `vllm` the fast one. Both read the same rows at the same position
of the same token ids, so their scores differ by rounding only. Their libraries are imported when they are opened.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

from gen_rerank.checkpoints.adapter import Adapter
from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.errors import BadInput
from gen_rerank.scorers.scorer import TokenScorer

Backend = Literal["transformers", "vllm"]


def open_scorer(model: str | Path, backend: Backend = "transformers", adapter: str | Path | None = None) -> TokenScorer:
    """Open a checkpoint, and an adapter on it, with a backend; its libraries are imported here and not before.

    vLLM's engine gets the settings that `gen_rerank.scorers.engine_plan` chooses for this machine, as in the server:
    a large model is compiled.

    Raises:
        BadInput: the checkpoint or the adapter is refused, or there is no such backend.
    """
    if backend not in get_args(Backend):
        raise BadInput(f"there is no backend {backend!r}; choose one of {', '.join(get_args(Backend))}")
    checkpoint = Checkpoint.open(model)
    opened = None if adapter is None else Adapter.open(adapter, checkpoint)
    if backend == "transformers":
        from gen_rerank.scorers.transformers import TransformersScorer

        return TransformersScorer(checkpoint, opened)
    from gen_rerank.scorers.vllm import VllmScorer

    return VllmScorer(checkpoint, opened)

"""A checkpoint is opened with a backend and a number type of one's choice.

`transformers` is the reference that runs everywhere, `vllm` the fast one, and `openvino` the fast one for encoders on a
CPU. All read the same rows at the same position of the same token ids, so their scores differ by rounding only. Their
libraries are imported when they are opened.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast, get_args

from gen_rerank.checkpoints.adapter import Adapter
from gen_rerank.checkpoints.card import Calibration
from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.errors import BadInput
from gen_rerank.scorers.encoder import default_encoder_dtype
from gen_rerank.scorers.encoder_graph import require_encoder
from gen_rerank.scorers.engine_plan import Dtype, EngineChoices, default_dtype
from gen_rerank.scorers.scorer import TokenScorer
from gen_rerank.system.machine import Machine

Backend = Literal["transformers", "vllm", "openvino"]
DtypeChoice = Literal["auto", "float32", "bfloat16"]


@dataclass(frozen=True)
class PreparedScorer:
    """A checkpoint that was found fit, and with what it will be computed; no weights are loaded yet.

    Attributes:
        checkpoint: the model.
        adapter: a LoRA adapter of it.
        backend: what computes.
        dtype: of weights and activations.
    """

    checkpoint: Checkpoint
    adapter: Adapter | None
    backend: Backend
    dtype: Dtype

    def open(self) -> TokenScorer:
        """Load the weights; the backend's libraries are imported here and not before.

        vLLM's engine gets the settings that `gen_rerank.scorers.engine_plan` chooses for this machine, as in the
        server: a large model is compiled.

        Raises:
            BadInput: the weights cannot be loaded, or vLLM refuses the checkpoint or the adapter.
        """
        if self.backend == "transformers":
            import torch

            from gen_rerank.scorers.transformers import TransformersScorer

            dtype: torch.dtype = getattr(torch, self.dtype)
            return TransformersScorer(self.checkpoint, self.adapter, dtype=dtype)
        if self.backend == "openvino":
            from gen_rerank.scorers.encoder import EncoderScorer

            return EncoderScorer(self.checkpoint, dtype=self.dtype)
        from gen_rerank.scorers.vllm import VllmScorer

        return VllmScorer(self.checkpoint, self.adapter, EngineChoices(dtype=self.dtype))

    @property
    def calibration(self) -> Calibration:
        """That of the adapter, where there is one, or of the checkpoint."""
        return (self.adapter or self.checkpoint).card.calibration

    def __str__(self) -> str:
        """Return `transformers in float32`."""
        return f"{self.backend} in {self.dtype}"


def prepare_scorer(
    model: str | Path,
    backend: str = "transformers",
    adapter: str | Path | None = None,
    dtype: str = "auto",
) -> PreparedScorer:
    """Check a checkpoint, an adapter on it and how they are to be computed.

    Args:
        model: a checkpoint folder or hub name.
        backend: one of `Backend`.
        adapter: the folder or hub name of a LoRA adapter of this model.
        dtype: one of `DtypeChoice`; `auto` is bfloat16 for a decoder where it is fast, and float32 elsewhere; with
            `openvino` it is bfloat16 where the CPU multiplies it.

    Raises:
        BadInput: the checkpoint or the adapter is refused, or there is no such backend or number type.

    Example:
        >>> str(prepare_scorer("runs/model"))  # doctest: +SKIP
        'transformers in float32'
    """
    if backend not in get_args(Backend):
        raise BadInput(f"there is no backend {backend!r}; choose one of {', '.join(get_args(Backend))}")
    if dtype not in get_args(DtypeChoice):
        raise BadInput(f"there is no number type {dtype!r}; choose one of {', '.join(get_args(DtypeChoice))}")
    checkpoint = Checkpoint.open(model)
    if backend == "openvino":
        require_encoder(checkpoint)  # of which there are no adapters
    opened = None if adapter is None else Adapter.open(adapter, checkpoint)
    chosen = _fitting_dtype(checkpoint, backend) if dtype == "auto" else cast(Dtype, dtype)
    return PreparedScorer(checkpoint, opened, cast(Backend, backend), chosen)


def open_scorer(
    model: str | Path,
    backend: Backend = "transformers",
    adapter: str | Path | None = None,
    dtype: DtypeChoice = "auto",
) -> TokenScorer:
    """Open a checkpoint, and an adapter on it, with a backend; the arguments are those of `prepare_scorer`.

    Raises:
        BadInput: the checkpoint or the adapter is refused, or there is no such backend or number type.
    """
    return prepare_scorer(model, backend, adapter, dtype).open()


def _fitting_dtype(checkpoint: Checkpoint, backend: str) -> Dtype:
    """Return the backend's usual type, but float32 where transformers would have to emulate another."""
    if backend == "openvino":
        return default_encoder_dtype()
    if backend == "transformers" and not Machine.here().computes_bfloat16:
        return "float32"
    return default_dtype(checkpoint)

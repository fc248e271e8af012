"""An encoder as a graph of OpenVINO's: made once from transformers' model, kept beside the checkpoint.

The graph lies in `openvino/FINGERPRINT/` of the checkpoint's folder, so that one whose weights, tokenizer or template
have changed is not found, and is made anew. Opened from there it needs neither torch nor transformers, and a process
starts in seconds. Where the folder cannot be written the graph is used and not kept.

OpenVINO is imported by `openvino_module` alone, which keeps it from telling its maker about conversions.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import time
import warnings
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.errors import BadInput, first_line
from gen_rerank.system.publishing import folder_appearing

INPUTS = ("input_ids", "attention_mask")
FOLDER = "openvino"
GRAPH = "graph.xml"
# Part of the folder's name; a change in how graphs are made gets another one.
_FORMAT = 1
_TELEMETRY = "openvino_telemetry"


@dataclass(frozen=True)
class EncoderGraph:
    """An encoder's graph: `input_ids` and `attention_mask`, int64 `[b, t]`, become logits, float32 `[b, k]`.

    Attributes:
        model: an `openvino.Model`, with b and t left open.
        origin: how it came about, as people read it.
    """

    model: Any
    origin: str


def openvino_module() -> ModuleType:
    """Return the package `openvino`.

    It reports conversions to its maker's statistics without asking, unless the package that does so cannot be imported;
    so here it cannot.

    Raises:
        BadInput: it is not installed.

    Example:
        >>> openvino_module().__name__  # doctest: +SKIP
        'openvino'
    """
    if "openvino" not in sys.modules:
        sys.modules.setdefault(_TELEMETRY, None)  # type: ignore[arg-type]  # Python's own way to say "not here"
    try:
        return importlib.import_module("openvino")
    except ModuleNotFoundError as error:
        raise BadInput(
            "the backend openvino needs a package that is not installed: pip install 'gen-rerank[openvino]'"
        ) from error


def has_openvino() -> bool:
    """Return whether OpenVINO is installed; it is not imported."""
    return importlib.util.find_spec("openvino") is not None


def open_graph(checkpoint: Checkpoint) -> EncoderGraph:
    """Return the graph of an encoder that is kept beside it, or make it and keep it.

    Raises:
        BadInput: the checkpoint is no encoder in full precision, its weights cannot be loaded or converted, or OpenVINO
            is not installed.

    Example:
        >>> open_graph(Checkpoint.open("runs/encoder")).origin  # doctest: +SKIP
        'kept in runs/encoder/openvino/1-5d1c0e5fd1bd0c34'
    """
    require_encoder(checkpoint)
    core = openvino_module().Core()
    place = checkpoint.folder / FOLDER / f"{_FORMAT}-{checkpoint.fingerprint}"
    if (place / GRAPH).is_file():
        try:
            return EncoderGraph(core.read_model(place / GRAPH), f"kept in {place}")
        except RuntimeError as error:
            raise BadInput(f"{place}: not a graph that OpenVINO can read ({first_line(error)}); remove it") from error
    began = time.monotonic()
    model = _converted(checkpoint)
    seconds = f"made in {time.monotonic() - began:.1f} s"
    try:
        with folder_appearing(place) as folder:
            openvino_module().save_model(model, folder / GRAPH, compress_to_fp16=False)
    except (BadInput, OSError, RuntimeError) as error:
        return EncoderGraph(model, f"{seconds}, and not kept ({first_line(error)})")
    # The one on disk is mapped into memory, and the copy in memory goes.
    return EncoderGraph(core.read_model(place / GRAPH), f"{seconds}, kept in {place}")


def require_encoder(checkpoint: Checkpoint) -> None:
    """Require a checkpoint that OpenVINO can compute here.

    Raises:
        BadInput: it is a decoder, or quantized for other backends.
    """
    if checkpoint.card.readout.kind != "classifier":
        raise BadInput(f"{checkpoint.folder}: the backend openvino is for encoders; choose transformers or vllm")
    if checkpoint.is_quantized:
        raise BadInput(
            f"{checkpoint.folder}: quantized for vLLM and transformers, so the backend openvino cannot read it; give "
            "it the checkpoint that this one was made from"
        )


def _converted(checkpoint: Checkpoint) -> Any:
    """Return the graph of transformers' model, in float32."""
    import torch
    from torch import Tensor, nn

    from gen_rerank.scorers.transformers import load_model, model_class

    class Logits(nn.Module):
        """What is traced: two tensors in, one out."""

        def __init__(self, model: Any) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
            logits: Tensor = self.model(input_ids=input_ids, attention_mask=attention_mask).logits
            return logits

    model = load_model(model_class(checkpoint.card.readout), checkpoint, torch.float32)
    # Lengths of two kinds, so that nothing is taken for a constant that follows from the mask.
    tokens, mask = torch.ones(2, 16, dtype=torch.long), torch.ones(2, 16, dtype=torch.long)
    mask[1, 9:] = 0
    example = dict(zip(INPUTS, (tokens, mask), strict=True))
    try:
        # Branches that the tracer follows once: those of decoders' caches, which an encoder does not have.
        with torch.inference_mode(), warnings.catch_warnings(action="ignore"):
            return openvino_module().convert_model(Logits(model.eval()), example_input=example)
    except Exception as error:  # of the tracer, or of OpenVINO, which has several of its own
        raise BadInput(f"{checkpoint.folder}: OpenVINO cannot convert this encoder ({first_line(error)})") from error

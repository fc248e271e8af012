"""Quantize a decoder checkpoint: one folder in, one smaller folder out, checked before anybody can serve it.

llm-compressor does the arithmetic. This module decides what is left alone (embeddings, norms, readout), keeps the tokenizer
byte for byte, extends the card's provenance, and proves on the written files that the rest is untouched and the
scores have not collapsed. How much quality the scheme costs is measured by the quantize-and-compare script, not here.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from torch import nn
from transformers import AutoModelForCausalLM

from gen_rerank.bins import Distribution
from gen_rerank.checkpoint import Checkpoint
from gen_rerank.errors import BadInput
from gen_rerank.records import Dataset, Pair, Product
from gen_rerank.scorers.transformers import TransformersScorer
from quant.schemes import Scheme, scheme_named

# Whatever reads the last hidden state; `score` is the head of a sequence classifier.
READOUT_LAYERS = ("lm_head", "score")

# What is not quantized is written in bfloat16, whatever the parent has: vLLM serves bfloat16, so the scores that are
# measured are the scores that are served, and a float32 embedding would be most of a small checkpoint's size.
_REST = torch.bfloat16

_TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt",
    "tokenizer.model", "chat_template.jinja",
)  # fmt: skip

_CHECKED_PAIRS = 32
# Scores spread over less than this share of the parent's spread are one and the same score.
_COLLAPSED_SPREAD = 0.01
# A parent whose own scores differ by less than this (it is constant) proves nothing.
_CONSTANT_SPREAD = 1e-6
_STUCK_AT = (0.0, 0.5, 1.0)


def quantize(
    model: str | Path, scheme: str, out: str | Path, calibration: Dataset | None = None, *, overwrite: bool = False
) -> Checkpoint:
    """Write a quantized copy of a checkpoint and return it, opened.

    Nothing appears at `out` before the copy is complete and checked: its embeddings, norms and readout are bit for bit the
    parent's (cast to bfloat16), and on a few pairs its scores are finite and still differ.

    Args:
        model: the parent: a folder or hub name of a decoder checkpoint.
        scheme: a name from `quant.schemes`.
        out: the folder to write.
        calibration: some of its pairs become the ones on which the scores are checked; by default a few of our own. No
            scheme of today needs data to set its scales.
        overwrite: replace `out` where it exists.

    Raises:
        BadInput: an unknown scheme, a folder that is no checkpoint or one that is already quantized or an encoder,
            a layer whose size the scheme cannot group, or an `out` that exists.
        RuntimeError: the written checkpoint is not the parent with quantized layers, or its scores collapsed.

    Example:
        >>> quantize("runs/demo/model", "int8", "runs/demo/int8").folder  # doctest: +SKIP
        PosixPath('runs/demo/int8')
    """
    chosen = scheme_named(scheme)
    parent = Checkpoint.open(model)
    _check_parent(parent)
    target = Path(out)
    _check_out(target, parent.folder, overwrite)
    pairs = _check_pairs(calibration)
    expected = TransformersScorer(parent).score(pairs)
    with _appearing(target) as folder:
        _write_weights(parent, chosen, folder)
        _write_rest(parent, chosen, folder)
        _check_untouched(parent, folder)
        _check_scores(chosen, expected, TransformersScorer(Checkpoint.open(folder)), pairs)
    return Checkpoint.open(target)


def _check_parent(parent: Checkpoint) -> None:
    if "quantization_config" in parent.config:
        raise BadInput(f"{parent.folder}: already quantized; quantize the checkpoint that it was made from")
    if parent.card.readout.kind == "classifier":
        raise BadInput(f"{parent.folder}: an encoder; only decoders (readout bins or yes_no) are quantized")


def _check_out(out: Path, parent: Path, overwrite: bool) -> None:
    inner, outer = out.resolve(), parent.resolve()
    if inner == outer or inner in outer.parents or outer in inner.parents:
        raise BadInput(
            f"{out}: the output cannot be, hold or lie in the folder of the checkpoint that is quantized, {parent}"
        )
    if out.exists() and not out.is_dir():
        raise BadInput(f"{out}: there is a file of this name")
    if out.is_dir() and any(out.iterdir()) and not overwrite:
        raise BadInput(f"{out}: the folder exists and is not empty; choose another or overwrite it")


@contextmanager
def _appearing(out: Path) -> Iterator[Path]:
    """Give an empty sibling of `out` that takes its name when the block ends well, and is removed when it does not."""
    out.parent.mkdir(parents=True, exist_ok=True)
    stem = f".{out.name}.{uuid.uuid4().hex[:8]}"
    partial, replaced = out.with_name(f"{stem}.partial"), out.with_name(f"{stem}.replaced")
    partial.mkdir()
    try:
        yield partial
        if out.exists():
            out.rename(replaced)
        partial.rename(out)
    except BaseException:
        if replaced.exists() and not out.exists():
            replaced.rename(out)
        raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(replaced, ignore_errors=True)


def _write_weights(parent: Checkpoint, scheme: Scheme, folder: Path) -> None:
    """Write `config.json` and the weights, with every linear layer but the readout quantized."""
    # In float32, so that a weight is rounded once: bfloat16 would round the scaled weight before it is rounded to the grid.
    model = AutoModelForCausalLM.from_pretrained(parent.folder, dtype=torch.float32)
    layers = _quantized_layers(model, scheme)
    with _quiet_libraries():
        from llmcompressor import oneshot, reset_session
        from llmcompressor.modifiers.quantization import QuantizationModifier

        recipe = QuantizationModifier(targets="Linear", scheme=scheme.preset, ignore=list(READOUT_LAYERS))
        try:
            oneshot(model=model, recipe=recipe)
            for name, parameter in model.named_parameters():
                owner, _, leaf = name.rpartition(".")
                if owner not in layers or leaf == "bias":
                    parameter.data = parameter.data.to(_REST)
            model.config.dtype = _REST
            model.save_pretrained(folder, save_compressed=True)
        finally:
            reset_session()  # it holds the model


def _quantized_layers(model: nn.Module, scheme: Scheme) -> set[str]:
    """Return the names of the layers that the scheme quantizes.

    Raises:
        BadInput: the input size of one is no multiple of the scheme's group.
    """
    layers = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and name not in READOUT_LAYERS
    }
    for name, layer in layers.items():
        if layer.in_features % scheme.group:
            raise BadInput(
                f"{scheme.name} needs layers whose input size is a multiple of {scheme.group}, but {name} has "
                f"{layer.in_features}; choose another scheme"
            )
    return set(layers)


@contextmanager
def _quiet_libraries() -> Iterator[None]:
    """Keep llm-compressor's log lines off the terminal, and its changes of the environment to itself.

    Imported plainly it removes every loguru handler and adds its own on the standard output, where it warns of things that
    are no concern of the caller (a machine without a GPU); `oneshot` switches off parallel tokenization for the
    process. What would matter is checked by us on the written files, and its errors are exceptions.
    """
    switches = {
        "LLM_COMPRESSOR_LOG_DISABLED": "true",
        "COMPRESSED_TENSORS_LOG_DISABLED": "true",
        "TOKENIZERS_PARALLELISM": "false",
    }
    before = {name: os.environ.get(name) for name in switches}
    os.environ.update(switches)
    from loguru import logger

    packages = ("llmcompressor", "compressed_tensors")
    for package in packages:
        logger.disable(package)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Attempting to save a model with offloaded modules")
            yield
    finally:
        for package in packages:
            logger.enable(package)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _write_rest(parent: Checkpoint, scheme: Scheme, folder: Path) -> None:
    """Write the tokenizer, byte for byte, and the card with its new provenance."""
    for name in _TOKENIZER_FILES:
        if (parent.folder / name).is_file():
            shutil.copyfile(parent.folder / name, folder / name)
    made = {
        "scheme": scheme.name,
        "llmcompressor": version("llmcompressor"),
        "parent": str(parent.folder),
        "parent_fingerprint": _fingerprint(parent.folder),
    }
    provenance = parent.card.provenance.model_copy(update={"quantization": made})
    parent.card.model_copy(update={"provenance": provenance}).save(folder)
    for file in folder.iterdir():  # safetensors writes for its owner alone; a server may run as somebody else
        file.chmod(0o644)


def _fingerprint(folder: Path) -> str:
    """Return the first 16 hexadecimal digits of the SHA-256 over the weights, all shards in the order of their names."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            while block := file.read(1 << 22):
                digest.update(block)
    return digest.hexdigest()[:16]


def _check_untouched(parent: Checkpoint, folder: Path) -> None:
    """Compare the written weights with the parent's: only linear layers may differ, and those must be quantized.

    Raises:
        RuntimeError: a tensor is lost or differs, or nothing was quantized.
    """
    before, after = _tensors(parent.folder), _tensors(folder)
    quantized = {f"{name.removesuffix('_scale')}" for name in after if name.endswith(".weight_scale")}
    if not quantized or any(name.rpartition(".")[0] in READOUT_LAYERS for name in quantized):
        raise RuntimeError(
            f"{parent.folder}: llm-compressor quantized the readout, or nothing at all; nothing was written"
        )
    for name in before.keys() - quantized:
        if name not in after and name == "lm_head.weight" and parent.config.get("tie_word_embeddings"):
            continue  # some parents store the shared matrix twice
        if name not in after or not torch.equal(_read(before, name).to(_REST), _read(after, name)):
            raise RuntimeError(
                f"{parent.folder}: {name} did not come through quantization unchanged; nothing was written"
            )


def _tensors(folder: Path) -> dict[str, Path]:
    """Return the file that each tensor of a model folder is in."""
    found = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            found.update(dict.fromkeys(file.keys(), path))
    return found


def _read(tensors: dict[str, Path], name: str) -> torch.Tensor:
    with safe_open(tensors[name], framework="pt") as file:
        tensor: torch.Tensor = file.get_tensor(name)
        return tensor


def _check_pairs(calibration: Dataset | None) -> list[Pair]:
    """Return the pairs on which parent and copy are compared: evenly spread over the data, or our own."""
    if calibration is None:
        queries = ("oak desk", "waterproof hiking boots", "usb-c charger 65w")
        titles = ("Oak writing desk", "Leather hiking boots", "65 W USB-C charger", "Linen blanket")
        return [Pair(query, Product(product_id=title, title=title)) for query in queries for title in titles]
    chosen = np.unique(np.linspace(0, len(calibration.judgments) - 1, _CHECKED_PAIRS).astype(int))
    return [calibration.pair(calibration.judgments[i]) for i in chosen]


def _check_scores(scheme: Scheme, expected: Distribution, scorer: Any, pairs: Sequence[Pair]) -> None:
    """Score the copy and compare.

    Raises:
        RuntimeError: scores that are not finite, that are all the same where the parent's differ, or that are stuck at 0,
            0.5 and 1 where the parent's are not.
    """
    try:
        scores = scorer.score(pairs).mean
    except BadInput as error:
        raise RuntimeError(
            f"the {scheme.name} checkpoint gives no finite scores ({error}); nothing was written"
        ) from error
    parent = expected.mean
    if np.ptp(parent) > _CONSTANT_SPREAD and np.ptp(scores) < _COLLAPSED_SPREAD * np.ptp(parent):
        raise RuntimeError(
            f"the {scheme.name} checkpoint gives every pair the score {scores[0]:.3g}, where the parent's go from "
            f"{parent.min():.3g} to {parent.max():.3g}; nothing was written"
        )
    if np.isin(scores, _STUCK_AT).all() and not np.isin(parent, _STUCK_AT).all():
        raise RuntimeError(
            f"the {scheme.name} checkpoint's scores are stuck at {sorted(set(scores.tolist()))}; nothing was written"
        )

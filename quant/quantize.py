"""Quantize a checkpoint: one folder in, one smaller folder out, checked before anybody can serve it.

llm-compressor does the arithmetic. This module decides what is left alone (embeddings, norms, readout), keeps the tokenizer
byte for byte, extends the card's provenance, and proves on the written files that the rest is untouched and the
scores have not collapsed. How much quality the scheme costs is measured by the quantize-and-compare script, not here.
"""

from __future__ import annotations

import errno
import fcntl
import io
import logging
import os
import shutil
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from safetensors import SafetensorError
from torch import nn
from torch.utils.data import DataLoader
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, PreTrainedModel

from gen_rerank.bins import Distribution
from gen_rerank.checkpoints.card import CARD, Quantization
from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.checkpoints.weights import Weights, reads_out
from gen_rerank.data.records import Dataset, Pair, Product
from gen_rerank.errors import BadInput
from gen_rerank.scorers.transformers import TransformersScorer
from quant.drift import stuck
from quant.example_pairs import CalibrationSet
from quant.example_pairs import calibration_pairs as draw_pairs
from quant.schemes import SCHEMES, Scheme, Step, scheme_named, smoothed_norms

# Where a decoder's output matrix is stored, unless it is the embedding.
_LM_HEAD = "lm_head.weight"

# What is not quantized is written in bfloat16, whatever the parent has: vLLM serves bfloat16, so the scores that are
# measured are the scores that are served, and a float32 embedding would be most of a small checkpoint's size.
_REST = torch.bfloat16

NOWHERE = Console(quiet=True)

Align = Callable[[Path, Path], object]

# How far the product of a smoothed norm and an int8 layer that reads it may be from the parent's: several times what rounding
# to 8 bits costs, and far less than a norm that is divided twice, or a layer that is not multiplied.
_SMOOTHED_ERROR = 0.1

_TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt",
    "tokenizer.model", "chat_template.jinja",
)  # fmt: skip

_CHECKED_PAIRS = 32
# Scores spread over less than this share of the parent's spread are one and the same score.
_COLLAPSED_SPREAD = 0.01
# A parent whose own scores differ by less than this (it is constant) proves nothing.
_CONSTANT_SPREAD = 1e-6


def quantize(
    model: str | Path,
    scheme: str,
    out: str | Path,
    calibration: Dataset | str | Path | None = None,
    *,
    calibration_pairs: int = 512,
    seed: int = 0,
    align: Align | None = None,
    overwrite: bool = False,
    console: Console = NOWHERE,
) -> Checkpoint:
    """Write a quantized copy of a checkpoint and return it, opened.

    Nothing appears at `out` before the copy is complete and checked: its embeddings, norms and readout are bit for bit the
    parent's (cast to bfloat16), and on a few pairs its scores are finite and still differ. Where a scheme moves scale
    out of norms, their product with the layers that read them is checked instead.

    Args:
        model: the parent: a folder or hub name of a checkpoint.
        scheme: a name from `quant.schemes`.
        out: the folder to write.
        calibration: a data set, or its folder. Schemes that need it set their scales on its pairs, never on those of test
            queries; for all schemes a few of them become the pairs on which the scores are checked (without, a few
            of our own).
        calibration_pairs: the most pairs to set scales on.
        seed: of their draw.
        align: is given the folder of the quantized checkpoint and that of the one to write: the same with another
            readout (`train.phases.train_scalar`), which then is what appears.
        overwrite: replace `out` where it is a checkpoint.
        console: where to say what is being done, and where the result runs.

    Raises:
        BadInput: an unknown scheme, a folder that is no checkpoint, one that is already quantized, an encoder that the
            scheme is not for, a layer whose size it cannot group, too little calibration data or none where it is needed, an
            `out` that exists, appears meanwhile or is being written by another run, a full disk; a written checkpoint that
            is not the parent with quantized layers, or whose scores collapsed.

    Example:
        >>> quantize("runs/demo/model", "int8", "runs/demo/int8").folder  # doctest: +SKIP
        PosixPath('runs/demo/int8')
    """
    chosen = scheme_named(scheme)
    parent = Checkpoint.open(model)
    _check_parent(parent, chosen)
    target = Path(out)
    _check_apart(target, parent.folder)
    _check_free(target, overwrite)
    data = Dataset.load(calibration) if isinstance(calibration, str | Path) else calibration
    examples = _examples(parent, chosen, data, calibration_pairs, seed)
    pairs = _check_pairs(data, seed)
    expected = _open(parent).score(pairs)
    with _full_disk_in_words(target), _appearing(target, overwrite) as result:
        folder = result if align is None else result.with_name("quantized")
        folder.mkdir()
        recipe = _write_weights(parent, chosen, examples, folder, console)
        _write_rest(str(model), parent, chosen, recipe, examples, folder)
        _say(console, f"checking the written weights and the scores of {len(pairs)} pairs")
        _check_untouched(parent, chosen, folder)
        _check_scores(chosen, expected, _open(Checkpoint.open(folder)), pairs)
        if align is not None:
            align(folder, result)
            _check_scores(chosen, expected, _open(Checkpoint.open(result)), pairs)
    _say(console, f"where {scheme} runs: {chosen.info.runs_on}")
    return Checkpoint.open(target)


def _open(checkpoint: Checkpoint) -> TransformersScorer:
    """Open a checkpoint without the progress bars of compressed-tensors."""
    with redirect_stderr(io.StringIO()):
        return TransformersScorer(checkpoint)


def _say(console: Console, sentence: str) -> None:
    console.print(sentence, markup=False, highlight=False, soft_wrap=True)


def _check_parent(parent: Checkpoint, scheme: Scheme) -> None:
    if parent.is_quantized:
        raise BadInput(f"{parent.folder}: already quantized; quantize the checkpoint that it was made from")
    if parent.card.readout.kind == "classifier" and not scheme.encoders:
        others = ", ".join(other.name for other in SCHEMES if other.encoders)
        raise BadInput(f"{parent.folder}: an encoder, and {scheme.name} is for decoders; choose one of {others}")
    family = parent.config.get("model_type")
    if scheme.smooths and family != "qwen3":
        raise BadInput(
            f"{parent.folder}: {scheme.name} knows which layers read which norm in Qwen3 decoders only, and this is "
            f"a {family}; choose int8"
        )


def _examples(parent: Checkpoint, scheme: Scheme, data: Dataset | None, limit: int, seed: int) -> CalibrationSet | None:
    """Return what the scheme sets its scales on, or None where it needs nothing."""
    if not scheme.needs_calibration:
        return None
    if data is None:
        raise BadInput(f"{scheme.name} sets its scales on example pairs; name a data set with --calibration")
    return CalibrationSet.draw(data, parent.prompt, limit, seed)


def _check_apart(out: Path, parent: Path) -> None:
    inner, outer = out.resolve(), parent.resolve()
    if inner == outer or inner in outer.parents or outer in inner.parents:
        raise BadInput(
            f"{out}: the output cannot be, hold or lie in the folder of the checkpoint that is quantized, {parent}"
        )


def _check_free(out: Path, overwrite: bool) -> None:
    if out.exists() and not out.is_dir():
        raise BadInput(f"{out}: there is a file of this name")
    if out.is_dir() and any(out.iterdir()):
        if not overwrite:
            raise BadInput(f"{out}: the folder exists and is not empty; choose another or overwrite it")
        if not (out / CARD).is_file():
            raise BadInput(f"{out}: only a checkpoint is overwritten, and this folder holds something else")


@contextmanager
def _appearing(out: Path, overwrite: bool) -> Iterator[Path]:
    """Give the name of a folder to make, which takes the place of `out` when the block ends well.

    It is to lie in a hidden one beside `out`, with room for more, that is removed in any case; what a run that was
    killed left of it, the next one to the same `out` removes.

    Raises:
        BadInput: another run is at work, or something has appeared at `out`.
    """
    out = out.resolve()
    workplace = out.with_name(f".{out.name}.partial")
    with _alone_in(workplace, out):
        result, replaced = workplace / out.name, workplace / "replaced"
        try:
            yield result
            _check_free(out, overwrite)
            if overwrite and out.exists():
                out.rename(replaced)
            result.rename(out)  # the system refuses where `out` is not empty
        except BaseException:
            if replaced.exists() and not out.exists():
                replaced.rename(out)
            raise


@contextmanager
def _alone_in(workplace: Path, out: Path) -> Iterator[None]:
    """Make an empty folder, or empty it, and remove it with the block; a lock, which goes with the process, says whether it is in use.

    Raises:
        BadInput: it is.
    """
    workplace.mkdir(parents=True, exist_ok=True)
    with (workplace / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BadInput(f"{out}: another run is writing it; wait for its end or choose another folder") from error
        try:
            for left in workplace.iterdir():
                if left.is_dir():
                    shutil.rmtree(left)
            yield
        finally:
            shutil.rmtree(workplace, ignore_errors=True)


@contextmanager
def _full_disk_in_words(out: Path) -> Iterator[None]:
    """Say in words that the disk is full, whatever the libraries, or the re-alignment, make of the system's error."""
    try:
        yield
    except (OSError, SafetensorError, BadInput) as error:
        if not _is_full_disk(error):
            raise
        raise BadInput(
            f"{out}: the disk is full; free some space or choose a folder elsewhere, nothing was written"
        ) from error


def _is_full_disk(error: BaseException | None) -> bool:
    """Return whether an error, or one that it was raised from, is a full disk; safetensors has an error of its own for it."""
    if error is None:
        return False
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    wrapped = isinstance(error, SafetensorError) and f"(os error {errno.ENOSPC})" in str(error)
    return full or wrapped or _is_full_disk(error.__cause__)


def _write_weights(
    parent: Checkpoint, scheme: Scheme, examples: CalibrationSet | None, folder: Path, console: Console
) -> tuple[Step, ...]:
    """Write `config.json` and the weights, with every linear layer but the readout quantized, and return the recipe."""
    kind = parent.card.readout.kind
    auto_class = AutoModelForSequenceClassification if kind == "classifier" else AutoModelForCausalLM
    # In float32, so that a weight is rounded once: bfloat16 would round the scaled weight before it is rounded to the grid.
    model: PreTrainedModel = auto_class.from_pretrained(parent.folder, dtype=torch.float32)
    layers, left = _linear_layers(model)
    group = _group(scheme, layers)
    if group != scheme.groups[0]:
        _say(console, f"{scheme.name}: groups of {group}, because {scheme.groups[0]} does not divide every layer")
    recipe = scheme.recipe(left, group)
    if examples is None:
        _say(console, f"quantizing {len(layers)} layers with {scheme.name}")
    else:
        _say(
            console,
            f"quantizing {len(layers)} layers with {scheme.name}, calibrated on {len(examples.pairs):,} pairs "
            f"({examples.tokens:,} tokens)",
        )
    with console.status("quantizing"), _llm_compressor_contained():
        from llmcompressor import oneshot, reset_session

        modifiers = _modifiers(recipe)
        try:
            # Several progress bars for each layer go to the standard error. Only now: what is imported may keep hold of it.
            with redirect_stderr(io.StringIO()):
                oneshot(model=model, recipe=modifiers, dataset=_batches(examples))
            for name, parameter in model.named_parameters():
                owner, _, leaf = name.rpartition(".")
                if owner not in layers or leaf == "bias":
                    parameter.data = parameter.data.to(_REST)
            model.config.dtype = _REST
            with redirect_stderr(io.StringIO()):
                model.save_pretrained(folder, save_compressed=True)
        finally:
            reset_session()  # it holds the model
    return recipe


def _modifiers(recipe: Sequence[Step]) -> list[Any]:
    from llmcompressor.modifiers.gptq import GPTQModifier
    from llmcompressor.modifiers.quantization import QuantizationModifier
    from llmcompressor.modifiers.transform.smoothquant import SmoothQuantModifier

    known = {kind.__name__: kind for kind in (GPTQModifier, QuantizationModifier, SmoothQuantModifier)}
    return [known[step.modifier](**step.arguments) for step in recipe]


def _batches(examples: CalibrationSet | None) -> DataLoader[dict[str, torch.Tensor]] | None:
    """Return the prompts one by one, whole: a padded token would count in the scales, and a cut suffix hide the readout."""
    if examples is None:
        return None
    prompts = [torch.tensor([ids]) for ids in examples.token_ids]
    rows: Any = [{"input_ids": ids, "attention_mask": torch.ones_like(ids)} for ids in prompts]  # a list is a data set
    return DataLoader(rows, batch_size=None)


def _linear_layers(model: nn.Module) -> tuple[dict[str, nn.Linear], list[str]]:
    """Return the linear layers to quantize, by name, and the names of those that read the model out."""
    linear = {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    return {name: layer for name, layer in linear.items() if not reads_out(name)}, [*filter(reads_out, linear)]


def _group(scheme: Scheme, layers: dict[str, nn.Linear]) -> int:
    """Return the first group of the scheme that divides the input size of every layer.

    Raises:
        BadInput: none does, or a layer has an output size that the scheme cannot take.
    """
    for name, layer in layers.items():
        for size, kind, divisor in (
            (layer.in_features, "input", min(scheme.groups)),
            (layer.out_features, "output", scheme.outputs),
        ):
            if size % divisor:
                raise BadInput(
                    f"{scheme.name} needs layers whose {kind} size is a multiple of {divisor}, but {name} has "
                    f"{size}; choose another scheme"
                )
    # Every group is a multiple of the smallest one, which divides.
    return next(group for group in scheme.groups if all(layer.in_features % group == 0 for layer in layers.values()))


@contextmanager
def _llm_compressor_contained() -> Iterator[None]:
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

    try:
        logger.level("METRIC")
    except ValueError:  # GPTQ logs at a level of its own, which llm-compressor defines only where its log is on
        logger.level("METRIC", no=38)
    packages = ("llmcompressor", "compressed_tensors")
    for package in packages:
        logger.disable(package)
    logged_from = logging.root.manager.disable
    logging.disable(logging.WARNING)  # torch.fx, by which layers are taken one after the other, warns about itself
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Attempting to save a model with offloaded modules")
            yield
    finally:
        logging.disable(logged_from)
        for package in packages:
            logger.enable(package)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _write_rest(
    given: str,
    parent: Checkpoint,
    scheme: Scheme,
    recipe: Sequence[Step],
    examples: CalibrationSet | None,
    folder: Path,
) -> None:
    """Write the tokenizer, byte for byte, and the card with its new provenance; the parent's metrics are not the copy's."""
    for name in _TOKENIZER_FILES:
        if (parent.folder / name).is_file():
            shutil.copyfile(parent.folder / name, folder / name)
    made = Quantization(
        scheme=scheme.name,
        preset=scheme.info.preset,
        recipe=tuple(asdict(step) for step in recipe),
        llmcompressor=version("llmcompressor"),
        calibration=None if examples is None else examples.record,
        parent=given,
        parent_fingerprint=parent.fingerprint,
    )
    provenance = parent.card.provenance.model_copy(update={"quantization": made, "metrics": None})
    parent.card.model_copy(update={"provenance": provenance}).save(folder)
    for file in folder.iterdir():  # safetensors writes for its owner alone; a server may run as somebody else
        file.chmod(0o644)


def _check_untouched(parent: Checkpoint, scheme: Scheme, folder: Path) -> None:
    """Compare the written weights with the parent's: only linear layers may differ, and those must be quantized.

    Norms that the scheme smooths may differ too, as far as the layers that read them make up for it.

    Raises:
        BadInput: a tensor is lost or differs, nothing was quantized, or tied matrices are no longer one.
    """
    before, after = Weights.open(parent.folder), Weights.open(folder)
    if not after.scaled or any(map(reads_out, after.scaled)):
        raise BadInput(f"{parent.folder}: {scheme.name} quantized the readout, or nothing at all; nothing was written")
    tied = bool(parent.config.get("tie_word_embeddings"))
    if bool(after.config.get("tie_word_embeddings")) != tied or (tied and _LM_HEAD in after.files):
        raise BadInput(
            f"{parent.folder}: {scheme.name} split the matrix that embeddings and readout share; nothing was written"
        )
    smoothed = smoothed_norms(before.modules, (scheme,))
    for name in before.files.keys() - {f"{module}.weight" for module in {*after.scaled, *smoothed.values()}}:
        if tied and name == _LM_HEAD:
            continue  # some parents store the shared matrix twice
        if name not in after.files or not torch.equal(before.tensor(name).to(_REST), after.tensor(name)):
            raise BadInput(f"{parent.folder}: {name} did not come through {scheme.name} unchanged; nothing was written")
    for layer, norm in smoothed.items():
        was, product = (weights.weight(layer) * weights.weight(norm) for weights in (before, after))
        error = float((product - was).norm() / was.norm())
        if not error < _SMOOTHED_ERROR:
            raise BadInput(
                f"{parent.folder}: {scheme.name} changed the product of {norm} and {layer} by {error:.0%}; "
                "nothing was written"
            )


def _check_pairs(data: Dataset | None, seed: int) -> list[Pair]:
    """Return the pairs on which parent and copy are compared: a few of the calibration data, or our own."""
    if data is not None:
        return draw_pairs(data, _CHECKED_PAIRS, seed)
    queries = ("oak desk", "waterproof hiking boots", "usb-c charger 65w")
    titles = ("Oak writing desk", "Leather hiking boots", "65 W USB-C charger", "Linen blanket")
    return [Pair(query, Product(product_id=title, title=title)) for query in queries for title in titles]


def _check_scores(scheme: Scheme, expected: Distribution, scorer: Any, pairs: Sequence[Pair]) -> None:
    """Score the copy and compare.

    Raises:
        BadInput: scores that are not finite, that are all the same where the parent's differ, or that are stuck at 0,
            0.5 and 1 where the parent's are not.
    """
    try:
        scores = scorer.score(pairs).mean
    except BadInput as error:
        raise BadInput(
            f"the {scheme.name} checkpoint gives no finite scores ({error}); nothing was written, choose another scheme"
        ) from error
    parent = expected.mean
    if np.ptp(parent) > _CONSTANT_SPREAD and np.ptp(scores) < _COLLAPSED_SPREAD * np.ptp(parent):
        raise BadInput(
            f"the {scheme.name} checkpoint gives every pair the score {scores[0]:.3g}, where the parent's go from "
            f"{parent.min():.3g} to {parent.max():.3g}; nothing was written, choose another scheme"
        )
    if stuck(scores).all() and not stuck(parent).all():
        raise BadInput(
            f"the {scheme.name} checkpoint's scores are stuck at {sorted(set(scores.round(3).tolist()))}; nothing was written, "
            "choose another scheme"
        )

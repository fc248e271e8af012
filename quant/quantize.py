"""Quantize a checkpoint: one folder in, one smaller folder out, checked before anybody can serve it.

llm-compressor does the arithmetic (`quant.llm_compressor`). This module decides what may be quantized, keeps the
tokenizer byte for byte, extends the card's provenance, and lets the folder appear when `quant.written` has found that
the rest is untouched and the scores have not collapsed. How much quality the scheme costs is `quant.compare`'s.
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import asdict
from functools import partial
from importlib.metadata import version
from pathlib import Path

from rich.console import Console
from safetensors import SafetensorError

from gen_rerank.checkpoints.card import CARD, Quantization
from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.checkpoints.schemes import SCHEMES, Scheme, scheme_named
from gen_rerank.data.dataset import Dataset
from gen_rerank.errors import BadInput
from gen_rerank.reporting.shell import say
from gen_rerank.scorers.transformers import TransformersScorer
from gen_rerank.system.publishing import folder_appearing, is_full_disk, opened_before_named, require_room
from quant.example_pairs import ExamplePairs
from quant.llm_compressor import write_weights
from quant.recipes import Modifier
from quant.written import check_scores, check_weights, checked_pairs

NOWHERE = Console(quiet=True)

Align = Callable[[Path, Path], object]

_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "chat_template.jinja",
)


def quantize(
    model: str | Path,
    scheme: str,
    out: str | Path,
    examples: Dataset | str | Path | None = None,
    *,
    example_pairs: int = 512,
    seed: int = 0,
    align: Align | None = None,
    overwrite: bool = False,
    console: Console = NOWHERE,
) -> Checkpoint:
    """Write a quantized copy of a checkpoint and return it, opened.

    Nothing appears at `out` before the copy is complete and checked: its embeddings, norms and readout are bit for bit
    the parent's (cast to bfloat16; of smoothed norms the products), and on a few pairs its scores are finite and
    differ.

    Args:
        model: the parent: a folder or hub name of a checkpoint.
        scheme: a name from `gen_rerank.checkpoints.schemes`.
        out: the folder to write.
        examples: a data set, or its folder. Schemes that need it set their scales on its pairs, never on those of
            test queries; for all schemes the scores are checked on a few of them, or else on a few of our own.
        example_pairs: the most pairs to set scales on.
        seed: of their draw.
        align: is given the folder of the quantized checkpoint and that of the one to write: the same with another
            readout (phase 2 of `train`), which then is what appears.
        overwrite: replace `out` where it is a checkpoint.
        console: is told what is being done, and where the result runs.

    Raises:
        BadInput: an unknown scheme; a folder that is no checkpoint, or one that the scheme is not for; too few example
            pairs; an `out` that exists, appears meanwhile or is being written by another run; a full disk; a written
            checkpoint that is not the parent with quantized layers, or whose scores collapsed.

    Example:
        >>> quantize("runs/demo/model", "int8", "runs/demo/int8").folder  # doctest: +SKIP
        PosixPath('runs/demo/int8')
    """
    chosen, parent, target = scheme_named(scheme), Checkpoint.open(model), Path(out)
    check_parent(parent, chosen)
    _check_apart(target, parent.folder)
    require_free(target, overwrite=overwrite)
    require_room(target)
    data = Dataset.load(examples) if isinstance(examples, str | Path) else examples
    drawn = _examples(parent, chosen, data, example_pairs, seed)
    pairs = checked_pairs(data, seed)
    expected = _open(parent).score(pairs)
    with full_disk_in_words(target), folder_appearing(target, partial(require_free, overwrite=overwrite)) as result:
        folder = result if align is None else result.with_name("quantized")
        folder.mkdir(exist_ok=True)
        steps = write_weights(parent, chosen, drawn, folder, console)
        _write_rest(str(model), parent, chosen, steps, drawn, folder)
        say(f"checking the written weights and the scores of {len(pairs)} pairs", console)
        check_weights(parent, chosen, folder)
        check_scores(chosen, expected, _open(opened_before_named(Checkpoint.open, folder, target)), pairs)
        if align is not None:
            say("aligning the readout with the quantized layers", console)
            align(folder, result)
            check_scores(chosen, expected, _open(opened_before_named(Checkpoint.open, result, target)), pairs)
    say(f"where {scheme} runs: {chosen.runs_on}", console)
    return Checkpoint.open(target)


def check_parent(parent: Checkpoint, scheme: Scheme) -> None:
    """Require that a scheme is for this checkpoint.

    Raises:
        BadInput: it is quantized already, an encoder that the scheme is not for, or of a family that it does not know.
    """
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


def require_free(out: Path, *, overwrite: bool) -> None:
    """Require that a checkpoint may appear at `out`.

    Raises:
        BadInput: there is a file or a folder that is not empty; with `overwrite`, one that is no checkpoint.
    """
    if out.exists() and not out.is_dir():
        raise BadInput(f"{out}: there is a file of this name")
    if out.is_dir() and any(out.iterdir()):
        if not overwrite:
            raise BadInput(f"{out}: the folder exists and is not empty; choose another or overwrite it")
        if not (out / CARD).is_file():
            raise BadInput(f"{out}: only a checkpoint is overwritten, and this folder holds something else")


@contextmanager
def full_disk_in_words(out: Path) -> Iterator[None]:
    """Say in words that the disk is full, whatever the libraries, or the re-alignment, make of the system's error.

    Raises:
        BadInput: it is.
    """
    try:
        yield
    except (OSError, SafetensorError, BadInput) as error:
        if not is_full_disk(error):
            raise
        raise BadInput(
            f"{out}: the disk is full; free some space or choose a folder elsewhere, nothing was written"
        ) from error


def _open(checkpoint: Checkpoint) -> TransformersScorer:
    """Open a checkpoint without the progress bars of compressed-tensors."""
    with redirect_stderr(io.StringIO()):
        return TransformersScorer(checkpoint)


def _examples(parent: Checkpoint, scheme: Scheme, data: Dataset | None, limit: int, seed: int) -> ExamplePairs | None:
    """Return what the scheme sets its scales on, or None where it needs nothing."""
    if not scheme.needs_examples:
        return None
    if data is None:
        raise BadInput(f"{scheme.name} sets its scales on example pairs; name a data set with --examples")
    return ExamplePairs.draw(data, parent.prompt, limit, seed)


def _check_apart(out: Path, parent: Path) -> None:
    inner, outer = out.resolve(), parent.resolve()
    if inner == outer or inner in outer.parents or outer in inner.parents:
        raise BadInput(
            f"{out}: the output cannot be, hold or lie in the folder of the checkpoint that is quantized, {parent}"
        )


def _write_rest(
    given: str,
    parent: Checkpoint,
    scheme: Scheme,
    steps: Sequence[Modifier],
    examples: ExamplePairs | None,
    folder: Path,
) -> None:
    """Write the tokenizer, byte for byte, and the card with its new provenance; the parent's metrics are not ours."""
    for name in _TOKENIZER_FILES:
        if (parent.folder / name).is_file():
            shutil.copyfile(parent.folder / name, folder / name)
    made = Quantization(
        scheme=scheme.name,
        preset=scheme.preset,
        recipe=tuple(asdict(step) for step in steps),
        llmcompressor=version("llmcompressor"),
        calibration=None if examples is None else examples.record,
        parent=given,
        parent_fingerprint=parent.fingerprint,
    )
    provenance = parent.card.provenance.model_copy(update={"quantization": made, "metrics": None})
    parent.card.model_copy(update={"provenance": provenance}).save(folder)

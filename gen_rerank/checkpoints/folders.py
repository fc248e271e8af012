"""A model's folder: where it is, on this machine or on the hub, and its files that are small enough to read at once.

What the files must say is `card`'s and `checkpoint`'s.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from gen_rerank.errors import BadInput


def resolve_folder(name: str | Path) -> Path:
    """Return the local folder of a path, or of a hub name, which is downloaded or found in the cache.

    Raises:
        BadInput: there is no such folder, and the hub does not answer to the name either.
    """
    folder = Path(name)
    if folder.is_dir():
        return folder
    text = str(name)
    if not is_hub_name(text):
        raise BadInput(f"{text}: no such folder")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(text))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise BadInput(
            f"{text}: no such folder, and the hub gives no model of this name ({type(error).__name__}); "
            "give the path of a folder, or the name of a model on the hub, which must be reachable"
        ) from error


def is_hub_name(text: str) -> bool:
    """Return whether a text may name a model on the hub: an owner and a name, and no path that is there or almost.

    Example:
        >>> is_hub_name("Qwen/Qwen3-Reranker-0.6B"), is_hub_name("./model"), is_hub_name("model")
        (True, False, False)
    """
    return text.count("/") == 1 and not text.startswith((".", "/", "~")) and not Path(text).parent.is_dir()


def read_tokenizer(folder: Path) -> Tokenizer:
    """Return the fast tokenizer of a model folder.

    Raises:
        BadInput: `tokenizer.json` is missing or cannot be read.
    """
    file = folder / "tokenizer.json"
    if not file.is_file():
        raise BadInput(f"{folder}: tokenizer.json is missing")
    try:
        return Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises a bare Exception
        raise BadInput(f"{file}: not a tokenizer ({error})") from error


def single_token_id(tokenizer: Tokenizer, token: str) -> int:
    """Return the id of `token`.

    Raises:
        BadInput: the tokenizer has no such single token.
    """
    number: int | None = tokenizer.token_to_id(token)
    if number is None:
        pieces = len(tokenizer.encode(token, add_special_tokens=False))
        raise BadInput(f"the readout token {token!r} is not a single token of the tokenizer (it makes {pieces})")
    return number


def read_json(file: Path) -> dict[str, Any]:
    """Return the object that a JSON file holds.

    Raises:
        BadInput: it is not JSON, or not an object.
    """
    try:
        content = json.loads(file.read_bytes())
    except ValueError as error:
        raise BadInput(f"{file}: not valid JSON ({error})") from error
    if not isinstance(content, dict):
        raise BadInput(f"{file}: not a JSON object")
    return content

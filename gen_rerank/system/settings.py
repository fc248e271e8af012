"""A file of settings that people write, in YAML: read, or refused in one sentence. What it may say is the caller's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from gen_rerank.errors import BadInput


def read_settings(file: str | Path, what: str = "settings are a mapping of keys") -> dict[str, Any]:
    """Return the mapping that a YAML file holds; empty where the file is.

    Args:
        file: its path.
        what: the form that it must have, as the sentence about another one begins.

    Raises:
        BadInput: it cannot be read, is not YAML in UTF-8, or holds something else.

    Example:
        >>> read_settings("gates.yaml")  # doctest: +SKIP
        {'tier_flips': 0.01}
    """
    try:
        content = Path(file).read_bytes()
    except OSError as error:
        raise BadInput(f"{file}: cannot be read ({error.strerror})") from error
    try:
        given = yaml.safe_load(content)
    except RecursionError as error:
        raise BadInput(f"{file}: not valid YAML (it is nested too deeply)") from error
    except (yaml.YAMLError, ValueError) as error:  # a date that there is not is a ValueError
        said = " ".join(str(error).split()).replace('in "<byte string>", ', "at ")
        raise BadInput(f"{file}: not valid YAML, or not YAML at all ({said})") from error
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise BadInput(f"{file}: {what}, not a {type(given).__name__}")
    return given

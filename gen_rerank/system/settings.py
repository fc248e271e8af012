"""A file of settings that people write, in YAML: read, or refused in one sentence. What it may say is the caller's.

A key that nobody knows is refused with the nearest one that there is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from gen_rerank.errors import BadInput

Settings = TypeVar("Settings", bound=BaseModel)


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


def settings_of(kind: type[Settings], given: Mapping[str, Any], where: str) -> Settings:
    """Return settings as a pydantic model that forbids other keys, also within its sections.

    Args:
        kind: the model.
        given: a mapping from a file.
        where: the file, for the message.

    Raises:
        BadInput: an unknown key, with the nearest one, or a value that the model refuses; the first of them.
    """
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        if first["type"] == "extra_forbidden":
            *section, key = first["loc"]
            at = _dotted(section)
            refuse_unknown({str(key): None}, _known_at(kind, section), f"{where}: {at}" if at else where)
        raise refused_value(error, where) from error


def refused_value(error: ValidationError, where: str) -> BadInput:
    """Return the first thing that pydantic has against settings, as a sentence with the file and the key.

    Args:
        error: pydantic's.
        where: the file.
    """
    first = error.errors(include_url=False)[0]
    reason = first["msg"].removeprefix("Value error, ")
    key = _dotted(first["loc"])
    return BadInput(f"{where}: {key}: {reason}" if key else f"{where}: {reason}")


def refuse_unknown(given: Mapping[str, Any], known: Iterable[str], where: str) -> None:
    """Check that every key is known.

    Args:
        given: a mapping from a file.
        known: the names that it may have.
        where: file and section, for the message.

    Raises:
        BadInput: a key is not; the nearest name is offered.

    Example:
        >>> refuse_unknown({"alfa": 16}, ["r", "alpha"], "my.yaml: lora")
        Traceback (most recent call last):
        gen_rerank.errors.BadInput: my.yaml: lora: unknown key 'alfa'; did you mean 'alpha'?
    """
    known = list(known)
    for key in given:
        if key not in known:
            near = get_close_matches(str(key), known, n=1)
            raise BadInput(f"{where}: unknown key {key!r}" + (f"; did you mean {near[0]!r}?" if near else ""))


def _known_at(kind: type[BaseModel], section: Sequence[str | int]) -> list[str]:
    """Return the keys that a section may have; places in lists are passed over."""
    for part in section:
        if part in kind.model_fields:
            kind = next(_models_in(kind.model_fields[str(part)].annotation))
    return list(kind.model_fields)


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the models that an annotation names, in a list, a mapping or a choice too."""
    if isinstance(annotation, type) and not get_args(annotation) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models_in(part)


def _dotted(place: Sequence[str | int]) -> str:
    return ".".join(map(str, place))

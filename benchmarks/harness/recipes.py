"""Recipes that differ from a preset in a value or two, as files for `gen-rerank train`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from train.recipe import Recipe


def write_recipe(file: Path, preset: str, changes: Mapping[str, Any]) -> Path:
    """Write a preset with other values, unless it is there, and return the file."""
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        content = Recipe.load(preset).model_copy(update=changes).model_dump(mode="json", exclude_none=True)
        file.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return file

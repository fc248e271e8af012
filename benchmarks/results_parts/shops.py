"""The three shops of the results, and the recipes that each is trained by."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.steps import SCRIPTS


@dataclass(frozen=True)
class BenchmarkShop:
    """One data set of the benchmark.

    Attributes:
        name: of its folder.
        title: for people.
        command: what writes its folder, without `--out`.
        encoder: the cross-encoder's recipe.
        adapter: the adapter's recipe.
    """

    name: str
    title: str
    command: tuple[str, ...]
    encoder: Path
    adapter: Path


def shops(chorus: Path | None) -> list[BenchmarkShop]:
    """Return the shops; Chorus only if its folder is given."""
    recipes = SCRIPTS / "recipes"
    small, adapter = recipes / "minilm.yaml", SCRIPTS.parent / "train" / "recipes" / "adapter.yaml"
    found = [
        BenchmarkShop(
            "sample",
            "The embedded sample (synthetic)",
            ("gen-rerank", "sample"),
            recipes / "minilm-sample.yaml",
            recipes / "adapter-sample.yaml",
        ),
        BenchmarkShop(
            "strict", "A second shop, with strict people (synthetic)", ("catalogs.py", "strict"), small, adapter
        ),
    ]
    if chorus is not None:
        source = ("catalogs.py", "chorus", "--source", str(chorus))
        found.append(BenchmarkShop("chorus", "Chorus electronics (real)", source, small, adapter))
    return found

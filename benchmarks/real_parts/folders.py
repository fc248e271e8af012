"""The folders of the real shops: imported by our own commands, and mixed.

Home Depot's files are a data folder as they are; Chorus, the Quepid book and ESCI are imported. No mix holds Home
Depot's validation queries, nor Chorus' test queries: whoever trains on one of them has not read what `final` reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from gen_rerank.errors import BadInput
from harness.steps import CommandSteps

HOME_DEPOT, CHORUS, ESCI, QUEPID = "homedepot", "chorus", "esci", "quepid"
SCREEN, SCREEN_TRAIN = "screen", "screen-train"

_TRAIN = ("--only", "train")
# Each mix: what it is made of, and the options. One whose name is a part of another comes before it.
MIXES: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    SCREEN: ((HOME_DEPOT,), ("--hold-out", "0.2", "--pairs", "4000")),
    SCREEN_TRAIN: ((SCREEN,), _TRAIN),
    "screen-esci": ((SCREEN, ESCI), _TRAIN),
    "screen-chorus": ((SCREEN, CHORUS), _TRAIN),
    "screen-quepid": ((SCREEN, QUEPID), _TRAIN),
    "screen-all": ((SCREEN, ESCI, CHORUS, QUEPID), _TRAIN),
    "homedepot-train": ((HOME_DEPOT,), _TRAIN),
    "homedepot-esci": ((HOME_DEPOT, ESCI), _TRAIN),
    "homedepot-chorus": ((HOME_DEPOT, CHORUS), _TRAIN),
    "homedepot-quepid": ((HOME_DEPOT, QUEPID), _TRAIN),
    "homedepot-all": ((HOME_DEPOT, ESCI, CHORUS, QUEPID), _TRAIN),
}

_ESCI_SCALE = "E=1,S=0.5,C=0.2,I=0"  # the set's own gains put substitutes next to the irrelevant
_FILES = (
    "homedepot/products.jsonl.gz", "homedepot/queries.jsonl.gz", "homedepot/judgments.jsonl.gz",
    "chorus/products.jsonl.gz", "chorus/pairs.jsonl.gz", "esci/pairs.jsonl.gz", "quepid/book.json.gz",
)  # fmt: skip


@dataclass(frozen=True)
class RealFolders:
    """The data folders of one run of the benchmark.

    Attributes:
        out: of all results.
        console: where each command is printed.
    """

    out: Path
    console: Console

    def shop(self, name: str) -> Path:
        """Return a shop's folder, whether it is there or not."""
        return self.out / "data" / name

    def mix(self, name: str) -> Path:
        """Return a mix's folder, whether it is there or not."""
        return self.out / "mixes" / name

    def there(self, folder: Path) -> Path:
        """Return a folder that `make` makes.

        Raises:
            BadInput: it has not been made.
        """
        if not folder.is_dir():
            raise BadInput(f"{folder}: is not there yet; run python benchmarks/real.py data --out {self.out} first")
        return folder

    def make(self, source: Path) -> None:
        """Import and mix what is missing.

        Args:
            source: the folder with homedepot, chorus, esci and quepid.

        Raises:
            BadInput: a file is missing, or a command stopped.
        """
        for name in _FILES:
            if not (source / name).is_file():
                raise BadInput(f"{source / name}: no such file; --source is the folder with {', '.join(_FILES)}")
        steps = CommandSteps(self.out, self.console)
        self.shop(HOME_DEPOT).parent.mkdir(parents=True, exist_ok=True)
        if not self.shop(HOME_DEPOT).exists():
            self.shop(HOME_DEPOT).symlink_to((source / HOME_DEPOT).resolve())
        self._import_chorus(steps, source, CHORUS)
        # The book asks Chorus' queries too, of all three splits. So it is put in the place of Chorus' own judgments,
        # whose queries keep their splits; and of those that only the book has, all are for training.
        self._import_chorus(steps, source, QUEPID)
        book, shop = source / QUEPID / "book.json.gz", self.shop(QUEPID)
        self._add(steps, "quepid book", shop, book, "quepid", "--scale", "0-3", "--split", "1,0,0", "--replace")
        pairs, shop = source / ESCI / "pairs.jsonl.gz", self.shop(ESCI)
        self._add(steps, "esci", shop, pairs, "pairs", "--scale", _ESCI_SCALE, "--split", "1,0,0", "--replace")
        for name, (parts, options) in MIXES.items():
            folders = [self.mix(part) if part in MIXES else self.shop(part) for part in parts]
            steps.run(f"mix {name}", self.mix(name), "gen-rerank", "mix", *folders, *options)

    def _import_chorus(self, steps: CommandSteps, source: Path, name: str) -> None:
        """Import the catalog and the judged pairs, whose three raters' grades become labels."""
        products, pairs = source / CHORUS / "products.jsonl.gz", source / CHORUS / "pairs.jsonl.gz"
        self._add(steps, f"{name} products", self.shop(name), products, "feed", "--map", "brand=supplier")
        self._add(steps, f"{name} pairs", self.shop(name), pairs, "pairs", "--scale", "0-3", "--replace")

    def _add(self, steps: CommandSteps, name: str, shop: Path, source: Path, form: str, *options: str) -> None:
        """Import into a shop's folder; a step that was killed at its very end can be done again."""
        steps.add(name, shop, "gen-rerank", "import", source, shop, "--format", form, *options)

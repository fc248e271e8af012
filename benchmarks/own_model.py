"""From a shop's exports to a `small` of its own, as one transcript: the feed, graded pairs, a book of votes, the model.

Each command is one that a user types, and is printed with what it said. The shop is Chorus, or another that has a feed
of products and graded pairs of them; the book is Quepid's and of the same shop. `--document` writes the transcript,
shortened: the tables of an evaluation, counts and ids, and no text of the shop's but one query.

Run: python benchmarks/own_model.py --products products.jsonl.gz --pairs pairs.jsonl.gz --book book.json.gz
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from first_hour_parts.transcript import WIDTH, Transcript
from gen_rerank.errors import BadInput
from harness.command import run
from harness.this_run import ThisRun

PACKAGES = ("torch", "transformers", "trl")
_TITLE = "A model of your own"
_WORDS = """\
From a shop's exports to a trained and measured `small`, as `benchmarks/own_model.py` ran it in a clone where
`make install` had ended. Commands and their output are real; of long outputs a line says how much is left out.
[Import](importing.md), [training](training.md#small) and [evaluation](evaluating.md) explain what is seen here."""
_COUNTS = 16  # lines that say what an import read


@dataclass(frozen=True)
class OwnModel:
    """The walk.

    Attributes:
        folder: where everything is made.
        config: of the training.
        brand: the feed's column with the brand.
        scale: of the grades.
        transcript: of it.
    """

    folder: Path
    config: str
    brand: str
    scale: str
    transcript: Transcript

    def go(self, products: Path, pairs: Path, book: Path, query: str) -> None:
        """Import, mix, train, evaluate, and search for one query."""
        self._data(products, pairs, book)
        self._training()
        self._evaluation(query)

    def _data(self, products: Path, pairs: Path, book: Path) -> None:
        say, shop, votes = self.transcript, self.folder / "shop", self.folder / "votes"
        say.chapter(
            "The data",
            "The graded pairs bring their split by query. The book asks some of the same queries: they keep the split "
            "that they have, and all others of the book are for training. So it goes into a copy of the shop, and both "
            "are put together.",
        )
        for folder in (shop, votes):
            feed = ("import", products, folder, "--format", "feed", "--map", f"brand={self.brand}")
            graded = ("import", pairs, folder, "--format", "pairs", "--scale", self.scale, "--replace")
            say.run("gen-rerank", *feed, first=_COUNTS)
            say.run("gen-rerank", *graded, first=_COUNTS)
        voted = ("import", book, votes, "--format", "quepid", "--scale", self.scale, "--split", "1,0,0", "--replace")
        say.run("gen-rerank", *voted, first=_COUNTS)
        say.run("gen-rerank", "mix", shop, votes, "--out", self.folder / "both")

    def _training(self) -> None:
        say, model = self.transcript, self.folder / "model"
        say.chapter("The training", "How long it may take is said before. A killed run goes on with `--resume`.")
        data = ("--config", self.config, "--data", self.folder / "both", "--out", model)
        said = say.run("gen-rerank", "train", "distributional", *data, begin="an epoch: ")
        say.check(f"{model} is a checkpoint", holds=said.code == 0 and (model / "gen_rerank.json").is_file())

    def _evaluation(self, query: str) -> None:
        say, model = self.transcript, self.folder / "model"
        words = "On the test queries, which no choice was made on; then a search, whose answer is left out."
        say.chapter("What it is worth", words)
        say.run("gen-rerank", "evaluate", model, self.folder / "both", until="slice")
        index = self.folder / "index"
        say.run("gen-rerank", "index", self.folder / "shop", "--out", index, first=_COUNTS)
        say.run("gen-rerank", "search", index, query, "--model", model, "--top", "5", first=0)


def main(
    products: Annotated[Path, typer.Option(help="the feed")],
    pairs: Annotated[Path, typer.Option(help="graded pairs, with a split by query")],
    book: Annotated[Path, typer.Option(help="a book of Quepid's as JSON")],
    brand: Annotated[str, typer.Option(help="the feed's column with the brand")] = "supplier",
    scale: Annotated[str, typer.Option(help="of the grades in both")] = "0-3",
    config: Annotated[str, typer.Option(help="a preset or a recipe's file")] = "small",
    query: Annotated[str, typer.Option(help="that is asked at the end")] = "usb cable",
    out: Annotated[Path, typer.Option(help="where everything is made; nothing may lie there")] = Path("runs/own-model"),
    document: Annotated[Path | None, typer.Option(help="where the transcript goes, in Markdown")] = None,
) -> None:
    """Walk all of it."""
    about = ThisRun.now(PACKAGES)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise BadInput(f"--out {out}: something lies there; remove it, or name another folder")
    for file in (products, pairs, book):
        if not file.is_file():
            raise BadInput(f"{file}: no such file")
    out.mkdir(parents=True, exist_ok=True)
    transcript = Transcript(Console(width=WIDTH))
    OwnModel(out, config, brand, scale, transcript).go(products, pairs, book, query)
    if document is not None:
        document.write_text(transcript.document(_TITLE, about, _WORDS), encoding="utf-8")


if __name__ == "__main__":
    run(main)

"""The walk of first_hour.py: each chapter is a few commands, and what must be true after them."""

from __future__ import annotations

import filecmp
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from first_hour_parts.books import counted, must_count
from first_hour_parts.transcript import Transcript
from harness.recipes import write_recipe

_FEED, _LATER, _SHOP, _JUDGED = "messy.csv", "later.csv", "my-shop", "judged"
_PHASE_1, _MODEL, _SCORES = "phase1", "model", "scores.jsonl"
# What `export` writes for each format that comes back, and its scale; the qrels' own name is in a folder.
_FORMATS = (("trec", "trec", "0-100"), ("quepid", "ratings.csv", "0-3"), ("opensearch", "list.json", "0-3"))
_TREC_FILES = ("topics.tsv", "qrels.txt")
_REPORT_LINES, _TABLE_LINES = 40, 9
# Before these a document stops: what follows has ids and grades of single pairs, or rows that were shown before.
_REFUSED, _ROUNDED = "refused", "grades rounded"


@dataclass(frozen=True)
class Walk:
    """A shop's first hour.

    Attributes:
        folder: where everything is made; an empty one.
        book: the judgments, in `folder`.
        rows: of the feed.
        steps: of the training.
        transcript: of all that is done.
    """

    folder: Path
    book: Path
    rows: int
    steps: int
    transcript: Transcript

    def go(self) -> None:
        """Go all of it.

        Raises:
            BadInput: a command stopped.
        """
        self.feed()
        self.judgments()
        self.model()
        self.evaluation()
        self.exports()
        self.later_feed()
        self.mteb()

    def feed(self) -> None:
        """Import a feed whose faults are known."""
        say, report = self.transcript, self.folder / "import.json"
        say.chapter(
            "A feed",
            "A shop's export with faults of 32 kinds at known places. The import says what it changed and why it "
            "refused a row; its counts must be the planted ones.",
        )
        say.run("messy_feed.py", "write", self.folder / _FEED, "--rows", str(self.rows))
        source = ("gen-rerank", "import", self.folder / _FEED, self.folder / _SHOP, "--format", "feed")
        say.run(*source, "--report", report, first=_REPORT_LINES)
        self._compare(_FEED, report)

    def judgments(self) -> None:
        """Import a book of Quepid's."""
        say, report = self.transcript, self.folder / "book-import.json"
        say.chapter(
            "A book of judgments",
            "Votes of several people, as Quepid exports a book. What they saw of the products becomes the catalog of "
            "a folder of its own. Pairs and votes are counted in the book by other code than the import's.",
        )
        out = self.folder / _JUDGED
        options = ("--format", "quepid", "--scale", "0-3", "--split", "0.6,0.2,0.2", "--report", report)
        say.run("gen-rerank", "import", self.book, out, *options, until=_REFUSED)
        wanted, found = must_count(self.book), counted(read_json(report))
        told = ", ".join(f"{number:,} {what}" for what, number in wanted.items())
        say.check(f"the report counts what is in the book: {told}", holds=wanted == found)

    def model(self) -> None:
        """Train a small model on the judgments, in both phases."""
        say, recipe = self.transcript, self.folder / "small.yaml"
        say.chapter(
            "A small model",
            f"The preset `nano`, shortened to {self.steps} steps in a recipe of one's own. So few judgments of so few "
            "queries make no good model; they show that the machinery runs.",
        )
        preset = read_preset_changes(self.steps)
        write_recipe(recipe, "nano", preset)
        data = ("--config", recipe, "--data", self.folder / _JUDGED, "--out")
        say.run("gen-rerank", "train", "distributional", *data, self.folder / _PHASE_1, first=_TABLE_LINES)
        scalar = ("gen-rerank", "train", "scalar", "--model", self.folder / _PHASE_1, *data, self.folder / _MODEL)
        say.run(*scalar, begin=f"{self.folder / _MODEL}: ")

    def evaluation(self) -> None:
        """Compare both models beside the floors, with a gate, and look at one query."""
        say, model = self.transcript, self.folder / _MODEL
        say.chapter(
            "Two models side by side, a gate, one query",
            "A gate that fails ends the command with exit code 1, which is a result. The query is asked of the feed.",
        )
        gate = ("--gate", f"ndcg@5 of {_MODEL} - {_PHASE_1} >= -0.05")
        models = (self.folder / _PHASE_1, model, self.folder / _JUDGED)
        out = self.folder / "evaluation.json"
        said = say.run("gen-rerank", "evaluate", *models, "--dtype", "float32", *gate, "--out", out, may_end=(0, 1))
        (judged,) = read_json(out)["gates"]
        verdict = "holds" if judged["passed"] else "does not hold"
        say.check(
            f"the exit code {said.code} is that of a gate that {verdict}", holds=judged["passed"] == (said.code == 0)
        )
        query = ("rank", model, "blue desk", "--products", self.folder / _SHOP, "--top", "5", "--dtype", "float32")
        say.run("gen-rerank", *query)

    def exports(self) -> None:
        """Export judgments, import them again, export them once more: the files must be equal."""
        say, judged, sent = self.transcript, self.folder / _JUDGED, self.folder / "sent"
        say.chapter(
            "Out to other tools and in again",
            "What was exported is imported into a folder with the same catalog, and exported once more.",
        )
        score = ("score", self.folder / _MODEL, judged, "--dtype", "float32", "--out", self.folder / _SCORES)
        say.run("gen-rerank", *score)
        for name, file, scale in _FORMATS:
            runs = ("--scores", self.folder / _SCORES) if name == "trec" else ()
            say.run("gen-rerank", "export", judged, sent / file, "--format", name, *runs, until=_ROUNDED)
            back, again = self.folder / "back" / name, self.folder / "sent-again"
            back.mkdir(parents=True)
            shutil.copyfile(judged / "products.jsonl", back / "products.jsonl")
            say.run("gen-rerank", "import", sent / file, back, "--format", name, "--scale", scale)
            say.run("gen-rerank", "export", back, again / file, "--format", name, first=0)
            files = [f"{file}/{one}" for one in _TREC_FILES] if name == "trec" else [file]
            equal = all(filecmp.cmp(sent / one, again / one, shallow=False) for one in files)
            say.check(f"{' and '.join(files)} came back as {name} as {they(files)} went, byte by byte", holds=equal)
        ranx = ("export", judged, sent / "ranx", "--format", "ranx", "--scores", self.folder / _SCORES)
        say.run("gen-rerank", *ranx, first=0)
        grades = trec_grades(sent / "trec" / "qrels.txt")
        say.check("ranx's qrels hold the grades of TREC's", holds=read_json(sent / "ranx" / "qrels.json") == grades)

    def later_feed(self) -> None:
        """Import the feed again as the shop exports it later."""
        say, report = self.transcript, self.folder / "later.json"
        say.chapter(
            "The feed, a week later",
            "Some products are new, some have another price, some are gone. The products are replaced, and the report "
            "says which.",
        )
        say.run("messy_feed.py", "change", self.folder / _FEED, self.folder / _LATER)
        source = ("gen-rerank", "import", self.folder / _LATER, self.folder / _SHOP, "--format", "feed")
        say.run(*source, "--report", report, begin="│ changed ", until=_REFUSED)
        self._compare(_LATER, report)

    def mteb(self) -> None:
        """Run the model in mteb on the judged queries."""
        say, out = self.transcript, self.folder / "mteb.json"
        say.chapter(
            "In mteb",
            "The test queries as a reranking task of mteb's. With a way to the hub, `--task ERESSReranking` in place "
            "of `--data` runs the published one.",
        )
        data = ("--data", self.folder / _JUDGED, "--dtype", "float32", "--out", out)
        say.run("mteb_run.py", self.folder / _MODEL, *data)
        ((scores,),) = read_json(out).values()
        say.check("mteb's main score lies between 0 and 1", holds=0 < scores["main_score"] <= 1)

    def _compare(self, feed: str, report: Path) -> None:
        said = self.transcript.run("messy_feed.py", "compare", self.folder / feed, report, may_end=(0, 1))
        self.transcript.check(f"the report of {feed} counts what was planted", holds=said.code == 0)


def read_preset_changes(steps: int) -> dict[str, Any]:
    """Return what the preset `nano` has otherwise for a training of so many steps."""
    from train.recipe import Recipe

    distributional = Recipe.load("nano").distributional
    return {"distributional": {**distributional, "max_steps": steps, "save_strategy": "no", "eval_strategy": "no"}}


def they(files: list[str]) -> str:
    """Return the pronoun for one file or several.

    Example:
        >>> they(["a"]), they(["a", "b"])
        ('it', 'they')
    """
    return "they" if len(files) > 1 else "it"


def trec_grades(qrels: Path) -> dict[str, dict[str, int]]:
    """Return the grades of TREC's qrels by query and product."""
    grades: dict[str, dict[str, int]] = {}
    for line in qrels.read_text(encoding="utf-8").splitlines():
        query_id, _, product_id, grade = line.split()
        grades.setdefault(query_id, {})[product_id] = int(grade)
    return grades


def read_json(file: Path) -> Any:
    """Return what a command wrote as JSON."""
    return json.loads(file.read_text(encoding="utf-8"))

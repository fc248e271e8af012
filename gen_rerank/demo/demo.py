"""`gen-rerank demo`: the whole of the project once, on the sample shop, with the commands that a user types.

Each step is a command in a process of its own, timed and printed; a step that is done is kept, so an interrupted demo
goes on where it stopped. What the steps leave (scores, models, an answer over HTTP and one from an index) becomes
`summary.json` and `report.html`.
"""

from __future__ import annotations

import json
import shlex
import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.text import Text

from gen_rerank.calibration.promises import TIER_RELEVANCE
from gen_rerank.calibration.tiers import GOOD
from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.data.dataset import Dataset, judged_split
from gen_rerank.demo.report import write_report
from gen_rerank.errors import BadInput
from gen_rerank.evaluation.evaluation import ECE, HEADLINE, MSE, RPS, Evaluation, difference, evaluate
from gen_rerank.evaluation.floors import evaluate_floors
from gen_rerank.evaluation.intervals import Interval
from gen_rerank.evaluation.metrics import agreement
from gen_rerank.evaluation.scores import read_scores
from gen_rerank.evaluation.tables import difference_table, ranking_table, slices_table
from gen_rerank.evaluation.tier_figures import ModelTiers, model_tiers_table
from gen_rerank.reporting.numbers import ABSENT, bars
from gen_rerank.reporting.shell import say
from gen_rerank.reporting.tables import TextTable
from gen_rerank.system.processes import run_group
from gen_rerank.system.publishing import require_writable
from gen_rerank.system.server import start_server
from gen_rerank.system.steps import Steps

_SYSTEMS = {"phase1": "phase1", "phase2": "model", "int8": "model-int8"}
_COMPARED = (
    ("phase2", "bm25"),
    ("phase1", "random"),
    ("phase2", "random"),
    ("phase2", "phase1"),
    ("int8", "phase2"),
)
_CALIBRATION = {"rps": RPS, "mse": MSE, "ece": ECE}
_EXAMPLE_TAGS = ("compatibility", "brand_excluded", "gift")
_SERVED_QUERIES = 100
# Of the search with which the demo ends.
RULES = Path(__file__).with_name("rules.yaml")
_CLIENTS = 8


class Demo:
    """One demo in one folder.

    Args:
        out: where everything goes: `data/`, `phase1/`, `model/`, `model-int8/`, `scores/`, `index/`, `answer.json`,
            `summary.json`, `report.html`.
        seed: of the sample shop.
        config: the recipe of both phases.
        products: how many the shop has.
        queries: how many the shop has.
        console: where progress is printed.
    """

    def __init__(self, out: Path, *, seed: int, config: str, products: int, queries: int, console: Console) -> None:
        """Remember where the steps' times are kept."""
        self.out = out
        self.shop = ("--seed", str(seed), "--products", str(products), "--queries", str(queries))
        self.config = ("--config", config)
        self.console = console
        self.steps = Steps(out / "steps.json")

    def run(self) -> None:
        """Do all steps and write the report.

        Raises:
            BadInput: a step failed; its own message was printed before.
        """
        require_writable(self.out)
        data, models = self.out / "data", {name: self.out / folder for name, folder in _SYSTEMS.items()}
        self._step("sample", data, "sample", *self.shop)
        test = judged_split(data, "test")  # before the training: a shop of very few queries has none
        first, second = ("train", "distributional", *self.config), ("train", "scalar", *self.config)
        self._step("train_phase1", models["phase1"], *first, "--data", data)
        self._step("train_phase2", models["phase2"], *second, "--model", models["phase1"], "--data", data)
        self._step("quantize_int8", models["int8"], "quantize", models["phase2"], "--scheme", "int8")
        for name, folder in models.items():
            self._step(f"score_{name}", self._scores(name), "score", folder, data)
        self._step("score_vllm", self._scores("vllm"), "score", models["phase2"], data, "--backend", "vllm")
        start = time.perf_counter()
        systems = [*evaluate_floors(test), *(self._evaluation(name, test) for name in _SYSTEMS)]
        tiers = self._tiers(models, test)
        self.steps.record("evaluate", "", time.perf_counter() - start)
        start = time.perf_counter()
        serving = self._serve(models["phase2"], test)
        self.steps.record("serve", "", time.perf_counter() - start)
        self._step("index", self.out / "index", "index", data)
        asked = test.queries[example_queries(test)[0]].text
        answer = self.out / "answer.json"
        search = ("search", self.out / "index", asked, "--model", models["phase2"], "--top", "5")
        self._step("search", answer, *search, "--rules", RULES, "--explain")
        summary = self._summary(systems, Dataset.load(data), serving, json.loads(answer.read_text(encoding="utf-8")))
        summary["tiers"] = {name: one.to_json() for name, one in tiers.items()}
        (self.out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
        phase2 = read_scores(self._scores("phase2")).of(test)
        begins = tiers["phase2"].calibration.thresholds if "phase2" in tiers else {}
        write_report(self.out / "report.html", systems, summary, test, phase2, example_queries(test), begins)
        self._print(systems, tiers)

    def _step(self, name: str, output: Path, *command: str | Path) -> None:
        """Run one command with `--out output`, unless it is already done."""
        words = shlex.join([*map(str, command), "--out", str(output)])
        if output.exists() and self.steps.kept(name, words) is not None:
            self.console.print(Text(f"kept {output} ({name})", "dim"), soft_wrap=True)
            return
        self.console.print(Text(f"\n$ gen-rerank {words}", "bold"), soft_wrap=True)
        output.parent.mkdir(parents=True, exist_ok=True)
        for left in (output, output.with_name(output.name + ".training")):  # by a step that was killed
            if left.is_dir():
                shutil.rmtree(left)
        start = time.perf_counter()
        code = run_group([sys.executable, "-W", "ignore", "-m", "gen_rerank", *shlex.split(words)])
        if code:
            raise BadInput(f"the step {name} stopped with exit code {code}; its message is above")
        self.steps.record(name, words, time.perf_counter() - start)

    def _times(self) -> dict[str, float]:
        return {name: step["seconds"] for name, step in self.steps.finished().items()}

    def _scores(self, name: str) -> Path:
        return self.out / "scores" / f"{name}.jsonl"

    def _evaluation(self, name: str, test: Dataset) -> Evaluation:
        return evaluate(name, test, read_scores(self._scores(name)).of(test))

    def _tiers(self, models: dict[str, Path], test: Dataset) -> dict[str, ModelTiers]:
        """Return what the tiers of each model do on test queries, which chose none of them."""
        cards = {name: Checkpoint.open(folder).card for name, folder in models.items()}
        found = {
            name: ModelTiers.of(test, read_scores(self._scores(name)).of(test).mean, card.calibration)
            for name, card in cards.items()
        }
        return {name: one for name, one in found.items() if one is not None}

    def _serve(self, model: Path, test: Dataset) -> dict[str, Any]:
        """Start the endpoint, ask one query, the same without its good products, then many at once, and stop it."""
        self.console.print(Text(f"\n$ gen-rerank serve {model}", "bold"), soft_wrap=True)
        requests = list(rerank_requests(test).values())
        example = rerank_requests(test)[example_queries(test)[0]]
        poor = without_good_products(test)
        with start_server(model, served_name="sample-shop") as url, httpx.Client(base_url=url, timeout=120) as client:
            answer = client.post("/v1/rerank", json={**example, "top_n": 5, "return_documents": True})
            answer.raise_for_status()
            self._print_answer(example["query"], answer.json()["results"])
            nothing = client.post("/v1/rerank", json={**poor, "top_n": 3, "return_documents": True})
            nothing.raise_for_status()
            self._print_answer(f"{poor['query']}, no good product", nothing.json()["results"])
            say(f"no_good_match: {json.dumps(nothing.json().get('no_good_match'))}", self.console)
            wave = requests[:_SERVED_QUERIES]
            start = time.perf_counter()
            with ThreadPoolExecutor(_CLIENTS) as pool:
                for reply in pool.map(lambda body: client.post("/v1/rerank", json=body), wave):
                    reply.raise_for_status()
            seconds = time.perf_counter() - start
        pairs = sum(len(body["documents"]) for body in wave)
        return {
            "pairs_per_second": round(pairs / seconds, 1),
            "requests": len(wave),
            "concurrency": _CLIENTS,
            "example": {"query": example["query"], "results": answer.json()["results"]},
            "without_good_products": {
                "query": poor["query"],
                "documents": len(poor["documents"]),
                "no_good_match": nothing.json().get("no_good_match"),
                "results": nothing.json()["results"],
            },
        }

    def _summary(
        self, systems: list[Evaluation], dataset: Dataset, serving: dict[str, Any], answer: dict[str, Any]
    ) -> dict[str, Any]:
        by_name = {system.name: system for system in systems}
        splits = [query.split for query in dataset.queries.values()]
        test = dataset.of("test")
        same = agreement(
            read_scores(self._scores("phase2")).of(test).mean, read_scores(self._scores("vllm")).of(test).mean
        )
        bm25, phase2 = by_name["bm25"], by_name["phase2"]
        return {
            "data": {
                "products": len(dataset.products),
                "queries": {name: splits.count(name) for name in ("train", "validation", "test")},
                "fingerprint": dataset.fingerprint,
            },
            "ranking": {name: _rows(system.ranking) for name, system in by_name.items()},
            "difference": {f"{a}-{b}": _rows(difference(by_name[a], by_name[b])) for a, b in _COMPARED},
            "slices": {
                tag: {
                    "queries": found.queries,
                    "bm25": round(bm25.slices[tag].measures[HEADLINE].mean, 4),
                    "phase2": round(found.measures[HEADLINE].mean, 4),
                }
                for tag, found in phase2.slices.items()
                if HEADLINE in found.measures
            },
            "calibration": {
                name: {key: _mean(by_name[name], measure) for key, measure in _CALIBRATION.items()} for name in _SYSTEMS
            },
            "parity": {"max_abs_score_difference": round(same.max_difference, 5), "kendall_tau": round(same.tau, 5)},
            "serving": serving,
            "search": answer,
            "seconds": self._times(),
        }

    def _print_answer(self, query: str, results: list[dict[str, Any]]) -> None:
        table = TextTable(f"POST /v1/rerank · “{query}”")
        for column in ("Score", "± std", "Tier", "0 … relevance … 1", "Product"):
            table.add_column(column, no_wrap=column != "Product")
        for row in results:
            title = row["document"]["title"]
            cells = (f"{row['relevance_score']:.3f}", f"{row['std']:.2f}", row.get("tier", ABSENT))
            table.add_row(*cells, bars(row["distribution"]), title)
        self.console.print(table)

    def _print(self, systems: list[Evaluation], tiers: dict[str, ModelTiers]) -> None:
        by_name = {system.name: system for system in systems}
        self.console.print(ranking_table(systems))
        self.console.print(
            difference_table({
                "phase2 - bm25": difference(by_name["phase2"], by_name["bm25"]),
                "int8 - phase2": difference(by_name["int8"], by_name["phase2"]),
            })
        )  # fmt: skip
        self.console.print(slices_table([by_name["bm25"], by_name["phase2"]], HEADLINE))
        if tiers:
            self.console.print(model_tiers_table(tiers))
        times = self._times()
        training = times.get("train_phase1", 0) + times.get("train_phase2", 0)
        self.console.print(f"training {training:.0f} s, all steps {sum(times.values()):.0f} s")
        say(f"{self.out / 'report.html'}  {self.out / 'summary.json'}", self.console)


def example_queries(test: Dataset) -> list[str]:
    """Return one query id for each of three slices: the first in the file that only that slice holds, if any."""
    chosen = []
    for tag in _EXAMPLE_TAGS:
        tagged = [key for key, query in test.queries.items() if tag in query.tags]
        alone = [key for key in tagged if len(test.queries[key].tags) == 1]
        chosen += (alone or tagged or list(test.queries))[:1]
    return chosen


def rerank_requests(test: Dataset) -> dict[str, dict[str, Any]]:
    """Return the `/v1/rerank` body of each query: its candidates as product objects, distributions asked for."""
    return {
        query_id: {
            "query": test.queries[query_id].text,
            "documents": [test.products[row.product_id].model_dump(exclude_none=True) for row in rows],
            "return_distribution": True,
        }
        for query_id, rows in test.by_query().items()
    }


def without_good_products(test: Dataset) -> dict[str, Any]:
    """Return the `/v1/rerank` body of a query with those of its candidates alone that are judged to be no good match.

    It is the first example that has such candidates; the sample shop gives some to every query.
    """
    requests, judged = rerank_requests(test), test.by_query()
    bodies = []
    for query_id in (*example_queries(test), *judged):
        rows = zip(requests[query_id]["documents"], judged[query_id], strict=True)
        poor = [document for document, row in rows if row.relevance < TIER_RELEVANCE[GOOD]]
        bodies += [{**requests[query_id], "documents": poor}] if poor else []
    return bodies[0]


def _rows(found: dict[str, Interval]) -> dict[str, list[float]]:
    return {name.lower(): [round(x, 4) for x in (i.mean, i.low, i.high)] for name, i in found.items()}


def _mean(system: Evaluation, name: str) -> float:
    assert system.calibration is not None, "a model has distributions"
    return round(system.calibration[name].mean, 4)

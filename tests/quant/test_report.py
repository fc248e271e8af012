"""The report of a comparison: its figures are the comparison's, gaps have reasons, hostile names stay text, points lie where they should."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from io import StringIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from gen_rerank.evaluation.metrics import Interval
from quant.comparison import (
    Candidate,
    Check,
    Comparison,
    Cost,
    Drift,
    Histogram,
    LayerError,
    Quality,
    SliceChange,
    System,
    Verdict,
    Visit,
    WorstPair,
)
from quant.report import (
    cost_table,
    duration,
    figure,
    flip_matrix,
    front,
    pareto_plots,
    prose,
    sentence,
    significant,
    size,
    spread,
    tables,
    write_report,
)

HOSTILE = "<script>alert(1)</script> a|b `x` *y* [z](w) [/red]"
REFUSED = "the row of <|rel_3|> gives logits that are not finite"
NO_KERNEL = "vLLM has no kernel for this scheme on this machine: Failed to find a kernel"
DECODED = "transformers decodes the weights at load, so that its speed says nothing of the scheme."
VOID = {"meta", "br", "hr", "img", "input", "link"}
GATES = {
    "template": "same",
    "ndcg@5": "lower bound at least -0.005",
    "tier_flips": "at most 1.0%",
    "served": "at most 0.05",
}


class Page(HTMLParser):
    """What a browser would see; refuses tags that are not closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.words += data.split()

    @property
    def text(self) -> str:
        return " ".join(self.words).replace(" : ", ": ")

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def quality(ndcg5: float) -> Quality:
    names = {"nDCG@5": ndcg5, "nDCG@10": ndcg5 + 0.02, "RPS": 0.09, "MSE": 0.03, "ECE(10 bins)": 0.02}
    return Quality(measures={name: Interval(value, value - 0.03, value + 0.03) for name, value in names.items()})


def drift(spread: float, flips: dict[str, int]) -> Drift:
    moved = np.random.default_rng(0).laplace(0, spread, 1200)
    counts, edges = np.histogram(np.clip(moved, -1, 1), np.linspace(-1, 1, 201))
    return Drift(
        mean_change=float(np.abs(moved).mean()),
        p99_change=float(np.quantile(np.abs(moved), 0.99)),
        largest_change=float(np.abs(moved).max()),
        jensen_shannon=spread / 10,
        p99_jensen_shannon=spread,
        kendall_tau=1 - spread,
        top5_kept=1 - spread / 2,
        top5_changed=spread,
        tier_flips=sum(flips.values()) / 1200,
        flips=flips,
        saturated=0.0,
        changes=Histogram(edges=tuple(edges.tolist()), counts=tuple(counts.tolist())),
    )


def visits(rate: float, resident: int) -> tuple[Visit, ...]:
    return tuple(
        Visit(
            start_seconds=20.5 * slower,
            resident_bytes=round(resident * slower),
            pairs_per_second=rate / slower,
            p50_seconds=64 / rate * slower,
            p95_seconds=80 / rate * slower,
        )
        for slower in (1.0, 0.98, 1.04)
    )


def verdicts(**failed: tuple[bool | None, str, str]) -> tuple[Verdict, ...]:
    rows = []
    for gate, limit in GATES.items():
        passed, measured, meaning = failed.get(
            gate.replace("@", ""), (True, "0.0004 (floor 0.0000)", "guards what it guards.")
        )
        rows.append(Verdict(gate=gate, passed=passed, measured=measured, limit=limit, meaning=meaning))
    return tuple(rows)


def slices(worst: float) -> dict[str, SliceChange]:
    return {
        "typo": SliceChange(queries=31, ndcg5=Interval(worst, worst - 0.02, worst + 0.015), mean_change=0.012),
        "brand_excluded": SliceChange(queries=44, ndcg5=Interval(0.004, -0.006, 0.013), mean_change=0.007),
        "a|tag": SliceChange(queries=1, ndcg5=Interval(0.0, 0.0, 0.0), mean_change=0.0),
    }


def worst(count: int) -> tuple[WorstPair, ...]:
    flat, peak = (1 / 11,) * 11, (0.0,) * 8 + (0.1, 0.3, 0.6)
    return tuple(
        WorstPair(
            query_id=f"q{i}",
            query="desk without drawers\n| oak",
            tags=("negation",) if i % 2 else (),
            product_id=f"p{i}",
            title=f"Writing desk {i} {HOSTILE}",
            relevance=0.2,
            reference_score=0.95,
            candidate_score=0.95 - 0.4 / (i + 1),
            reference_distribution=peak,
            candidate_distribution=flat,
        )
        for i in range(count)
    )


def candidate(name: str, scheme: str, ndcg5: float, disk: int, **given) -> Candidate:
    delta = ndcg5 - 0.87
    whole = {"nDCG@5": Interval(delta, delta - 0.004, delta + 0.004), "RPS": Interval(0.006, 0.001, 0.011)}
    checks = (Check(name="base", held=True, finding="All rows and norms are the reference's."),)
    layers = tuple(
        LayerError(layer=f"model.layers.{i}.mlp.down_proj", relative_error=0.01 / (i + 1), scale=1 - 0.001 * i)
        for i in range(10)
    )
    values = {
        "realigned": False,
        "quality": quality(ndcg5),
        "delta": whole,
        "checks": checks,
        "layers": layers,
        "slices": slices(delta),
        "worst": worst(20),
    }
    return Candidate(name=name, folder=f"runs/{name}", scheme=scheme, disk_bytes=disk, **values | given)


def comparison() -> Comparison:
    flips = {"exact>close": 40, "close>irrelevant": 30, "irrelevant>close": 3}
    served = Cost(
        engine="vllm",
        dtype="bfloat16",
        visits=visits(1900, 410_000_000),
        served_change=0.0031,
        served_largest=0.0412,
        served_pairs=256,
    )
    refused = Cost(engine="vllm", dtype="bfloat16", unmeasured=NO_KERNEL)
    decoded = Cost(engine="transformers", dtype="bfloat16", unmeasured=DECODED)
    return Comparison(
        date="2026-05-04T10:11:12+00:00",
        version="0.1.0",
        commit=None,
        machine="2 cores of an x86-64 machine, 24 GiB",
        data="runs/shop",
        fingerprint="0123456789abcdef",
        split="test",
        queries=80,
        pairs=1200,
        floors={
            "random": Quality(measures={"nDCG@5": Interval(0.52, 0.48, 0.56), "nDCG@10": Interval(0.6, 0.57, 0.63)}),
            "bm25": Quality(measures={"nDCG@5": Interval(0.71, 0.66, 0.75), "nDCG@10": Interval(0.75, 0.71, 0.79)}),
        },
        thresholds={"exact": 0.8, "close": 0.5},
        thresholds_source="defaults; the checkpoint has none",
        candidates_per_query=64,
        reference=System(
            name="shop-model",
            folder="runs/shop-model",
            scheme="none",
            realigned=False,
            disk_bytes=3_400_000,
            quality=quality(0.87),
            cost=(
                Cost(
                    engine="vllm", dtype="bfloat16", visits=visits(1200, 500_000_000), served_change=0.0021, served_largest=0.003, served_pairs=256
                ),
                Cost(engine="transformers", dtype="bfloat16", visits=visits(800, 450_000_000)),
            ),
        ),
        floor=drift(0.0002, {}),
        slice_floor={"typo": 0.0007, "brand_excluded": 0.0006, "a|tag": 0.0},
        candidates=(
            candidate(
                "int8", "int8", 0.871, 2_100_000, drift=drift(0.004, {"exact>close": 2}), verdicts=verdicts(), cost=(served, decoded)
            ),
            candidate(
                HOSTILE,
                "mxfp4",
                0.842,
                1_400_000,
                realigned=True,
                drift=drift(0.05, flips),
                verdicts=verdicts(
                    tier_flips=(False, "6.1% (floor 0.0%)", "6.1% of pairs change tier, at most 1.0% is allowed."),
                    ndcg5=(False, "-0.032", "the ranking loses up to 0.032 nDCG@5."),
                    served=(None, "–", "vLLM did not serve it."),
                ),
                cost=(refused, decoded),
                slices={},
            ),
            candidate(
                "nvfp4", "nvfp4", 0.865, 1_500_000, quality=None, refused=REFUSED, delta={}, slices={}, worst=(), layers=(),
                checks=(Check(name="readout", held=False, finding="the row of <|rel_3|> is zero."),),
                verdicts=verdicts(template=(False, "not scored", "it could not be scored.")),
            ),
            candidate(
                "nf4 (bitsandbytes)", "nf4", 0.866, 3_400_000, checks=(), layers=(), drift=drift(0.02, {"close>exact": 9}),
                verdicts=verdicts(), cost=(Cost(engine="transformers", dtype="bfloat16", visits=visits(300, 300_000_000)),),
            ),
        ),
    )  # fmt: skip


@pytest.fixture(scope="module")
def result() -> Comparison:
    return comparison()


@pytest.fixture(scope="module")
def folder(result, tmp_path_factory):
    out = tmp_path_factory.mktemp("report")
    write_report(result, out)
    return out


@pytest.fixture(scope="module")
def page(folder) -> Page:
    return Page((folder / "report.html").read_text())


@pytest.fixture(scope="module")
def markdown(folder) -> str:
    return (folder / "report.md").read_text()


def rows_of(comparison: Comparison) -> tuple[System, ...]:
    return (comparison.reference, *comparison.candidates)


def test_every_candidate_gate_and_reason_is_said(result, page, markdown):
    for text, escaped in ((page.text, str), (markdown, prose)):
        for one in result.candidates:
            assert escaped(one.name) in text
            assert escaped(sentence(one)) in text
            for failed in one.failures:
                assert f"{escaped(failed.gate)}: " in text
                assert escaped(failed.meaning.rstrip(".")) in text
                assert escaped(failed.limit) in text
        for reason in (REFUSED, NO_KERNEL, DECODED, "What could not be scored has no cost."):
            assert escaped(reason) in text
        for said in (
            result.machine,
            result.date,
            result.fingerprint,
            result.thresholds_source,
            "noise floor",
            "random",
            "bm25",
        ):
            assert said in text
    assert "the row of <|rel_3|> is zero." in page.text
    assert "model.layers.9.mlp.down_proj 0.10% 0.9910" in page.text
    assert page.text.startswith("Comparison with shop-model 2 of 4 candidates can ship")


def test_the_verdicts_are_plain():
    int8, mxfp4, nvfp4, _ = comparison().candidates
    assert sentence(int8) == "int8: ship it. All 4 gates pass."
    unserved = f" vLLM did not serve it here: {NO_KERNEL}."
    assert sentence(mxfp4.model_copy(update={"name": "mxfp4", "verdicts": mxfp4.verdicts[2:3]})) == (
        f"mxfp4: do not ship. tier_flips: 6.1% of pairs change tier, at most 1.0% is allowed.{unserved}"
    )
    assert sentence(int8.model_copy(update={"cost": mxfp4.cost})) == f"int8: ship it. All 4 gates pass.{unserved}"
    unmeasured = " What vLLM serves was not measured."
    assert sentence(mxfp4.model_copy(update={"cost": ()})).endswith(
        f"ndcg@5: the ranking loses up to 0.032 nDCG@5. Nor do these pass: tier_flips, served.{unmeasured}"
    )
    for cost in ((), int8.cost[1:]):  # none was measured; or, as of a load-time row, that of transformers
        assert sentence(int8.model_copy(update={"cost": cost})) == f"int8: ship it. All 4 gates pass.{unmeasured}"
    assert sentence(nvfp4.model_copy(update={"verdicts": ()})) == f"nvfp4: do not ship. {REFUSED}.{unmeasured}"
    assert sentence(int8.model_copy(update={"verdicts": ()})) == "int8: do not ship. No gate was judged."


@pytest.mark.parametrize(("chosen", "title"), [(0, "int8 can ship"), (2, "nvfp4 cannot ship")])
def test_a_single_candidate_is_named_in_the_title(result, tmp_path, chosen, title):
    write_report(result.model_copy(update={"candidates": result.candidates[chosen : chosen + 1]}), tmp_path)
    assert Page((tmp_path / "report.html").read_text()).text.startswith(f"Comparison with shop-model {title}")


def test_the_figures_are_the_comparisons(result, page):
    for one in rows_of(result):
        for interval in one.quality.measures.values() if one.quality else ():
            assert f"{figure(interval.mean)} {figure(interval.low)} – {figure(interval.high)}" in page.text
    int8 = result.candidates[0]
    assert "+0.0010 -0.0030 to +0.0050" in page.text
    assert "+0.0060 +0.0010 to +0.0110 worse" in page.text
    for drift in (result.floor, int8.drift):
        cells = (drift.mean_change, drift.p99_change, drift.largest_change, drift.jensen_shannon)
        assert " ".join(figure(value, ".4f") for value in cells) in page.text
    for pair in int8.worst:
        assert f"{pair.query_id} · {pair.product_id} · judged 0.20" in page.text
    assert "typo 31 +0.0010 -0.0190 to +0.0160 0.0120 floor 0.0007" in re.sub(r"typo: .*? queries ", "", page.text)


def test_the_page_is_one_file_that_loads_nothing(folder, page):
    text = (folder / "report.html").read_text()
    assert not re.search(r"url\(|@import|http|<script", text)
    assert not {"script", "link", "img", "iframe", "object", "b:script"} & {tag for tag, _ in page.tags}
    assert not any(name == "src" or name.startswith("on") for _, attributes in page.tags for name in attributes)
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = [attributes["href"] for attributes in page.all("a")]
    assert len(links) > 20
    assert {link.removeprefix("#") for link in links} <= set(ids)


def test_every_drawing_has_a_title_and_no_coordinate_is_broken(page):
    drawings = [place for place, (tag, _) in enumerate(page.tags) if tag == "svg"]
    assert len(drawings) == 2 + 4 + 2 * 3 + 3 * 20 * 2  # Pareto, score changes, slices, distributions
    assert all(page.tags[place + 1][0] == "title" for place in drawings)
    for tag, attributes in page.tags:
        for name in {"x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "width", "height"} & set(attributes):
            assert 0 <= float(attributes[name] or "") <= 520, (tag, attributes)


def test_points_lie_where_the_figures_say(result, page):
    circles = page.all("circle")
    assert [one["data-system"] for one in circles] == [
        "shop-model", "int8", HOSTILE, "nf4 (bitsandbytes)", "shop-model", "int8",
    ]  # fmt: skip
    disk = {one["data-system"]: (float(one["cx"]), float(one["cy"]), one["class"]) for one in circles[:4]}
    assert disk[HOSTILE][0] < disk["int8"][0] < disk["shop-model"][0] == disk["nf4 (bitsandbytes)"][0]
    assert disk["int8"][1] < disk["shop-model"][1] < disk["nf4 (bitsandbytes)"][1] < disk[HOSTILE][1]
    # Axes begin at 0 MB and end at 4 MB, over 300 units from 44.
    assert disk["int8"][0] == pytest.approx(44 + 300 * 2.1 / 4, abs=0.05)
    assert {name for name, (_, _, kind) in disk.items() if kind == "on"} == {"int8", HOSTILE}
    slow, fast = circles[4:]
    assert float(slow["cx"]) < float(fast["cx"])
    assert (slow["class"], fast["class"]) == ("off", "on")


def test_what_was_not_measured_is_named_under_the_plot(result):
    disk, speed = pareto_plots(result)
    assert disk.unmeasured == (("nvfp4", REFUSED),)
    assert dict(speed.unmeasured) == {
        HOSTILE: NO_KERNEL,
        "nvfp4": REFUSED,
        "nf4 (bitsandbytes)": "its throughput in vLLM was not measured in this run.",
    }
    for plot in (disk, speed):
        assert len(plot.points) + len(plot.unmeasured) == len(rows_of(result))


def test_no_cell_of_cost_is_blank_and_every_dash_has_its_reason(result):
    table = cost_table(result)
    assert len(table.notes) == len(set(table.notes)) == 4
    for row in table.rows:
        for cell in row.cells:
            assert cell.text
            assert ("–" in (cell.text, cell.ratio)) == (1 <= cell.note <= len(table.notes))
    reference, int8, refused, *_ = table.rows
    assert [cell.text for cell in int8.cells] == ["410 MB", "20.5 s", "1,900", "33.7 ms", "42.1 ms", "0.0031"]
    assert [cell.ratio for cell in int8.cells] == ["0.82×", "1.00×", "1.58×", "0.63×", "0.63×", ""]
    assert reference.cells[0].extent == "490 MB – 520 MB"
    assert int8.cells[-1].extent == "largest 0.0412 of 256 pairs"
    assert {table.notes[cell.note - 1] for cell in refused.cells} == {NO_KERNEL}


def test_a_ratio_needs_the_reference_with_the_same_engine(result):
    reference = result.reference.model_copy(
        update={"cost": (Cost(engine="vllm", dtype="bfloat16", unmeasured=NO_KERNEL),)}
    )
    table = cost_table(result.model_copy(update={"reference": reference, "candidates": result.candidates[:1]}))
    cell = table.rows[1].cells[2]
    assert (cell.text, cell.ratio) == ("1,900", "–")
    assert table.notes[cell.note - 1] == f"No ratio: the reference was not measured with vllm: {NO_KERNEL}"


def test_visits_that_were_cut_short_say_so(result):
    given = [
        visit.model_copy(update={"pairs": pairs, "queries": 8})
        for visit, pairs in zip(visits(100, 10**9), (512, 256, 700), strict=True)
    ]
    cost = Cost(engine="vllm", dtype="bfloat16", visits=tuple(given), unmeasured="The fourth visit ran out of time.")
    row = cost_table(
        result.model_copy(update={"reference": result.reference.model_copy(update={"cost": (cost,)}), "candidates": ()})
    ).rows[0]
    assert row.visits == "3 visits: 256 pairs, 8 queries"
    assert row.note == 1


def test_how_far_visits_differ_stands_beside_the_median(page, markdown):
    assert "1,900 1.58× 1,827 – 1,939" in page.text
    assert "| 1,900 (1.58×; 1,827 – 1,939) |" in markdown
    assert "| 0.0031 (largest 0.0412 of 256 pairs) |" in markdown


@pytest.mark.parametrize(("count", "said"), [(0, ""), (1, ", 1 bad row left out"), (1200, ", 1,200 bad rows left out")])
def test_what_was_left_out_of_the_data_is_said(result, tmp_path, count, said):
    write_report(result.model_copy(update={"skipped": count}), tmp_path)
    for text in (Page((tmp_path / "report.html").read_text()).text, (tmp_path / "report.md").read_text()):
        assert f"1,200 judged pairs{said}" in text.split("gen_rerank 0.1.0")[0]
        assert ("left out" in text) == bool(count)


def test_a_run_without_costs_says_so_first(result, tmp_path, page, markdown):
    said = "Costs were not measured"
    assert said not in page.text
    assert said not in markdown
    systems = [one.model_copy(update={"cost": ()}) for one in rows_of(result)]
    write_report(result.model_copy(update={"reference": systems[0], "candidates": tuple(systems[1:])}), tmp_path)
    text = Page((tmp_path / "report.html").read_text()).text
    assert text.index(said) < text.index("Δ is candidate − reference")
    text = (tmp_path / "report.md").read_text()
    assert text.index(said) < text.index("## Quality")


def test_whose_memory_and_which_dtype_is_said(result, tmp_path, page, markdown):
    cached = tuple(visit.model_copy(update={"cache_bytes": 940_000_000}) for visit in visits(1200, 2 * 10**9))
    reference = result.reference.model_copy(
        update={"cost": (Cost(engine="vllm", dtype="bfloat16", visits=cached), result.reference.cost[1])}
    )
    write_report(result.model_copy(update={"reference": reference}), tmp_path)
    said = "with a key-value cache of 8,192 tokens for every system"
    for name, text in (("report.html", page.text), ("report.md", markdown)):
        assert "resident memory of the host, of all processes" in text
        assert "no measure of a GPU's memory" in text
        assert "in float32 on a CPU and in bfloat16 on a GPU, also that of what is quantized while loading" in text
        assert said not in text
        assert said in (tmp_path / name).read_text()
    assert "3 visits; 940 MB of the memory is cache" in Page((tmp_path / "report.html").read_text()).text


def test_rows_of_a_markdown_table_have_one_number_of_cells(markdown):
    tables = [block.splitlines() for block in markdown.split("\n\n") if block.startswith("|")]
    assert len(tables) == 6 + 3
    for table in tables:
        assert len(table) >= 3
        assert re.fullmatch(r"\|( ---:? \|)+", table[1])
        cells = [re.split(r"(?<!\\)\|", line) for line in table]
        assert {len(row) for row in cells} == {len(cells[0])}, table
        assert all(cell.strip() for row in cells for cell in row[1:-1])
    assert "<" not in markdown
    assert "desk without drawers \\| oak" in markdown


def test_the_noise_floor_is_the_first_row_of_drift(result, markdown):
    rows = markdown.split("## Drift")[1].split("## Cost")[0].strip().splitlines()
    assert rows[2].startswith(f"| noise floor | {result.floor.mean_change:.4f} | {result.floor.p99_change:.4f} |")


def test_the_terminal_shows_verdicts_first_and_escapes_names(result):
    console = Console(width=240, file=StringIO())
    found = tables(result)
    for table in found:
        console.print(table)
    text = console.file.getvalue()
    assert len(found) == 3
    assert text.startswith("✓ int8: ship it. All 4 gates pass.")
    assert text.count("[/red]") >= 4
    assert "+0.0010 [-0.0030, +0.0050]" in text
    for failed in (failed for one in result.candidates for failed in one.failures):
        assert failed.gate in text
    assert len(tables(result.model_copy(update={"candidates": result.candidates[:1]}))) == 2


def test_a_comparison_without_scores_cost_tags_or_gates_still_has_a_report(result, tmp_path):
    bare = Candidate(name="x", folder="x", scheme="fp8", realigned=False, disk_bytes=10, quality=None, refused=REFUSED)
    reference = result.reference.model_copy(update={"cost": (), "disk_bytes": 0})
    write_report(result.model_copy(update={"reference": reference, "candidates": (bare,), "floors": {}}), tmp_path)
    text = Page((tmp_path / "report.html").read_text()).text
    for said in (
        "No gate was set.",
        "No candidate was scored.",
        f"x: {REFUSED}",
        "its throughput in vLLM was not measured",
    ):
        assert said in text
    assert "nan" not in (tmp_path / "report.md").read_text().split()


def test_the_matrix_of_flips(result):
    flips = flip_matrix(result, result.candidates[1].drift)
    assert flips.tiers == ("exact", "close", "irrelevant")
    assert flips.rows == ((None, 40, 0), (0, None, 30), (0, 3, None))
    assert flips.kept == 1200 - 73


@given(
    st.floats(min_value=-1e9, max_value=1e9) | st.sampled_from([float("nan"), float("inf"), -0.0]),
    st.sampled_from([".3f", "+.4f", ".2%", ",.0f"]),
)
def test_figures_are_never_nan_nor_a_signed_zero(value, form):
    text = figure(value, form)
    assert "nan" not in text
    assert "inf" not in text
    assert text == "–" or re.search("[1-9]", text) or text[0] == "0"


@given(st.floats(min_value=1e-4, max_value=1e12))
def test_three_significant_digits(value):
    assert float(significant(value).replace(",", "")) == pytest.approx(value, rel=0.0051)
    assert "e" not in significant(value)


def test_units():
    assert [size(count) for count in (0, 512, 2_100_000, 1_190_000_000)] == [
        "0 bytes",
        "512 bytes",
        "2.10 MB",
        "1.19 GB",
    ]
    assert [duration(seconds) for seconds in (0.0312, 20.5)] == ["31.2 ms", "20.5 s"]


@given(st.lists(st.floats(0, 1), max_size=30), st.floats(0.001, 0.3))
def test_labels_keep_their_order_and_their_distance(places, gap):
    moved = spread(places, gap)
    assert all(-1e-9 <= place <= 1 + 1e-9 for place in moved)
    ordered = [place for _, place in sorted(zip(places, moved, strict=True))]
    room = min(gap, 1 / max(len(places) - 1, 1))
    assert all(b - a >= room - 1e-9 for a, b in zip(sorted(moved), sorted(moved)[1:], strict=False))
    assert ordered == sorted(ordered)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=12))
def test_the_front_holds_what_nobody_beats(points):
    kept = [point for point, is_front in zip(points, front(points), strict=True) if is_front]
    assert kept
    assert max(points) in kept
    for point in points:
        assert point in kept or any(a >= point[0] and b >= point[1] for a, b in kept)

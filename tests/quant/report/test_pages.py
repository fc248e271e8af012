"""The pages: figures are the comparison's, gaps have reasons, hostile names stay text, points lie where they should."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from gen_rerank.reporting.markdown import prose
from gen_rerank.reporting.numbers import figure
from quant.comparison import Candidate, Cost
from quant.report.pages import write_report
from quant.report.words import sentence
from tests.quant.report.conftest import DECODED, HOSTILE, NO_KERNEL, REFUSED, rows_of, visits

VOID = {"meta", "br", "hr", "img", "input", "link"}


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

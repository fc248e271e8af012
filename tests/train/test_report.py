"""The documents of a run: their figures are its own, they load nothing, hostile names stay text, gaps are said."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
import yaml
from huggingface_hub import ModelCard

from gen_rerank.checkpoints.card import Card, Provenance, Readout
from gen_rerank.evaluation.evaluation import ECE, RPS, difference
from gen_rerank.prompting.prompt import PromptSpec
from train.report import figures, write_model_card, write_training_report
from train.training_run import TrainingRun

HOSTILE = "</title><script>alert(1)</script> `x` ```|*_[a](b) & \"quoted\" 'so'\n# heading"
VOID = {"meta", "br", "hr", "img", "input", "link"}
CARD = Card(
    readout=Readout(token_ids=tuple(range(100, 111))), prompt=PromptSpec(), provenance=Provenance(commit="c0ffee")
)


class Page(HTMLParser):
    """Collects what a browser would see; refuses tags that are not closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
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
        tag = self.open[-1] if self.open else ""
        self.texts.setdefault(tag, []).append(data)
        self.words += data.split() if tag != "style" else []

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.tags)

    @property
    def text(self) -> str:
        return " ".join(self.words)


def page(folder, run) -> Page:
    write_training_report(folder, run)
    return Page((folder / "training.html").read_text())


def test_the_page_says_what_the_run_measured(run, tmp_path):
    text = page(tmp_path, run).text
    gain = difference(run.after, run.before)
    for system in run.systems:
        assert system.name in text
        for interval in figures(system).values():
            assert f"{interval.mean:.3f} {interval.low:.3f} – {interval.high:.3f}" in text
    for name in ("nDCG@5", RPS):
        assert f"{gain[name].mean:+.3f} {gain[name].low:+.3f} to {gain[name].high:+.3f}" in text
    for said in ("231.4", "123,456", "3.4%", "212 s", run.fingerprint, "training, last 0.5", "validation, last 0.625"):
        assert said in text
    assert "σ_max at 0.5 0.130 ± 0.004" in text
    assert "label 0.50: 0.125 ± 0.020, 84 pairs" in text
    assert "nothing about delta at 0.8" in text
    assert "12 queries, 180 judgments" in text
    assert yaml.safe_dump(run.recipe, sort_keys=False).splitlines()[-1] in (tmp_path / "training.html").read_text()
    assert "not measured" not in text.lower()


def test_the_reliability_diagrams_have_the_bins_of_before_and_after(run, tmp_path):
    text = page(tmp_path, run).text
    for system in (run.before, run.after):
        assert f"Reliability of {system.name}" in text
        for row in system.reliability:
            assert f"score {row.predicted:.3f}, relevance {row.observed:.3f}, {row.pairs:,} pairs" in text


def test_the_page_is_one_file_that_loads_nothing(run, tmp_path):
    found = page(tmp_path, replace(run, name=HOSTILE, base=HOSTILE))
    assert not re.search(r"url\(|@import|http", (tmp_path / "training.html").read_text())
    assert not {"script", "link", "img", "iframe", "object", "a"} & {tag for tag, _ in found.tags}
    assert not {"src", "href", "xlink:href"} & {name for _, attributes in found.tags for name in attributes}
    assert not any(name.startswith("on") for _, attributes in found.tags for name in attributes)


def test_every_drawing_has_a_title_and_a_description(run, tmp_path):
    found = page(tmp_path, run)
    ids = {attributes["id"] for _, attributes in found.tags if "id" in attributes}
    drawings = [attributes for tag, attributes in found.tags if tag == "svg"]
    assert len(drawings) == 3 + 2 + 1 + 3  # curves, reliability, sigma, histograms
    for attributes in drawings:
        assert attributes["role"] == "img"
        assert set(attributes["aria-labelledby"].split()) <= ids
    assert len(ids) == sum("id" in attributes for _, attributes in found.tags)
    assert found.count("desc") == len(drawings)


def test_drawings_stay_in_their_boxes(run, tmp_path):
    for tag, attributes in page(tmp_path, run).tags:
        if tag == "polyline":
            numbers = [float(x) for pair in attributes["points"].split() for x in pair.split(",")]
            assert numbers
            assert 0 <= min(numbers) <= max(numbers) <= 350


def test_a_hostile_name_stays_text(run, tmp_path):
    problems = (f"2 queries: {HOSTILE}",)
    bad = replace(
        run, name=HOSTILE, base=HOSTILE, recipe={"base": HOSTILE}, data=replace(run.data, problems=problems),
        after=replace(run.after, name=HOSTILE),
    )  # fmt: skip
    found = page(tmp_path, bad)
    assert found.texts["h1"] == [HOSTILE]
    assert found.texts["li"] == list(problems)
    assert "<script" not in (tmp_path / "training.html").read_text()

    write_model_card(tmp_path, bad, CARD)
    card = ModelCard.load(tmp_path / "README.md")
    assert card.data.base_model is None
    assert card.data.model_name == HOSTILE
    outside = re.sub(r"^(`{3,})[a-z]*\n.*?^\1$", "", card.text, flags=re.S | re.M)  # code blocks
    outside = re.sub(r"(`+) .*? \1", "", outside)  # code spans
    assert "<script" not in outside
    assert "\n# heading" not in outside
    row = next(line for line in card.text.splitlines() if line.startswith("| &lt;/title"))
    columns = len(next(line for line in card.text.splitlines() if line.startswith("| System")).split("|"))
    assert len(re.split(r"(?<!\\)\|", row)) == columns


def test_what_was_not_measured_is_called_so(bare, tmp_path):
    found = page(tmp_path, bare)
    sections = found.text.count("Not measured")
    assert sections == 4  # curves, before and after, reliability, targets
    assert found.text.count("not measured") == 6  # the cards: nDCG, gain, seconds, pairs a second, tokens, padding
    assert found.count("polyline") == 0
    assert "no validation query has a judgment" in found.text
    assert "Nothing is judged in the validation split. Nothing is judged in the test split." in found.text
    assert found.count("svg") == 1  # the histogram of what is there

    write_model_card(tmp_path, bare, CARD)
    card = ModelCard.load(tmp_path / "README.md")
    assert card.data.eval_results is None
    assert "Not measured: there are no validation queries." in card.text
    assert card.text.count(": not measured") == 4


def test_only_after_measured_means_no_gain(run, tmp_path):
    text = page(tmp_path, replace(run, before=None)).text
    assert "after − before" not in text
    assert f"{run.after.ranking['nDCG@5'].mean:.3f}" in text


def test_no_labels_and_no_sigma(run, tmp_path):
    assert "no pair has repeated labels" in page(tmp_path, replace(run, disagreement=(), fitted=None)).text
    bare = replace(run, noise=None, fitted=None)
    assert "Phase 2 learns the relevance itself" in page(tmp_path, bare).text
    assert "used no σ(y)" in page(tmp_path, replace(bare, kind="distributional")).text


def test_a_loss_that_is_not_finite_is_left_out_and_said(run, tmp_path):
    assert run.curve("loss") == ((10.0, 1.25), (30.0, 0.5))
    assert run.broken_steps == (20,)
    assert "not finite numbers: 1, the first at step 20." in page(tmp_path, run).text
    assert not re.search(r"\bnan\b", (tmp_path / "training.html").read_text(), re.I)


def test_json_and_back_draws_the_same_page(run, bare, tmp_path):
    for one in (run, bare):
        write_training_report(tmp_path, one)
        first = (tmp_path / "training.html").read_text()
        again = TrainingRun.load(tmp_path / "training.json")
        assert again.to_json() == one.to_json()
        assert (again.noise, again.fitted, again.disagreement, again.data) == (
            one.noise, one.fitted, one.disagreement, one.data,
        )  # fmt: skip
        write_training_report(tmp_path, again)
        assert (tmp_path / "training.html").read_text() == first
        json.loads((tmp_path / "training.json").read_text(), parse_constant=pytest.fail)  # no NaN, no Infinity


def test_the_model_card_is_one_that_the_hub_reads(run, tmp_path):
    write_model_card(tmp_path, run, CARD)
    card = ModelCard.load(tmp_path / "README.md")
    assert (card.data.base_model, card.data.library_name, card.data.pipeline_tag, card.data.license) == (
        "owner/base-model", "transformers", "text-ranking", None,
    )  # fmt: skip
    assert {"reranker", "product-search", "scalar"} <= set(card.data.tags)
    results = {result.metric_name: result for result in card.data.eval_results}
    assert {name: result.metric_value for name, result in results.items()} == {
        name: round(interval.mean, 6) for name, interval in figures(run.after).items()
    }
    assert {result.dataset_split for result in results.values()} == {"validation"}
    assert {result.dataset_revision for result in results.values()} == {run.fingerprint}
    assert results[ECE].metric_type == "ece_10_bins"
    assert str(ModelCard(str(card))) == str(card)  # nothing is lost on the way


def test_the_model_card_has_the_run_in_words(run, tmp_path):
    write_model_card(tmp_path, run, CARD)
    text = (tmp_path / "README.md").read_text()
    for system in run.systems:
        row = next(line for line in text.splitlines() if line.startswith(f"| {system.name} |"))
        assert all(str(interval) in row for interval in figures(system).values())
    gain = run.gain["nDCG@5"]
    assert gain.shown("+.3f") in text
    for said in (
        run.fingerprint,
        "**validation** split: 4 queries, 60 pairs",
        "100, 101",
        "c0ffee",
        "gen-rerank serve sample-shop",
    ):
        assert said in text
    recipe = re.search(r"```yaml\n(.*?)```", text, re.S).group(1)
    assert yaml.safe_load(recipe) == run.recipe
    for heading in ("Intended use", "Limits", "Citation", "Training data", "Results", "How to use it"):
        assert f"\n## {heading}\n" in text
    python = re.search(r"```python\n(.*?)```", text, re.S).group(1)
    compile(python, "README.md", "exec")


@pytest.mark.parametrize(("kind", "library"), [("adapter", "peft"), ("encoder", "sentence-transformers")])
def test_other_kinds_have_their_own_doors(run, tmp_path, kind, library):
    card = CARD if kind == "adapter" else Card(readout=Readout.classifier(), prompt=PromptSpec(template="encoder"))
    write_model_card(tmp_path, replace(run, kind=kind), card)
    loaded = ModelCard.load(tmp_path / "README.md")
    assert loaded.data.library_name == library
    assert ("--adapter sample-shop" in loaded.text) == (kind == "adapter")
    assert ("Reranker.load('owner/base-model', adapter='sample-shop')" in loaded.text) == (kind == "adapter")
    assert ("CrossEncoder" in loaded.text) == (kind == "encoder")
    compile(re.search(r"```python\n(.*?)```", loaded.text, re.S).group(1), "README.md", "exec")


@pytest.mark.parametrize("base", ["new", "nano", "/models/base", "./a/b", "runs/phase1/model", "."])
def test_a_base_that_is_not_on_the_hub_is_not_claimed_to_be(run, tmp_path, base):
    write_model_card(tmp_path, replace(run, base=base), CARD)
    assert ModelCard.load(tmp_path / "README.md").data.base_model is None


def test_a_folder_that_looks_like_a_hub_name(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "phase1").mkdir(parents=True)
    write_model_card(tmp_path, replace(run, base="runs/phase1"), CARD)
    assert ModelCard.load(tmp_path / "README.md").data.base_model is None

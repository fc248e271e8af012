"""The commands as a user meets them: options and their old names, exit codes, sentences, and what is left behind."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.checkpoints.schemes import SCHEMES
from tests.conftest import complaint


def test_options_that_were_renamed_still_work_and_say_so(run, tiny_checkpoint, tmp_path):
    words = ("quantize", tiny_checkpoint, "--scheme", "w4a16-gptq", "--out", tmp_path / "out")
    old = run(*words, "--calibration", tmp_path / "nowhere", "--calibration-pairs", "40")
    assert "nowhere: no such folder" in complaint(old)
    assert old[2].splitlines()[:-1] == [
        "--calibration is now called --examples",
        "--calibration-pairs is now called --example-pairs",
    ]
    new = run(*words, "--examples", tmp_path / "nowhere", "--example-pairs", "40")
    assert new[2].splitlines() == [complaint(old)]


def test_the_old_number_of_pairs_is_used(run, tiny_checkpoint, tiny_data, tmp_path):
    words = ("quantize", tiny_checkpoint, "--scheme", "nvfp4", "--examples", tiny_data, "--out", tmp_path / "out")
    for option in ("--calibration-pairs", "--example-pairs"):
        assert "8 example pairs are too few" in complaint(run(*words, option, "8"))


def test_only_the_new_names_are_in_the_help(run):
    _, shown, _ = run("quantize", "--help")
    assert "--examples" in shown
    assert "--example-pairs" in shown
    assert "--calibration" not in shown


def test_an_unknown_scheme(run, tiny_checkpoint, tmp_path):
    said = complaint(run("quantize", tiny_checkpoint, "--scheme", "int3", "--out", tmp_path / "q"))
    assert "int3" in said
    assert "int8" in said


@pytest.fixture
def comparing(run, tiny_checkpoint, tiny_data, tmp_path):
    """Compare the tiny checkpoint with a copy of it that `harm` has changed."""

    def call(harm=lambda folder: None, *more: object) -> tuple[int, str, str]:
        copy = tmp_path / "copy"
        shutil.copytree(tiny_checkpoint, copy)
        harm(copy)
        words = ("--data", tiny_data, "--out", tmp_path / "out", "--no-cost", *more)
        return run("compare", tiny_checkpoint, copy, *words)

    return call


def test_compare_exits_0_when_every_gate_passes(comparing, tmp_path):
    code, _, err = comparing()
    assert code == 0, err
    assert {"report.html", "report.md", "comparison.json"} <= {file.name for file in (tmp_path / "out").iterdir()}


def test_compare_exits_1_when_a_gate_fails_and_names_it(comparing):
    def zero_a_row(folder: Path) -> None:
        weights = load_file(folder / "model.safetensors")
        weights["model.embed_tokens.weight"][Checkpoint.open(folder).card.readout.token_ids[3]] = 0
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})

    code, out, _ = comparing(zero_a_row)
    assert code == 1
    assert "readout" in out
    assert "<|rel_3|>" in out


def test_compare_exits_2_when_there_is_nothing_to_compare(run, comparing, tiny_checkpoint, tiny_data, tmp_path):
    words = ("--data", tiny_data, "--out", tmp_path / "out", "--no-cost")
    assert "nowhere" in complaint(run("compare", tiny_checkpoint, tmp_path / "nowhere", *words))
    assert "nowhere" in complaint(run("compare", tmp_path / "nowhere", tiny_checkpoint, *words))
    assert "candidate" in complaint(run("compare", tiny_checkpoint, *words))
    assert "--data" in complaint(run("compare", tiny_checkpoint, tiny_checkpoint))
    (tmp_path / "gates.yaml").write_text("tier_flip: 0.5\n")
    said = complaint(comparing(lambda _: None, "--gates", tmp_path / "gates.yaml"))
    assert "tier_flip" in said
    assert "tier_flips" in said
    assert not (tmp_path / "out" / "comparison.json").exists()


def test_compare_says_what_was_not_measured_and_what_was_left_out(run, tiny_checkpoint, tiny_shop, tmp_path):
    tiny_shop.save(tmp_path / "shop")
    with (tmp_path / "shop" / "judgments.jsonl").open("a") as file:
        file.write("{}\n")
    words = ("--data", tmp_path / "shop", "--out", tmp_path / "out", "--no-cost", "--skip-bad-rows")
    code, out, _ = run("compare", tiny_checkpoint, tiny_checkpoint, *words)
    assert code == 0
    assert "1 bad row left out" in out
    assert "What vLLM serves was not measured." in " ".join(out.split())
    for name in ("report.html", "report.md"):
        report = (tmp_path / "out" / name).read_text()
        assert "What vLLM serves was not measured." in report
        assert "1 bad row left out" in report


def test_latency_needs_two_candidates_and_the_example_measures_what_it_ships(run, tiny_checkpoint, tiny_data, tmp_path):
    words = ("--data", tiny_data, "--out", tmp_path / "out", "--candidates-per-query", 1)
    code, _, err = run("compare", tiny_checkpoint, tiny_checkpoint, *words)
    assert code == 2
    assert "--candidates-per-query" in err
    _, out, _ = run("compare", "--help")
    assert "gates.yaml && ./ship.sh" in " ".join(out.split())


def test_the_printed_gates_can_be_used(run, comparing, tmp_path):
    code, out, _ = run("compare", "--print-gates")
    assert code == 0
    (tmp_path / "gates.yaml").write_text(out)
    assert comparing(lambda _: None, "--gates", tmp_path / "gates.yaml")[0] == 0


def test_quantize_realigns_and_leaves_nothing_else(run, tiny_checkpoint, tiny_data, tmp_path):
    code, _, err = run("quantize", tiny_checkpoint, "--realign", tiny_data, "--out", tmp_path / "int8")
    assert code == 0, err
    made = Checkpoint.open(tmp_path / "int8").card.provenance
    assert made.quantization.scheme == "int8"
    assert made.quantization.realigned is not None
    assert [file.name for file in tmp_path.iterdir()] == ["int8"]
    again = ("quantize", tiny_checkpoint, "--realign", tiny_data, "--out", tmp_path / "int8")
    assert "not empty" in complaint(run(*again))
    assert run(*again, "--overwrite")[0] == 0
    assert [file.name for file in tmp_path.iterdir()] == ["int8"]


@pytest.mark.parametrize("victim", ["parent", "data"])
def test_overwriting_never_takes_the_parent_or_what_is_no_checkpoint(run, victim, tiny_checkpoint, tiny_data, tmp_path):
    model, data = (shutil.copytree(each, tmp_path / each.name) for each in (tiny_checkpoint, tiny_data))
    out = model if victim == "parent" else data
    before = sorted(file.name for file in out.iterdir())
    said = complaint(run("quantize", model, "--realign", data, "--out", out, "--overwrite"))
    assert "cannot be" in said if victim == "parent" else "only a checkpoint is overwritten" in said
    assert sorted(file.name for file in out.iterdir()) == before


def test_what_stops_a_realignment_is_known_before_the_quantization(run, tiny_checkpoint, tiny_data, tmp_path):
    shutil.copytree(tiny_data, tmp_path / "shop")
    queries = (tmp_path / "shop" / "queries.jsonl").read_text().replace('"train"', '"test"')
    (tmp_path / "shop" / "queries.jsonl").write_text(queries)
    words = ("quantize", tiny_checkpoint, "--realign", tmp_path / "shop", "--out", tmp_path / "int8")
    code, out, err = run(*words)
    assert code == 2
    assert "nothing to align" in err
    assert "quantizing" not in out


def test_every_scheme_is_in_the_help(run):
    _, out, _ = run("quantize", "--help")
    assert all(scheme.name in out for scheme in SCHEMES)

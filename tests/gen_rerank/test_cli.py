"""The command line as a user meets it: what goes wrong is one sentence and exit code 2, never a traceback."""

import json
import shutil
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file
from typer.main import get_command

from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.cli import main, mounted


@pytest.fixture
def run(monkeypatch, capsys):
    """Run a command; return its exit code, what it printed and what it complained about."""

    def call(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["gen-rerank", *map(str, words)])
        with pytest.raises(SystemExit) as stopped:
            main()
        printed = capsys.readouterr()
        return int(stopped.value.code or 0), printed.out, printed.err

    return call


def complaint(result: tuple[int, str, str]) -> str:
    """Return the one line that was printed as the error."""
    code, _, err = result
    lines = [line for line in err.splitlines() if line.startswith("error: ")]
    assert code == 2
    assert len(lines) == 1
    assert "Traceback" not in err
    return lines[0]


def test_a_missing_data_folder(run, tiny_checkpoint, tmp_path):
    assert "no such folder" in complaint(run("evaluate", tiny_checkpoint, tmp_path / "nowhere"))


def test_a_missing_file(run, tiny_checkpoint, tiny_shop, tmp_path):
    tiny_shop.save(tmp_path)
    (tmp_path / "judgments.jsonl").unlink()
    assert "judgments.jsonl" in complaint(run("evaluate", tiny_checkpoint, tmp_path))


def test_a_bad_row_is_named_and_can_be_skipped(run, tiny_checkpoint, tiny_shop, tmp_path):
    tiny_shop.save(tmp_path)
    with (tmp_path / "judgments.jsonl").open("a") as file:
        file.write('{"query_id": "q0", "product_id": "p01", "relevance": NaN}\n')
    said = complaint(run("evaluate", tiny_checkpoint, tmp_path))
    assert f"judgments.jsonl:{len(tiny_shop.judgments) + 1}: " in said
    code, out, _ = run("score", tiny_checkpoint, tmp_path, "--out", tmp_path / "s.jsonl", "--skip-bad-rows")
    assert code == 0
    assert "1 bad row" in out


def test_an_unknown_scheme(run, tiny_checkpoint, tmp_path):
    said = complaint(run("quantize", tiny_checkpoint, "--scheme", "int3", "--out", tmp_path / "q"))
    assert "int3" in said
    assert "int8" in said


@pytest.mark.parametrize("command", ["evaluate", "quantize", "serve", "score"])
def test_a_folder_that_is_no_checkpoint(run, command, tiny_data, tmp_path):
    words = {
        "evaluate": [tiny_data, tiny_data],
        "quantize": [tiny_data, "--out", tmp_path / "q"],
        "serve": [tiny_data],
        "score": [tiny_data, tiny_data, "--out", tmp_path / "s"],
    }[command]
    assert "gen_rerank.json is missing" in complaint(run(command, *words))


def test_an_unknown_model_name(run, tiny_data):
    said = complaint(run("evaluate", "nobody/no-such-model", tiny_data))
    assert "nobody/no-such-model: no such folder, and the hub" in said


def test_an_unknown_split_backend_or_recipe(run, tiny_checkpoint, tiny_data, tmp_path):
    assert "'tset'" in complaint(run("evaluate", tiny_checkpoint, tiny_data, "--split", "tset"))
    assert "'onnx'" in complaint(run("evaluate", tiny_checkpoint, tiny_data, "--backend", "onnx"))
    words = ("train", "distributional", "--data", tiny_data, "--out", tmp_path / "m", "--config", "nana")
    assert "presets are" in complaint(run(*words))


def test_a_file_where_a_folder_should_be(run, tiny_checkpoint, tiny_data, tmp_path):
    (tmp_path / "file").write_text("")
    said = complaint(run("score", tiny_checkpoint, tiny_data, "--out", tmp_path / "file" / "scores.jsonl"))
    assert str(tmp_path / "file") in said


def test_a_wrong_option_is_a_usage_error(run):
    assert run("evaluate", "--nope")[0] == 2


def test_evaluate_prints_tables_and_writes_json(run, tiny_checkpoint, tiny_data, tmp_path):
    code, out, _ = run(
        "evaluate", tiny_checkpoint, tiny_data, "--out", tmp_path / "e.json", "--scores", tmp_path / "s.jsonl"
    )
    assert code == 0
    assert all(name in out for name in ("random", "bm25", tiny_checkpoint.name))
    report = json.loads((tmp_path / "e.json").read_text())
    assert len(report["ranking"]["nDCG@5"]) == 3
    assert len((tmp_path / "s.jsonl").read_text().splitlines()) == report["pairs"]


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


@pytest.mark.parametrize(
    "changed",
    [{"model_type": "qwen9"}, {"quantization_config": {"quant_method": "awq", "bits": 4}}, {"hidden_size": "64"}],
)
def test_a_model_that_transformers_does_not_know_is_one_sentence(run, changed, tiny_checkpoint, tiny_data, tmp_path):
    model = shutil.copytree(tiny_checkpoint, tmp_path / "model")
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, **changed}))
    assert "cannot be loaded" in complaint(run("evaluate", model, tiny_data))
    words = ("--data", tiny_data, "--out", tmp_path / "out", "--no-cost")
    assert "cannot be loaded" in complaint(run("compare", model, tiny_checkpoint, *words))


def test_a_configuration_may_say_null(run, tiny_checkpoint, tiny_data, tmp_path):
    model = shutil.copytree(tiny_checkpoint, tmp_path / "model")
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "quantization_config": None}))
    assert run("score", model, tiny_data, "--out", tmp_path / "scores.jsonl")[0] == 0


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


def test_a_model_that_is_cut_short_is_one_sentence(run, tiny_checkpoint, tiny_data, tmp_path):
    model = shutil.copytree(tiny_checkpoint, tmp_path / "model")
    file = model / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])
    assert "cannot be loaded" in complaint(run("evaluate", model, tiny_data))
    assert "cannot be loaded" in complaint(run("quantize", model, "--out", tmp_path / "int8"))
    words = ("--data", tiny_data, "--out", tmp_path / "out", "--no-cost")
    assert "cannot be loaded" in complaint(run("compare", model, tiny_checkpoint, *words))


def test_every_scheme_is_in_the_help(run):
    from gen_rerank.checkpoints.schemes import SCHEMES

    _, out, _ = run("quantize", "--help")
    assert all(scheme.name in out for scheme in SCHEMES)


def _commands(group, path=()):
    for name, command in group.commands.items():
        inner = getattr(command, "commands", None)
        yield from _commands(command, (*path, name)) if inner else [(*path, name)]


@pytest.mark.parametrize("path", list(_commands(get_command(mounted()))), ids=" ".join)
def test_every_command_has_help_with_an_example(run, path: tuple[str, ...]):
    code, out, _ = run(*path, "--help")
    assert code == 0
    assert f"Example: gen-rerank {' '.join(path)}" in " ".join(out.split())


def test_interrupting_leaves_no_traceback(run, monkeypatch, tmp_path):
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("gen_rerank.data.sample.write_sample", interrupt)
    code, _, err = run("sample", "--out", tmp_path / "shop")
    assert code == 130
    assert "Traceback" not in err


def test_a_bug_is_no_verdict(run, monkeypatch, tmp_path):
    def fail(*_: object) -> None:
        raise AttributeError("no such thing")

    monkeypatch.setattr("gen_rerank.data.sample.write_sample", fail)
    code, _, err = run("sample", "--out", tmp_path / "shop")
    assert code == 2
    assert "in fail" in err, "the traceback says where"
    assert err.splitlines()[-1] == "error: gen-rerank failed: AttributeError: no such thing; this is a bug"


def test_a_full_disk_is_said(run, monkeypatch, tmp_path):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", str(Path("shop")))

    monkeypatch.setattr("gen_rerank.data.sample.write_sample", full)
    assert "No space left on device" in complaint(run("sample", "--out", tmp_path / "shop"))


COMMANDS = {"add-key", "compare", "demo", "doctor", "evaluate", "quantize", "sample", "score", "serve", "train"}


def test_every_room_s_commands_are_mounted() -> None:
    assert set(get_command(mounted()).commands) >= COMMANDS


def test_without_an_installation_it_is_said_what_to_do(run, monkeypatch) -> None:
    monkeypatch.setattr("gen_rerank.cli.entry_points", lambda **_: [])
    assert "make install" in complaint(run("sample", "--help"))

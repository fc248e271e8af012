"""The command line as a user meets it: what goes wrong is one sentence and exit code 2, never a traceback."""

import json
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from gen_rerank.cli import app, main


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


def _commands(group, path=()):
    for name, command in group.commands.items():
        inner = getattr(command, "commands", None)
        yield from _commands(command, (*path, name)) if inner else [(*path, name)]


@pytest.mark.parametrize("path", list(_commands(get_command(app))), ids=" ".join)
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


def test_a_full_disk_is_said(run, monkeypatch, tmp_path):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", str(Path("shop")))

    monkeypatch.setattr("gen_rerank.data.sample.write_sample", full)
    assert "No space left on device" in complaint(run("sample", "--out", tmp_path / "shop"))

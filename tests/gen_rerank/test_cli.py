"""The command line as a user meets it: what goes wrong is one sentence and exit code 2, never a traceback."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from gen_rerank.cli import mounted
from tests.conftest import complaint


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


def test_a_place_that_cannot_be_written_is_found_before_any_work(run, tiny_checkpoint, tiny_data, tmp_path):
    """No command gets as far as looking at a model or at data that are not there."""
    data, missing, places = tmp_path / "none", tmp_path / "no-model", ["/dev/null/x", "/proc/x", ""]
    commands = {
        "score": ("score", missing, data),
        "evaluate": ("evaluate", missing, data),
        "compare": ("compare", missing, missing, "--data", data),
        "sample": ("sample", "--products", 10**9),
        "phase 1": ("train", "distributional", "--data", data),
        "encoder": ("train", "encoder", "--preset", "micro", "--data", data),
        "phase 2": ("train", "scalar", "--model", tiny_checkpoint, "--data", data),
        "adapter": ("train", "adapter", "--base", tiny_checkpoint, "--catalog", data),
        "quantize": ("quantize", tiny_checkpoint),
        "demo": ("demo", "--products", 10**9),
    }
    for words in commands.values():
        for place in places:
            said = complaint(run(*words, "--out", place))
            assert (f"{place}: cannot be written" if place else "--out is empty") in said
    assert "is a folder; name a file" in complaint(run(*commands["evaluate"], "--out", tmp_path))
    assert "which is read; choose another place" in complaint(run(*commands["score"], "--out", tmp_path))
    for option in ("--scores", "--out"):
        assert f"{option} is empty" in complaint(run(*commands["evaluate"], option, ""))
    one = tmp_path / "one"
    assert "one file; name two" in complaint(run(*commands["evaluate"], "--out", one, "--scores", one))
    assert list(tmp_path.iterdir()) == []


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


def test_a_model_that_is_cut_short_is_one_sentence(run, tiny_checkpoint, tiny_data, tmp_path):
    model = shutil.copytree(tiny_checkpoint, tmp_path / "model")
    file = model / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])
    assert "cannot be loaded" in complaint(run("evaluate", model, tiny_data))
    assert "cannot be loaded" in complaint(run("quantize", model, "--out", tmp_path / "int8"))
    words = ("--data", tiny_data, "--out", tmp_path / "out", "--no-cost")
    assert "cannot be loaded" in complaint(run("compare", model, tiny_checkpoint, *words))


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
def test_a_console_without_a_character_shows_another(encoding, tiny_checkpoint, tiny_data, tmp_path):
    """Tables have box lines, dashes and what people wrote; a file's name may hold bytes of another encoding."""
    model = shutil.copytree(tiny_checkpoint, tmp_path / "modèle ✓")
    strange = tmp_path / "pas là ✗"
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "LC_ALL": "C"}
    cases = (
        (["compare", "--help"], 0, "compare [OPTIONS]"),
        (["evaluate", model, tiny_data], 0, "Ranking and calibration"),
        (["evaluate", model, strange], 2, "no such folder"),
        (["sample", "--out", b"caf\xe9"], 2, "the name is no text in UTF-8"),
        (["evaluate", "--nöpe ✗"], 2, "No such option"),
    )
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    started = [
        subprocess.Popen([sys.executable, "-m", "gen_rerank", *words], env=environment, cwd=tmp_path, **pipes)
        for words, _, _ in cases
    ]
    for process, (_, code, said) in zip(started, cases, strict=True):
        shown = process.communicate()[0].decode(encoding)
        assert (process.returncode, said in shown, "Traceback" in shown) == (code, True, False), shown


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
    assert (code, err) == (130, "error: interrupted\n")


# A package that is imported says so and then waits for the signal; the rest of it is the real one.
_SLOW_IMPORT = """
import importlib, sys, time
print("imported", flush=True)
time.sleep(30)
"""
_SLOW_WORK = """
import sys, time
import gen_rerank.data.sample
def slow(*words, **more):
    print("imported", flush=True)
    time.sleep(30)
gen_rerank.data.sample.write_sample = slow
from gen_rerank.cli import main
sys.argv = ["gen-rerank", "sample", "--out", "shop"]
main()
"""


def interrupted(command: list[str], folder: Path) -> tuple[int, str]:
    """Start a command, interrupt it when it has said something; return its exit code and its standard error."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(folder), str(Path(__file__).parents[2])))}
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "imported\n"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    return process.returncode, err


@pytest.mark.parametrize("package", ["typer", "rich", "bm25s"])
@pytest.mark.parametrize("started", [["-m", "gen_rerank"], ["-c", "from gen_rerank.cli import main; main()"]])
def test_an_interruption_while_modules_are_imported_is_one_line(package, started, tiny_data, tmp_path):
    (tmp_path / f"{package}.py").write_text(_SLOW_IMPORT)
    command = [sys.executable, *started, "evaluate", str(tiny_data), str(tiny_data)]
    assert interrupted(command, tmp_path) == (130, "error: interrupted\n")


def test_an_interruption_of_work_is_one_line(tmp_path):
    assert interrupted([sys.executable, "-c", _SLOW_WORK], tmp_path) == (130, "error: interrupted\n")


@pytest.mark.parametrize("columns", ["0", "²", "none"])
def test_a_usage_error_is_seen_whatever_columns_says(run, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", columns)
    code, _, err = run("evaluate", "--nope")
    assert (code, "No such option: --nope" in err) == (2, True)


_UNREAD = """
import os, sys
import gen_rerank.data.sample
from gen_rerank.cli import main
import gen_rerank.data.commands as commands
def unread(*words, **more):
    for write in ({write},):
        write("x" * {size})
    raise SystemExit({code})
gen_rerank.data.sample.write_sample = unread
sys.argv = ["gen-rerank", "sample", "--out", "shop"]
main()
"""


@pytest.mark.parametrize("code", [0, 1])
@pytest.mark.parametrize("size", [1, 10_000])
@pytest.mark.parametrize("write", ["commands.say", "commands.console().print", "sys.stdout.write"])
def test_a_reader_that_goes_away_is_no_verdict(tmp_path, write, size, code):
    """`gen-rerank evaluate … | head -1`: exit code 1 would say that a gate fails."""
    reads, writes = os.pipe()
    os.close(reads)
    words = [sys.executable, "-c", _UNREAD.format(write=write, size=size, code=code)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        words, cwd=tmp_path, env=environment, stdout=writes, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writes)
    assert (done.returncode, done.stderr) == (141, "")


def test_another_error_at_the_end_of_a_process_keeps_its_traceback(tmp_path):
    code = "import gen_rerank.cli; raise ValueError('x')"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (1, "ValueError: x")


def test_a_bug_is_no_verdict(run, monkeypatch, tmp_path):
    def fail(*_: object) -> None:
        raise AttributeError("no such thing")

    monkeypatch.setattr("gen_rerank.data.sample.write_sample", fail)
    code, _, err = run("sample", "--out", tmp_path / "shop")
    assert code == 2
    assert "in fail" in err, "the traceback says where"
    assert err.splitlines()[-1] == "error: gen-rerank failed: AttributeError: no such thing; this is a bug"


def test_too_little_memory_is_said(run, monkeypatch, tmp_path):
    def large(*_: object) -> None:
        import torch

        torch.empty(2**50)

    monkeypatch.setattr("gen_rerank.data.sample.write_sample", large)
    assert "there is not enough memory" in complaint(run("sample", "--out", tmp_path / "shop"))


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


def test_an_empty_value_is_refused_by_every_command(run):
    """An argument that is empty, as that of a variable which is not set, would mean the current folder."""

    def commands(group, *names):
        for name, command in group.commands.items():
            if hasattr(command, "commands"):
                yield from commands(command, *names, name)
            else:
                yield (*names, name), command

    tried = 0
    for names, command in commands(get_command(mounted())):
        arguments = [one for one in command.params if one.param_type_name == "argument"]
        for one in (one for one in command.params if one in arguments or not one.is_flag):
            words = ["" if one is each else "x" for each in arguments]
            said = complaint(run(*names, *words, *([] if one in arguments else [one.opts[0], ""])))
            name = one.opts[0] if one not in arguments else one.metavar or one.name.upper()
            assert said.startswith(f"error: {name} is empty; give it a value")
            tried += 1
    assert tried > 40

"""Saved states: cut short, damaged, unwritable; and a real run that is killed with SIGKILL and goes on."""

import json
import logging
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from gen_rerank import BadInput
from gen_rerank.system.interrupts import interrupted_sentence
from train import saved_states as states

RECIPE = {
    "shape": {"vocabulary": 512, "hidden": 64, "layers": 2, "heads": 2, "mlp": 128},
    "prompt": {"max_length": 96, "instruction": "Rate."},
    "augment": {"copies": 2, "typos": 0.3},
    "distributional": {
        "muon_learning_rate": 0.01, "learning_rate": 2e-3, "row_tokens": 128, "batch_tokens": 512,
        "max_steps": 60, "save_steps": 11, "logging_steps": 10, "eval_steps": 20, "disable_tqdm": True,
    },
}  # fmt: skip


@pytest.fixture(autouse=True)
def heard(caplog, monkeypatch):
    """What other tests of this process have done to its loggers is no matter here."""
    for logger in (states.logger, logging.getLogger("train")):
        monkeypatch.setattr(logger, "disabled", False)
        monkeypatch.setattr(logger, "propagate", True)
    caplog.set_level(logging.WARNING, logger=states.logger.name)


def state(run: Path, step: int) -> Path:
    folder = run / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    with states.saving(run, step):
        (folder / "weights").write_bytes(bytes(100 + step))
        (folder / "deep").mkdir()
        (folder / "deep" / "rng").write_text("x")
    return folder


def test_the_newest_whole_state_is_found_by_number(tmp_path):
    newest = state(tmp_path, 10)
    state(tmp_path, 9)
    assert states.newest_whole(tmp_path) == newest


@pytest.mark.parametrize("damage", ["cut short", "truncated", "one bit", "missing"])
def test_a_damaged_state_is_left_out_and_said_so(damage, tmp_path, caplog):
    good, bad = state(tmp_path, 9), state(tmp_path, 10)
    if damage == "cut short":
        (bad / "complete.json").unlink()
    elif damage == "truncated":
        os.truncate(bad / "weights", 50)
    elif damage == "one bit":
        (bad / "weights").write_bytes(b"\1" + bytes(109))
    else:
        (bad / "deep" / "rng").unlink()
    assert states.newest_whole(tmp_path) == good
    assert "checkpoint-10 is not whole" in caplog.text


def test_a_state_that_cannot_be_written_is_removed_and_the_last_one_stands(tmp_path):
    good = state(tmp_path, 9)

    def write() -> None:
        with states.saving(tmp_path, 10):
            (tmp_path / "checkpoint-10").mkdir()
            raise OSError(28, "No space left on device")

    with pytest.raises(BadInput, match=r"No space left.*the last good state is checkpoint-9.*--resume"):
        write()
    assert not (tmp_path / "checkpoint-10").exists()
    assert states.newest_whole(tmp_path) == good


def test_an_interruption_says_how_to_go_on_where_a_state_is_kept(tmp_path):
    def interrupt() -> None:
        with states.ended_by_refusal(tmp_path):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as stopped:
        interrupt()
    assert interrupted_sentence(stopped.value) == "interrupted"
    state(tmp_path, 9)
    with pytest.raises(KeyboardInterrupt) as stopped:
        interrupt()
    assert "is kept: run the same command with --resume to go on" in interrupted_sentence(stopped.value)
    assert (tmp_path / "checkpoint-9").exists()


def test_only_the_same_run_is_resumed(tmp_path):
    run = tmp_path / "run"
    with pytest.raises(BadInput, match="nothing to resume"):
        states.begin(run, {"data": "a"}, resume=True)
    assert states.begin(run, {"data": "a", "recipe": {"x": (1, 2)}}, resume=False) is None
    assert states.begin(run, {"data": "a", "recipe": {"x": (1, 2)}}, resume=True) is None
    saved = state(run, 3)
    assert states.begin(run, {"data": "a", "recipe": {"x": (1, 2)}}, resume=True) == saved
    with pytest.raises(BadInput, match="begun with another data"):
        states.begin(run, {"data": "b", "recipe": {"x": (1, 2)}}, resume=True)
    with pytest.raises(BadInput, match=r"an unfinished run with checkpoint-3 is there; go on with --resume"):
        states.begin(run, {"data": "b"}, resume=False)
    assert saved.exists()
    (saved / "complete.json").unlink()  # what cannot be resumed from is no loss
    assert states.begin(run, {"data": "b"}, resume=False) is None
    assert not saved.exists()


def command(recipe: Path, data: Path, out: Path, *more: str) -> list[str]:
    where = ("--config", str(recipe), "--data", str(data), "--out", str(out))
    return [sys.executable, "-W", "ignore", "-m", "gen_rerank", "train", "distributional", *where, *more]


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "recipe.yaml"
    path.write_text(yaml.safe_dump(RECIPE), encoding="utf-8")
    return path


def killed_when(started: list[str], reached: Path) -> None:
    """Start the command and kill it, without any warning, as soon as a file exists."""
    process = subprocess.Popen(started, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while not reached.exists():
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL


@pytest.mark.slow
def test_a_run_killed_twice_ends_with_the_weights_of_an_undisturbed_one(recipe, tiny_data, tmp_path):
    out, run = tmp_path / "killed", tmp_path / "killed.training"
    # The first kill falls into the writing of a state, the second one some steps after a whole one.
    killed_when(command(recipe, tiny_data, out), run / "checkpoint-22")
    killed_when(command(recipe, tiny_data, out, "--resume"), run / "checkpoint-44" / "complete.json")
    # In a process of its own as well: what other tests did to this one (threads, kernels) may move a sum's last bit.
    undisturbed = tmp_path / "undisturbed"
    for started in (command(recipe, tiny_data, out, "--resume"), command(recipe, tiny_data, undisturbed)):
        done = subprocess.run(started, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    first, second = (load_file(folder / "model.safetensors") for folder in (undisturbed, out))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert json.loads((out / "training.json").read_text())["history"][-1]["step"] == 60
    assert not run.exists()


@pytest.mark.slow
def test_a_full_disk_is_one_sentence_and_the_last_good_state_stands(recipe, tiny_data, tmp_path):
    """The disk is "full" for files above a limit, which the second state's optimizer does not fit under."""
    out, run = tmp_path / "full", tmp_path / "full.training"
    killed_when(command(recipe, tiny_data, out), run / "checkpoint-11" / "complete.json")
    largest = max(path.stat().st_size for path in (run / "checkpoint-11").rglob("*"))

    def small_files_only() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest // 2, largest // 2))

    failed = subprocess.run(
        command(recipe, tiny_data, out, "--resume"),
        capture_output=True, text=True, check=False, preexec_fn=small_files_only,
    )  # fmt: skip
    assert failed.returncode == 2, failed.stderr
    said = failed.stderr.strip().splitlines()[-1]
    assert "could not be saved" in said
    assert "the last good state is checkpoint-11: make room and go on with --resume" in said
    assert "Traceback" not in failed.stderr
    assert states.newest_whole(run) == run / "checkpoint-11"
    assert not out.exists()

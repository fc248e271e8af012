"""The commands: what options are called, and what they were called before."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from gen_rerank import BadInput
from quant.commands import app


def test_options_that_were_renamed_still_work_and_say_so(tiny_checkpoint: Path, tmp_path: Path) -> None:
    words = ("quantize", str(tiny_checkpoint), "--scheme", "w4a16-gptq", "--out", str(tmp_path / "out"))
    old = CliRunner().invoke(app, [*words, "--calibration", str(tmp_path / "nowhere"), "--calibration-pairs", "40"])
    assert old.stderr.splitlines() == [
        "--calibration is now called --examples",
        "--calibration-pairs is now called --example-pairs",
    ]
    new = CliRunner().invoke(app, [*words, "--examples", str(tmp_path / "nowhere"), "--example-pairs", "40"])
    assert new.stderr == ""
    for found in (old, new):
        assert isinstance(found.exception, BadInput)
        assert "nowhere: no such folder" in str(found.exception)


def test_only_the_new_names_are_in_the_help() -> None:
    shown = CliRunner().invoke(app, ["quantize", "--help"], env={"COLUMNS": "200"}).stdout
    assert "--examples" in shown
    assert "--example-pairs" in shown
    assert "--calibration" not in shown


def test_the_old_number_of_pairs_is_used(tiny_checkpoint: Path, tiny_data: Path, tmp_path: Path) -> None:
    words = ("quantize", str(tiny_checkpoint), "--scheme", "nvfp4", "--examples", str(tiny_data))
    found = CliRunner().invoke(app, [*words, "--calibration-pairs", "8", "--out", str(tmp_path / "out")])
    assert "8 example pairs are too few" in str(found.exception)

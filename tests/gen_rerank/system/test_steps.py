"""Steps that are finished once: kept with their command, refused with another one, replaced when done again."""

from __future__ import annotations

from pathlib import Path

import pytest

from gen_rerank import BadInput
from gen_rerank.system.steps import Steps


def test_what_is_finished_is_kept_with_what_was_found(tmp_path):
    steps = Steps(tmp_path / "run" / "steps.json")
    assert steps.finished() == {}
    assert steps.kept("sample", "a") is None
    steps.record("sample", "a", 1.234, refused="")
    assert Steps(steps.file).kept("sample", "a") == {"command": "a", "seconds": 1.2, "refused": ""}
    assert [path.name for path in steps.file.parent.iterdir()] == ["steps.json"]


def test_another_command_is_refused(tmp_path):
    steps = Steps(tmp_path / "steps.json")
    steps.record("sample", "a", 1.0)
    with pytest.raises(BadInput, match=r"other settings \(steps.json, sample\); remove it"):
        steps.kept("sample", "b")


def test_a_step_that_is_done_again_comes_last(tmp_path):
    steps = Steps(tmp_path / "steps.json")
    for name, seconds in (("a", 1.0), ("b", 2.0), ("a", 3.0)):
        steps.record(name, "c", seconds)
    assert [(name, entry["seconds"]) for name, entry in steps.finished().items()] == [("b", 2.0), ("a", 3.0)]


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"sample": 1}', b'{"sample": {"seconds": 1}}', b"\xff", b""])
def test_a_file_that_does_not_say_which_steps_are_done(content: bytes, tmp_path: Path) -> None:
    steps = Steps(tmp_path / "steps.json")
    steps.file.write_bytes(content)
    with pytest.raises(BadInput, match=r"steps\.json: does not say which steps are done; remove it, or choose another"):
        steps.kept("sample", "a")

"""The end of a run: a result that cannot be written is one sentence, and nothing half-written is left."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from safetensors import SafetensorError

from gen_rerank import BadInput
from train.life import result_appearing


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), SafetensorError("disk is full")])
def test_what_could_not_be_written_can_go_on(tmp_path: Path, error: Exception) -> None:
    out = tmp_path / "model"

    def write() -> None:
        with result_appearing(out) as folder:
            (folder / "config.json").write_text("{}")
            raise error

    with pytest.raises(BadInput, match=r"the result could not be written .*; make room and run .* with --resume"):
        write()
    assert list(tmp_path.iterdir()) == []


def test_a_result_appears_whole(tmp_path: Path) -> None:
    out = tmp_path / "model"
    with result_appearing(out) as folder:
        (folder / "config.json").write_text("{}")
        assert not out.exists()
    assert [path.name for path in out.iterdir()] == ["config.json"]
    assert list(tmp_path.iterdir()) == [out]

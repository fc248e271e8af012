"""Paths of adapters that clients name, as far as no engine is needed: the server's own tests have the rest."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from gen_rerank import BadInput
from gen_rerank.checkpoints.checkpoint import Checkpoint
from serve.models import ServedModels, open_adapter
from serve.question import Refusal


@pytest.fixture
def models(tiny_checkpoint: Path, tmp_path: Path) -> ServedModels:
    """One whose engine is never reached."""
    (tmp_path / "adapters").mkdir()
    checkpoint = Checkpoint.open(tiny_checkpoint)
    return ServedModels(None, checkpoint, "base", folder=tmp_path / "adapters", places=2, largest_rank=8)


@pytest.fixture
def unreadable(tiny_adapter: Path, tmp_path: Path) -> Path:
    """An adapter whose card can be opened and not read, not by the superuser either: the process's memory at 0."""
    folder = Path(shutil.copytree(tiny_adapter, tmp_path / "adapters" / "unreadable"))
    (folder / "gen_rerank.json").unlink()
    (folder / "gen_rerank.json").symlink_to("/proc/self/mem")
    return folder


def refused(models: ServedModels, path: str) -> Refusal:
    with pytest.raises(Refusal) as caught:
        asyncio.run(models.load_below("garden", path, replace=False))
    return caught.value


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("a" * 300, 400, "not a path that the server can follow"),
        ("a/" * 3000, 400, "not a path that the server can follow"),
        ("a\0b", 400, "not a path that the server can follow"),
        ("round", 400, "not a path that the server can follow"),
        ("none", 404, "there is no adapter 'none'"),
        ("../" + "a" * 20, 403, "below the server's adapter folder"),
        ("/" + "a" * 300, 403, "below the server's adapter folder"),
        (".", 403, "below the server's adapter folder"),
    ],
)
def test_a_path_that_leads_nowhere_is_the_clients_error(
    models: ServedModels, tmp_path: Path, path: str, status: int, words: str
) -> None:
    (tmp_path / "adapters" / "round").symlink_to(tmp_path / "adapters" / "round")
    refusal = refused(models, path)
    assert refusal.status == status
    assert words in refusal.sentence


def test_a_file_that_cannot_be_read_is_the_clients_error(
    models: ServedModels, unreadable: Path, tmp_path: Path
) -> None:
    refusal = refused(models, "unreadable")
    assert refusal.status == 400
    assert refusal.sentence == "unreadable: the adapter cannot be read (Input/output error)"


def test_and_a_sentence_for_the_person_who_starts_the_server(tiny_checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"the adapter cannot be read \(File name too long\)"):
        open_adapter(tmp_path / ("a" * 300), Checkpoint.open(tiny_checkpoint))

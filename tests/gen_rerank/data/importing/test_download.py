"""Nothing is fetched without being asked; where the hub is out of reach, one sentence says so."""

from __future__ import annotations

import pytest

from gen_rerank import BadInput
from gen_rerank.data.importing.download import download


@pytest.mark.parametrize("repository", ["nobody/no-such-data-set", "no name at all", ""])
def test_a_hub_that_is_out_of_reach_is_one_sentence(tmp_path, monkeypatch, repository):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(BadInput, match=rf"--download {repository}: .*leave --download out"):
        download(repository, tmp_path / "set")

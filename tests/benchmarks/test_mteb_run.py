"""The script that runs a checkpoint in mteb, on a data folder; a task's data would need the hub."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gen_rerank import BadInput, Dataset
from mteb_run import main


def given(**changes):
    options = {"task": None, "data": None, "backend": "transformers", "dtype": "float32", "cache": None, "out": None}
    return {**options, **changes}


def test_a_data_folder_runs_without_a_network(tiny_checkpoint: Path, tiny_shop: Dataset, tmp_path: Path, capsys):
    tiny_shop.save(tmp_path / "shop")
    main(str(tiny_checkpoint), **given(data=tmp_path / "shop", out=tmp_path / "scores.json"))
    ((scores,),) = json.loads((tmp_path / "scores.json").read_text()).values()
    assert f"{scores['main_score']:.4f}" in capsys.readouterr().out
    assert scores["main_score"] == scores["ndcg_at_5"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({}, "say what to run"),
        ({"task": "ERESSReranking", "data": Path("shop")}, "say what to run"),
        ({"task": "NoSuchTask"}, "mteb has no task 'NoSuchTask'"),
    ],
)
def test_what_cannot_run_is_said(options, sentence, tiny_checkpoint: Path):
    with pytest.raises(BadInput, match=sentence):
        main(str(tiny_checkpoint), **given(**options))

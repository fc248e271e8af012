from importlib.resources import files
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from gen_rerank import BIN_TOKENS, BadInput
from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.checkpoints.folders import read_tokenizer
from train.bases import open_base
from train.defaults import fast_dtype
from train.lora import Lora
from train.recipe import Recipe


def test_the_packaged_base_is_small_and_in_bfloat16():
    recipe = Recipe.load("nano")
    model, _ = open_base(recipe, recipe.base, [])
    assert model.num_parameters() <= 8e6
    folder = Path(str(files("train"))) / "bases" / recipe.base
    weights = folder / "model.safetensors"
    assert weights.stat().st_size <= 16 * 2**20
    assert {tensor.dtype for tensor in load_file(weights).values()} == {torch.bfloat16}
    assert Checkpoint.open(folder).card.prompt.template == recipe.prompt.template


def test_a_foreign_base_gets_the_bin_tokens(tiny_checkpoint: Path, tmp_path: Path):
    folder = tmp_path / "foreign"
    folder.mkdir()
    for name in ("config.json", "model.safetensors", "generation_config.json"):
        (folder / name).write_bytes((tiny_checkpoint / name).read_bytes())
    bare = read_tokenizer(tiny_checkpoint).to_str().replace("rel_", "old_")
    (folder / "tokenizer.json").write_text(bare)
    model, tokenizer = open_base(Recipe(), folder, [])
    ids = tokenizer.convert_tokens_to_ids(list(BIN_TOKENS))
    rows = model.get_output_embeddings().weight[ids]
    assert len(set(ids)) == 11
    assert torch.allclose(rows, rows[:1].expand_as(rows))


def test_an_unknown_base_is_one_sentence(tmp_path):
    with pytest.raises(BadInput, match="no such folder"):
        open_base(Recipe(), tmp_path / "nowhere", [])


@pytest.mark.parametrize(
    ("recipe", "dtype"),
    [
        (Recipe(), torch.float32),
        (Recipe(weights="bfloat16"), torch.bfloat16),
        (Recipe(lora=Lora()), fast_dtype()),
        (Recipe(keep_layers=1), torch.float32),
    ],
)
def test_a_base_opens_as_the_recipe_says(tiny_checkpoint, recipe, dtype):
    model, _ = open_base(recipe, tiny_checkpoint, ["red desk", "oak lamp"])
    assert {parameter.dtype for parameter in model.parameters()} == {dtype}
    assert model.config.num_hidden_layers == (recipe.keep_layers or 2)


def test_a_quantized_base_is_refused(tiny_checkpoint, tmp_path):
    from quant.quantize import quantize

    quantize(tiny_checkpoint, "int8", tmp_path / "int8")
    with pytest.raises(BadInput, match="train the checkpoint that it was made from"):
        open_base(Recipe(), tmp_path / "int8", [])

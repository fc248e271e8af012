from importlib.resources import files
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from gen_rerank import BIN_TOKENS, BadInput
from gen_rerank.checkpoint import Checkpoint, read_tokenizer
from train.base import NanoShape, load_base, new_base, train_tokenizer
from train.recipe import Recipe


def test_a_word_is_the_same_token_wherever_it_stands():
    tokenizer = train_tokenizer(["Oak desk, oak lamp: colour: red"] * 5, 400)
    first, second = tokenizer("Oak")["input_ids"], tokenizer("a red OAK!")["input_ids"]
    assert len(first) == 1
    assert first[0] in second


def test_no_text_is_unknown_to_the_tokenizer():
    tokenizer = train_tokenizer(["oak"], 320)
    assert tokenizer.decode(tokenizer("żółw 😀")["input_ids"]).replace(" ", "") == "żółw😀"


def test_the_keys_start_as_twins_of_the_queries(tmp_path):
    new_base(["oak desk"], NanoShape(vocabulary=320, hidden=64, layers=1, heads=2, mlp=64, twin_noise=0.3), tmp_path)
    attention = AutoModelForCausalLM.from_pretrained(tmp_path).model.layers[0].self_attn
    q, k = attention.q_proj.weight.flatten(), attention.k_proj.weight.flatten()
    assert torch.corrcoef(torch.stack([q, k]))[0, 1].item() == pytest.approx((1 - 0.3**2) ** 0.5, abs=0.03)


def test_the_packaged_base_is_small_and_in_bfloat16():
    recipe = Recipe.load("nano")
    model, _ = load_base(recipe.base)
    assert model.num_parameters() <= 8e6
    folder = Path(str(files("train"))) / "bases" / recipe.base
    weights = folder / "model.safetensors"
    assert weights.stat().st_size <= 16 * 2**20
    assert {tensor.dtype for tensor in load_file(weights).values()} == {torch.bfloat16}
    assert Checkpoint.open(folder).card.prompt.template == recipe.prompt.template


def test_a_new_base_has_the_shape_that_the_recipe_says(tmp_path):
    shape = Recipe.load("nano-base").shape
    model = AutoModelForCausalLM.from_pretrained(new_base(["oak desk"], shape, tmp_path))
    assert (model.config.hidden_size, model.config.num_hidden_layers) == (shape.hidden, shape.layers)
    assert model.num_parameters() <= 8e6


def test_a_foreign_base_gets_the_bin_tokens(tiny_checkpoint: Path, tmp_path: Path):
    folder = tmp_path / "foreign"
    folder.mkdir()
    for name in ("config.json", "model.safetensors", "generation_config.json"):
        (folder / name).write_bytes((tiny_checkpoint / name).read_bytes())
    bare = read_tokenizer(tiny_checkpoint).to_str().replace("rel_", "old_")
    (folder / "tokenizer.json").write_text(bare)
    model, tokenizer = load_base(folder)
    ids = tokenizer.convert_tokens_to_ids(list(BIN_TOKENS))
    rows = model.get_output_embeddings().weight[ids]
    assert len(set(ids)) == 11
    assert torch.allclose(rows, rows[:1].expand_as(rows))


def test_an_unknown_base_is_one_sentence(tmp_path):
    with pytest.raises(BadInput, match="no such folder"):
        load_base(tmp_path / "nowhere")

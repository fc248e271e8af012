from importlib.resources import files
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from gen_rerank import BIN_TOKENS, BadInput
from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.checkpoints.folders import read_tokenizer
from train.bases import open_base
from train.lora import Lora, merge_into_plain
from train.nano import NanoShape, new_base
from train.recipe import Recipe
from train.tokenizer import train_tokenizer


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
    model, _ = open_base(recipe, recipe.base, [])
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
        (Recipe(lora=Lora()), torch.bfloat16),
        (Recipe(keep_layers=1), torch.float32),
    ],
)
def test_a_base_opens_as_the_recipe_says(tiny_checkpoint, recipe, dtype):
    model, _ = open_base(recipe, tiny_checkpoint, ["red desk", "oak lamp"])
    assert {parameter.dtype for parameter in model.parameters()} == {dtype}
    assert model.config.num_hidden_layers == (recipe.keep_layers or 2)


@pytest.mark.parametrize("quantization", ["nf4", "int8", None])
def test_a_lora_on_a_quantized_base_trains_and_merges_into_a_plain_model(tiny_checkpoint, tmp_path, quantization):
    torch.manual_seed(0)
    model, tokenizer = open_base(Recipe(lora=Lora(), quantize_base=quantization), tiny_checkpoint, [])
    ids = tokenizer.convert_tokens_to_ids(list(BIN_TOKENS))
    untrained = model.get_output_embeddings().weight[ids].detach().float().clone()
    tuned = get_peft_model(
        model,
        LoraConfig(
            r=4, target_modules="all-linear", trainable_token_indices={"embed_tokens": ids}, task_type="CAUSAL_LM"
        ),
    )
    tokens, wanted = torch.randint(0, 256, (8, 12)), torch.arange(8)
    optimizer = torch.optim.AdamW((p for p in tuned.parameters() if p.requires_grad), lr=5e-3)
    losses = []
    for _ in range(8):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = torch.nn.functional.cross_entropy(tuned(tokens).logits[:, -1, ids].float(), wanted)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]

    tuned.eval()
    with torch.no_grad():
        adapted = tuned(tokens).logits[:, -1, ids].float()
    plain = merge_into_plain(tuned)
    plain.to(torch.bfloat16).save_pretrained(tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    with torch.no_grad():
        merged = again(tokens).logits[:, -1, ids]
    assert {type(module) for module in plain.modules()} == {type(module) for module in again.modules()}
    assert "quantization_config" not in again.config.to_dict()
    assert (again.get_output_embeddings().weight[ids] - untrained).abs().max() > 1e-3
    # The bfloat16 of the computation, and of the file, is all the difference.
    assert (merged.softmax(-1) - adapted.softmax(-1)).abs().max() < 0.02


def test_a_quantized_base_is_refused(tiny_checkpoint, tmp_path):
    from quant.quantize import quantize

    quantize(tiny_checkpoint, "int8", tmp_path / "int8")
    with pytest.raises(BadInput, match="train the checkpoint that it was made from"):
        open_base(Recipe(), tmp_path / "int8", [])

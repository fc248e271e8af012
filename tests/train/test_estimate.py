from pathlib import Path

import pytest
import torch
from transformers import AutoModel, BertConfig, Qwen3Config, Qwen3ForCausalLM

from gen_rerank import BadInput
from train.bases import open_base
from train.encoder_bases import EncoderShape
from train.estimate import (
    DEVICES,
    GIB,
    ParameterCounts,
    StepPlan,
    base_config,
    estimate_seconds,
    flops_per_token,
    main,
    measured_flops,
    recipe_plan,
    step_memory,
    training_tokens,
)
from train.packing import attention_mask
from train.prune import prune_layers
from train.recipe import Recipe


def small(layers: int, **other: int) -> Qwen3Config:
    sizes = {"hidden_size": 256, "intermediate_size": 768, "num_attention_heads": 4, "num_key_value_heads": 2} | other
    return Qwen3Config(vocab_size=512, num_hidden_layers=layers, head_dim=64, tie_word_embeddings=True, **sizes)


@pytest.mark.parametrize(
    ("name", "millions"), [("small", 85.0), ("0.6b", 596), ("rexreranker-0.6b", 596), ("1.3b", 1318)]
)
def test_a_preset_has_the_size_that_its_name_says(name, millions):
    assert ParameterCounts(base_config(Recipe.load(name))).total / 1e6 == pytest.approx(millions, abs=0.5)


def test_the_1_3b_is_the_1_7b_pruned():
    recipe = Recipe.load("1.3b")
    with torch.device("meta"):
        model = Qwen3ForCausalLM(base_config(recipe.model_copy(update={"keep_layers": None})))
    assert model.num_parameters() == pytest.approx(1.72e9, rel=0.001)
    prune_layers(model, range(20))
    assert model.num_parameters() == ParameterCounts(base_config(recipe)).total == pytest.approx(1.32e9, rel=0.002)


def test_the_size_is_the_one_of_the_loaded_model():
    recipe = Recipe.load("nano")
    size = ParameterCounts(base_config(recipe))
    model, _ = open_base(recipe, recipe.base, [])
    inside = [p.numel() for name, p in model.named_parameters() if ".layers." in name and p.ndim == 2]
    assert (size.total, size.layers) == (model.num_parameters(), sum(inside))


def test_flops_by_hand():
    config = small(2)
    # A layer: q and o 256 × 256 each, k and v 256 × 128 each, three MLP matrices 256 × 768.
    layer = 2 * 256 * 256 + 2 * 256 * 128 + 3 * 256 * 768
    attention = 2 * 4 * 256 * 100
    assert flops_per_token(config, StepPlan("frozen", width=100)) == 2 * 2 * layer + attention
    assert flops_per_token(config, StepPlan("full", width=100)) == 6 * 2 * layer + 3 * attention
    own = 4 * (2 * (256 + 256) + 2 * (256 + 128) + 3 * (256 + 768))
    lora = flops_per_token(config, StepPlan("lora", width=100, rank=4))
    assert lora == 4 * 2 * layer + 6 * 2 * own + 3 * attention
    again = flops_per_token(config, StepPlan("full", width=100, checkpointing=True))
    assert again == 8 * 2 * layer + 4 * attention


def test_flops_of_the_forward_pass_are_what_torch_counts():
    from torch.utils.flop_counter import FlopCounterMode

    config = small(2)
    config._attn_implementation = "eager"  # the counter does not see inside the CPU's fused attention
    model = Qwen3ForCausalLM(config).eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model.get_decoder()(input_ids=torch.ones(1, 128, dtype=torch.long), use_cache=False)
    assert 128 * flops_per_token(config, StepPlan("frozen", width=128)) == pytest.approx(
        counter.get_total_flops(), rel=0.02
    )


def test_an_encoder_costs_what_torch_counts_too():
    from torch.utils.flop_counter import FlopCounterMode

    config = EncoderShape(hidden=64, layers=2, mlp=96, heads=2).config(
        512, pad_token_id=0, cls_token_id=1, sep_token_id=2
    )
    # A layer: queries, keys and values 64 × 192, output 64 × 64, the gated MLP 64 × 192 and 96 × 64.
    assert ParameterCounts(config).layers == 2 * (64 * 192 + 64 * 64 + 64 * 192 + 96 * 64)
    config._attn_implementation = "eager"
    model = AutoModel.from_config(config).eval()
    assert ParameterCounts(config).total == model.num_parameters()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(input_ids=torch.ones(1, 128, dtype=torch.long))
    assert 128 * flops_per_token(config, StepPlan("frozen", width=128)) == pytest.approx(
        counter.get_total_flops(), rel=0.02
    )


def test_layers_of_a_bert_and_an_output_matrix_of_its_own_are_counted():
    bert = BertConfig(vocab_size=512, hidden_size=64, num_hidden_layers=2, num_attention_heads=2, intermediate_size=256)
    assert ParameterCounts(bert).layers == 2 * (4 * 64 * 64 + 2 * 64 * 256)
    tied, untied = (small(1), small(1))
    untied.tie_word_embeddings = False
    assert ParameterCounts(untied).total - ParameterCounts(tied).total == 512 * 256
    assert ParameterCounts(untied).total == Qwen3ForCausalLM(untied).num_parameters()


def test_a_0_6b_pair_costs_what_others_count_too():
    config = base_config(Recipe.load("0.6b"))
    assert 256 * flops_per_token(config, StepPlan("frozen", width=256)) == pytest.approx(233e9, rel=0.05)


def test_seconds_are_flops_over_speed():
    config = small(1)
    plan = StepPlan("frozen", width=64)
    assert estimate_seconds(config, 10, flops_per_second=1e6, plan=plan) == 10 * flops_per_token(config, plan) / 1e6


@pytest.mark.parametrize("weights", ["float32", "bfloat16"])
def test_activations_are_about_what_autograd_remembers(weights):
    config, tokens = small(3), 200
    model = Qwen3ForCausalLM(config).to(getattr(torch, weights))
    shapes = {tuple(sorted(p.shape)) for p in model.parameters()}
    storages = {}

    def remember(tensor: torch.Tensor) -> torch.Tensor:
        if tuple(sorted(tensor.shape)) not in shapes:  # weights and autocast's copies of them are counted elsewhere
            storages[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    inputs = {
        "input_ids": torch.ones(1, tokens, dtype=torch.long),
        "attention_mask": attention_mask(torch.zeros(1, tokens, dtype=torch.long)),
    }
    with torch.autograd.graph.saved_tensors_hooks(remember, lambda t: t), torch.autocast("cpu", dtype=torch.bfloat16):
        output = model.get_decoder()(**inputs, use_cache=False).last_hidden_state
    remembered = sum(tensor.untyped_storage().nbytes() for tensor in storages.values())
    assert output.requires_grad
    estimate = step_memory(config, StepPlan("full", weights=weights, batch_tokens=tokens)).activations
    assert estimate == pytest.approx(remembered, rel=0.15)


def test_memory_of_weights_and_optimizer_by_hand():
    config = small(1)
    size = ParameterCounts(config)
    full = step_memory(config, StepPlan("full"))
    assert (full.weights, full.gradients, full.optimizer) == (
        4 * size.total + 2 * size.layers,
        4 * size.total,
        8 * size.total,
    )
    half = step_memory(config, StepPlan("full", weights="bfloat16"))
    assert half.weights + half.gradients + half.optimizer == 16 * size.total


def test_checkpointing_remembers_one_layer_and_the_inputs_of_all():
    plain, again = (
        step_memory(small(4), StepPlan(batch_tokens=1, checkpointing=on)).activations for on in (False, True)
    )
    assert again == plain / 4 + 4 * 4 * 256


def test_a_quantized_0_6b_has_smaller_layers_and_both_fit_24_gb():
    recipe = Recipe.load("0.6b")
    config = base_config(recipe)
    for method in ("lora", "qlora"):
        assert step_memory(config, recipe_plan(recipe, method)).total < 24 * GIB
    assert step_memory(config, recipe_plan(recipe, "full")).total > 24 * GIB


def test_tokens_are_counted_over_epochs_copies_or_steps():
    recipe = Recipe.load("0.6b")
    assert training_tokens(recipe, 10, 256) == 3 * 10 * 256
    nano = Recipe.load("nano")
    steps = nano.distributional["max_steps"]
    assert training_tokens(nano, 10, 256) == steps * recipe_plan(nano).batch_tokens


@pytest.mark.parametrize("method", ["full", "lora", "qlora", "frozen"])
def test_a_layer_is_run_on_this_machine_as_it_is_trained(method):
    plan = StepPlan(method, width=32, batch_tokens=64)
    for config in (small(3), base_config(Recipe.load("small"))):
        assert 1e6 < measured_flops(config, plan, autocast=method == "full", seconds=0.01) < 1e16
        assert config.num_hidden_layers > 1  # the model's own configuration stays as it was


def test_a_layer_of_an_encoder_is_run_too():
    config = EncoderShape(hidden=64, layers=3, mlp=96, heads=2).config(
        512, pad_token_id=0, cls_token_id=1, sep_token_id=2
    )
    assert 1e6 < measured_flops(config, StepPlan(width=32), autocast=False, seconds=0.01) < 1e16


@pytest.mark.parametrize("name", ["0.6b", "1.3b", "rexreranker-0.6b"])
def test_the_figures_in_a_recipe_are_the_ones_that_are_printed(name):
    recipe = Recipe.load(name)
    config, plan = base_config(recipe), recipe_plan(recipe)
    text = (Path(__file__).parents[2] / "train" / "recipes" / f"{name}.yaml").read_text()
    memory = step_memory(config, plan).total / GIB
    assert f"{memory:.1f} GiB" in text
    tokens = training_tokens(recipe, 100_000, 256)
    for device in (
        device for device in DEVICES if device.name.startswith(("24", "80")) and memory * GIB < device.memory
    ):
        if device.name.split(" (")[1].rstrip(")") not in text:
            continue
        hours = estimate_seconds(config, tokens, flops_per_second=device.peak * device.share, plan=plan) / 3600
        assert f"{hours:.2f} h" in text


def test_the_command_prints_a_table_or_one_sentence(capsys):
    assert main(["small", "--pairs", "1000"]) == 0
    shown = capsys.readouterr().out
    assert "not run" in shown
    assert shown.count("this machine, measured") == 3
    assert main(["no-such-recipe"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_recipe_without_a_base_has_no_estimate():
    with pytest.raises(BadInput, match="from nothing"):
        base_config(Recipe())

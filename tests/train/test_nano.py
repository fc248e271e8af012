import pytest
import torch
from transformers import AutoModelForCausalLM

from train.nano import NanoShape, new_base
from train.recipe import Recipe


def test_the_keys_start_as_twins_of_the_queries(tmp_path):
    new_base(["oak desk"], NanoShape(vocabulary=320, hidden=64, layers=1, heads=2, mlp=64, twin_noise=0.3), tmp_path)
    attention = AutoModelForCausalLM.from_pretrained(tmp_path).model.layers[0].self_attn
    q, k = attention.q_proj.weight.flatten(), attention.k_proj.weight.flatten()
    assert torch.corrcoef(torch.stack([q, k]))[0, 1].item() == pytest.approx((1 - 0.3**2) ** 0.5, abs=0.03)


def test_a_new_base_has_the_shape_that_the_recipe_says(tmp_path):
    shape = Recipe.load("nano-base").shape
    model = AutoModelForCausalLM.from_pretrained(new_base(["oak desk"], shape, tmp_path))
    assert (model.config.hidden_size, model.config.num_hidden_layers) == (shape.hidden, shape.layers)
    assert model.num_parameters() <= 8e6

import pytest

from gen_rerank import BadInput
from train.recipe import Recipe, preset_names, trainer_config
from train.trainers import DistributionalConfig, ScalarConfig


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_is_accepted_whole(name, tmp_path):
    recipe = Recipe.load(name)
    assert (
        trainer_config(DistributionalConfig, recipe.distributional, tmp_path, bf16=False, use_cpu=True).row_tokens > 0
    )
    assert trainer_config(ScalarConfig, recipe.scalar, tmp_path, bf16=False, use_cpu=True).learning_rate > 0


def test_an_argument_of_trl_is_accepted(tmp_path):
    config = trainer_config(DistributionalConfig, {"warmup_steps": 3, "adam_beta2": 0.9}, tmp_path, bf16=False)
    assert (config.warmup_steps, config.adam_beta2) == (3, 0.9)


def test_an_unknown_argument_is_refused_with_the_nearest_name(tmp_path):
    with pytest.raises(BadInput, match="unknown key 'learning_rat'; did you mean 'learning_rate'"):
        trainer_config(DistributionalConfig, {"learning_rat": 1e-3}, tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bse: x", "unknown key 'bse'; did you mean 'base'"),
        ("- 1", "a recipe is a mapping"),
        ("a: [", "not valid YAML"),
        ("prompt: {max_length: 0}", "prompt.max_length"),
        ("shape: {hidden: wide}", "shape.hidden"),
    ],
)
def test_a_wrong_file_is_refused_in_one_sentence(tmp_path, text, message):
    file = tmp_path / "recipe.yaml"
    file.write_text(text)
    with pytest.raises(BadInput, match=message) as caught:
        Recipe.load(file)
    assert "\n" not in str(caught.value)


def test_a_missing_recipe_names_the_presets():
    with pytest.raises(BadInput, match=r"the presets are .*nano"):
        Recipe.load("nano2")

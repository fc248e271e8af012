import pytest

from gen_rerank import BadInput
from train.recipe import Recipe, trainer_config
from train.trainers import DistributionalConfig, ScalarConfig


@pytest.mark.parametrize("name", Recipe.preset_names())
def test_every_preset_is_accepted_whole(name, tmp_path):
    recipe = Recipe.load(name)
    assert (
        trainer_config(DistributionalConfig, recipe.distributional, tmp_path, bf16=False, use_cpu=True).row_tokens > 0
    )
    assert trainer_config(ScalarConfig, recipe.scalar, tmp_path, bf16=False, use_cpu=True).learning_rate > 0


def test_a_bare_lora_on_a_quantized_base_is_a_recipe(tmp_path):
    file = tmp_path / "recipe.yaml"
    file.write_text(
        "{lora: {r: 8}, quantize_base: nf4, keep_layers: 20, warm_start: ['no', 'yes'], adapter: {patience: 3}}"
    )
    recipe = Recipe.load(file)
    assert (recipe.quantize_base, recipe.keep_layers, recipe.warm_start) == ("nf4", 20, ("no", "yes"))
    assert (recipe.weights, recipe.adapter) == ("float32", {"patience": 3})


def test_the_published_recipe_has_the_published_constants(tmp_path):
    recipe = Recipe.load("rexreranker-0.6b")
    config = trainer_config(DistributionalConfig, recipe.distributional, tmp_path, bf16=False, use_cpu=True)
    assert recipe.lora is None
    assert recipe.warm_start is None
    assert (config.mse_weight, config.variance, config.num_train_epochs) == (10, "fixed", 3)
    assert (config.learning_rate, config.readout_learning_rate) == (2e-5, 5e-4)
    assert recipe.prompt.max_length == 1024


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
        ("shape: {hiden: 64}", "recipe.yaml: shape: unknown key 'hiden'; did you mean 'hidden'"),
        ("lora: {alfa: 16}", "recipe.yaml: lora: unknown key 'alfa'; did you mean 'alpha'"),
        ("prompt: {max_lenght: 64}", "recipe.yaml: prompt: unknown key 'max_lenght'; did you mean 'max_length'"),
        ("prompt: {budgets: {titel: 4}}", "recipe.yaml: prompt.budgets: unknown key 'titel'; did you mean 'title'"),
        ("augment: {typo: 0.1}", "recipe.yaml: augment: unknown key 'typo'; did you mean 'typos'"),
        ("quantize_base: nf4", "recipe.yaml: quantize_base needs lora"),
        ("{quantize_base: fp8, lora: {r: 8}}", "quantize_base: Input should be 'nf4' or 'int8'"),
        ("{weights: bfloat16, lora: {r: 8}}", "a LoRA's are float32"),
        ("weights: float16", "weights: Input should be 'float32' or 'bfloat16'"),
        ("keep_layers: 0", "keep_layers: .* greater than or equal to 1"),
        ("warm_start: [no, yes]", "warm_start: put the tokens in quotes"),
        ("warm_start: ['yes', 'yes']", "two different tokens"),
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

import math

import pytest
import yaml

from gen_rerank import BadInput
from train.adapter import AdapterConfig
from train.distributional import train_distributional
from train.recipe import Recipe, trainer_config
from train.scalar_trainer import ScalarConfig
from train.trainers import DistributionalConfig

KINDS = {"distributional": DistributionalConfig, "scalar": ScalarConfig, "adapter": AdapterConfig}


@pytest.mark.parametrize("section", KINDS)
@pytest.mark.parametrize("name", Recipe.preset_names())
def test_every_preset_is_accepted_whole(name, section, tmp_path):
    given = getattr(Recipe.load(name), section)
    config = trainer_config(KINDS[section], given, tmp_path, bf16=False, use_cpu=True)
    assert {key: getattr(config, key) for key in given} == given


def test_the_published_recipe_starts_from_a_local_folder(tiny_checkpoint, tiny_data, tmp_path):
    recipe = Recipe.load("rexreranker-0.6b")
    steps = {**recipe.distributional, "max_steps": 2, "disable_tqdm": True}
    recipe = recipe.model_copy(update={"base": str(tiny_checkpoint), "distributional": steps})
    checkpoint = train_distributional(recipe, tiny_data, tmp_path / "model")
    assert checkpoint.card.provenance.base == str(tiny_checkpoint)
    assert (checkpoint.card.prompt.template, checkpoint.card.prompt.max_length) == ("qwen3_reranker", 1024)
    assert "train_loss" in checkpoint.card.provenance.metrics


@pytest.mark.parametrize("name", ["0.6b", "1.3b", "rexreranker-0.6b"])
def test_a_base_that_cannot_be_reached_is_one_sentence(name, tiny_data, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "empty"))
    recipe = Recipe.load(name)
    for _ in range(2):  # the first try leaves nothing in the way of the second
        with pytest.raises(BadInput, match=f"{recipe.base}: no such folder, and the hub gives no model") as caught:
            train_distributional(recipe, tiny_data, tmp_path / "model")
        assert "\n" not in str(caught.value)


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
        ("{keep_layers: 2, keep_lowest_layers: 2}", "both say which layers stay; remove one of the two"),
        ("warm_start: [no, yes]", "warm_start: put the tokens in quotes"),
        ("warm_start: ['yes', 'yes']", "two different tokens"),
        ("augment: {copies: -1}", "augment.copies: .* greater than or equal to 1"),
        ("augment: {copies: 1000000000}", "augment.copies: .* less than or equal to 1000"),
        ("augment: {typos: .nan}", "augment.typos: .* finite"),
        ("augment: {fillers: 1.5}", "augment.fillers: .* less than or equal to 1"),
        ("lora: {r: 0}", "lora.r: .* greater than or equal to 1"),
        ("lora: {dropout: 1}", "lora.dropout: .* less than 1"),
        ("shape: {vocabulary: 10}", "shape.vocabulary: .* greater than or equal to 280"),
        ("shape: {heads: 0}", "shape.heads: .* greater than or equal to 1"),
        ("shape: {heads: 3}", "shape: heads: 3 heads of an even width do not fill hidden: 128"),
        ("shape: {hidden: 65536}", "shape: a new base of this shape has .* million parameters; at most 1,000"),
        ("shape: {rope_theta: .inf}", "shape.rope_theta: .* finite"),
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


def test_numbers_that_yaml_reads_as_text_are_numbers(tmp_path):
    # Without a dot, 2e-5 is a text in YAML 1.1.
    section = yaml.safe_load(
        "{learning_rate: 2e-5, eval_steps: '5', lr_scheduler_type: linear, muon_learning_rate: 1e-2}"
    )
    assert isinstance(section["learning_rate"], str)
    config = trainer_config(DistributionalConfig, section, tmp_path, use_cpu=True)
    assert (config.learning_rate, config.eval_steps, config.muon_learning_rate) == (2e-5, 5.0, 1e-2)
    with pytest.raises(BadInput, match="learning_rate: 'fast' is not a number"):
        trainer_config(DistributionalConfig, {"learning_rate": "fast"}, tmp_path, use_cpu=True)


def test_a_logger_that_is_not_there_is_refused_before_any_work(tmp_path):
    with pytest.raises(BadInput, match="report_to: clearml is not installed"):
        trainer_config(DistributionalConfig, {"report_to": "clearml"}, tmp_path, use_cpu=True)
    assert trainer_config(DistributionalConfig, {"report_to": "none"}, tmp_path, use_cpu=True).report_to == []


@pytest.mark.parametrize("name", ["packing", "save_only_model", "push_to_hub"])
def test_arguments_without_a_use_are_refused_with_the_reason(name, tmp_path):
    with pytest.raises(BadInput, match=f"{name} has no use here: "):
        trainer_config(DistributionalConfig, {name: True}, tmp_path, use_cpu=True)


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("learning_rate", -1e-3, "at least 0 and at most 1,000,000,000"),
        ("learning_rate", math.nan, "at least 0 and"),
        ("learning_rate", ".inf", None),
        ("weight_decay", 1e30, "at least 0 and"),
        ("row_tokens", 0, "at least 1 and"),
        ("batch_tokens", -5, "at least 1 and"),
        ("gradient_accumulation_steps", 0, "at least 1 and"),
        ("num_train_epochs", 0, "more than 0 and at most 1,000,000"),
        ("max_steps", 0, "at least 1 and at most 1,000,000,000, or -1 for none"),
        ("eval_steps", 0, "more than 0"),
        ("adam_beta2", 1, "less than 1"),
        ("seed", 2**32, "at most 4,294,967,295"),
        ("mse_weight", math.inf, "at least 0"),
    ],
)
def test_numbers_out_of_range_are_refused_before_any_work(name, value, allowed, tmp_path):
    reason = f"the recipe: {name}: .* it must be .*{allowed}" if allowed else "is not a number"
    with pytest.raises(BadInput, match=reason):
        trainer_config(DistributionalConfig, {name: value}, tmp_path, use_cpu=True)


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("batch_tokens", None, "whole number"),
        ("row_tokens", 8.5, "whole number"),
        ("learning_rate", [1], "number"),
        ("variance", "wide", "fixed, fitted, empirical"),
        ("lr_scheduler_kwargs", 3, "text or mapping"),
        ("load_best_model_at_end", "perhaps", "true or false"),
    ],
)
def test_values_of_another_kind_are_refused(name, value, wanted, tmp_path):
    with pytest.raises(BadInput, match=f"the recipe: {name}: .* is not a {wanted}"):
        trainer_config(DistributionalConfig, {name: value}, tmp_path, use_cpu=True)


def test_minus_one_means_no_limit_on_steps(tmp_path):
    assert trainer_config(DistributionalConfig, {"max_steps": -1}, tmp_path, use_cpu=True).max_steps == -1


def test_a_recipe_in_another_encoding_is_one_sentence(tmp_path):
    (tmp_path / "recipe.yaml").write_bytes("base: café".encode("latin-1"))
    with pytest.raises(BadInput, match="not valid YAML") as caught:
        Recipe.load(tmp_path / "recipe.yaml")
    assert "\n" not in str(caught.value)


def test_prompts_longer_than_the_base_reads_are_refused(tiny_data, tmp_path):
    recipe = Recipe.model_validate({"shape": {"vocabulary": 512, "hidden": 64}, "prompt": {"max_length": 4096}})
    with pytest.raises(BadInput, match=r"prompt\.max_length: 4096 tokens, and the context of this base ends at 2048"):
        train_distributional(recipe, tiny_data, tmp_path / "model")
    assert list(tmp_path.iterdir()) == []

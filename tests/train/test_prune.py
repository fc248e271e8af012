import pytest
import torch
from torch.nn.functional import cosine_similarity
from transformers import AutoModelForCausalLM, AutoTokenizer, Qwen3Config, Qwen3ForCausalLM

from gen_rerank import BadInput
from train.prune import keep_lowest, keep_most_important, layer_importance, prune_layers

TOKENS = torch.arange(1, 41).reshape(2, 20)


def model_of(layers: int, *, silent: tuple[int, ...] = (), vocabulary: int = 64) -> Qwen3ForCausalLM:
    """A random decoder whose `silent` layers add nothing to the residual stream."""
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=vocabulary, hidden_size=32, num_hidden_layers=layers, num_attention_heads=2, num_key_value_heads=1,
        head_dim=16, intermediate_size=64, tie_word_embeddings=True, initializer_range=0.1,
        layer_types=["full_attention"] * layers,
    )  # fmt: skip
    model = Qwen3ForCausalLM(config).eval()
    with torch.no_grad():
        for number in silent:
            model.model.layers[number].self_attn.o_proj.weight.zero_()
            model.model.layers[number].mlp.down_proj.weight.zero_()
    return model


@torch.no_grad()
def logits(model) -> torch.Tensor:
    return model(TOKENS).logits


def test_a_layer_that_adds_nothing_has_no_influence():
    importance = layer_importance(model_of(4, silent=(1, 2)), [TOKENS])
    assert importance[1:3] == pytest.approx([0, 0], abs=1e-6)
    assert min(importance[0], importance[3]) > 0.01


def test_influence_is_one_minus_the_mean_cosine_over_tokens():
    model = model_of(3)
    with torch.no_grad():
        hidden = model(TOKENS, output_hidden_states=True).hidden_states
    by_hand = [(1 - cosine_similarity(hidden[i], hidden[i + 1], dim=-1)).mean().item() for i in range(2)]
    # In unequal parts, every token counts the same.
    measured = layer_importance(model, [TOKENS[:1], TOKENS[1:]])
    assert measured[:2] == pytest.approx(by_hand, abs=1e-6)


def test_the_layers_that_add_nothing_go_and_nothing_changes(tiny_checkpoint):
    tokenizer = AutoTokenizer.from_pretrained(tiny_checkpoint)
    model = model_of(4, silent=(1, 2), vocabulary=len(tokenizer))
    before = logits(model)
    assert keep_most_important(model, tokenizer, ["red desk", "oak lamp"], 2) == [0, 3]
    torch.testing.assert_close(logits(model), before)


def test_a_pruned_model_is_the_same_after_saving(tmp_path):
    model = model_of(5)
    prune_layers(model, [0, 2, 4])
    model.save_pretrained(tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    assert (again.config.num_hidden_layers, len(again.config.layer_types)) == (3, 3)
    torch.testing.assert_close(logits(again), logits(model), rtol=0, atol=0)


def test_the_lowest_layers_stay():
    model = model_of(4, silent=(2, 3))
    before = logits(model)
    keep_lowest(model, 4)
    assert model.config.num_hidden_layers == 4
    keep_lowest(model, 2)
    assert model.config.num_hidden_layers == 2
    torch.testing.assert_close(logits(model), before)
    with pytest.raises(BadInput, match="keep_lowest_layers: 3 is more than the 2 layers"):
        keep_lowest(model, 3)


@torch.no_grad()
def test_the_cache_of_a_pruned_model_works():
    model = model_of(5)
    prune_layers(model, [1, 4])
    first = model(TOKENS[:, :12], use_cache=True)
    rest = model(TOKENS[:, 12:], past_key_values=first.past_key_values, use_cache=True).logits
    assert len(first.past_key_values.layers) == 2
    torch.testing.assert_close(rest, logits(model)[:, 12:], rtol=1e-4, atol=1e-5)


def test_the_same_texts_choose_the_same_layers(tiny_checkpoint):
    tokenizer = AutoTokenizer.from_pretrained(tiny_checkpoint)
    texts = [f"red desk {number}" for number in range(300)]
    chosen = [keep_most_important(model_of(4, vocabulary=len(tokenizer)), tokenizer, texts, 3) for _ in range(2)]
    assert chosen[0] == chosen[1]
    assert len(chosen[0]) == 3


@pytest.mark.parametrize(
    ("count", "texts", "message"), [(3, ["red desk"], "more than the 2 layers"), (1, [""], "no text")]
)
def test_what_cannot_be_pruned_is_one_sentence(tiny_checkpoint, count, texts, message):
    model = AutoModelForCausalLM.from_pretrained(tiny_checkpoint)
    with pytest.raises(BadInput, match=message):
        keep_most_important(model, AutoTokenizer.from_pretrained(tiny_checkpoint), texts, count)


@pytest.mark.parametrize("keep", [[], [1, 0], [0, 0], [0, 2], [-1, 0]])
def test_layers_that_are_not_there_are_refused(keep):
    with pytest.raises(BadInput, match="must ascend"):
        prune_layers(model_of(2), keep)

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from gen_rerank import BIN_TOKENS, BadInput, Pair
from gen_rerank.bins import BIN_VALUES, Distribution
from gen_rerank.prompting.prompt import Prompt, PromptSpec
from train.bases import open_base
from train.recipe import Recipe
from train.tokenizer import train_tokenizer

PROMPT = PromptSpec(template="qwen3_reranker", max_length=256)


@pytest.fixture(scope="module", params=[True, False], ids=["tied", "untied"])
def yes_no_model(request, tiny_shop, tmp_path_factory):
    """A random model whose tokenizer has `yes` and `no` and lacks the bin tokens, as the public yes/no rerankers."""
    folder = tmp_path_factory.mktemp("yes_no")
    texts = ["yes no"] * 50 + [f"{p.title} {p.description}" for p in tiny_shop.products.values()]
    bare = Tokenizer.from_str(train_tokenizer(texts, 400).backend_tokenizer.to_str().replace("rel_", "old_"))
    PreTrainedTokenizerFast(tokenizer_object=bare).save_pretrained(folder)
    torch.manual_seed(3)
    config = Qwen3Config(
        vocab_size=bare.get_vocab_size(), hidden_size=64, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, head_dim=32, intermediate_size=128, tie_word_embeddings=request.param,
        initializer_range=0.2,
    )  # fmt: skip
    Qwen3ForCausalLM(config).save_pretrained(folder)
    return folder


@torch.no_grad()
def last_logits(model, encoded: list[list[int]]) -> torch.Tensor:
    return torch.stack([model(torch.tensor([ids])).logits[0, -1] for ids in encoded])


def test_the_first_forward_pass_ranks_as_the_yes_no_model_does(yes_no_model, tiny_shop):
    pairs = [Pair(f"{c} {t}", p) for c, t in (("red", "desk"), ("oak", "lamp")) for p in tiny_shop.products.values()]
    tokenizer = PreTrainedTokenizerFast.from_pretrained(yes_no_model)
    encoded = Prompt(PROMPT, tokenizer.backend_tokenizer).encode(pairs)
    answers = tokenizer.convert_tokens_to_ids(["no", "yes"])
    plain = last_logits(AutoModelForCausalLM.from_pretrained(yes_no_model, dtype=torch.float32), encoded)[:, answers]
    p_yes = plain.double().softmax(dim=-1)[:, 1].numpy()

    recipe = Recipe(base=str(yes_no_model), warm_start=("no", "yes"), prompt=PROMPT)
    model, ours = open_base(recipe, yes_no_model, [])
    assert Prompt(PROMPT, ours.backend_tokenizer).encode(pairs) == encoded
    bins = last_logits(model, encoded)[:, ours.convert_tokens_to_ids(list(BIN_TOKENS))]
    score = Distribution.from_logits(bins).mean

    assert np.ptp(np.log(p_yes / (1 - p_yes))) > 0.5
    assert np.argsort(score, kind="stable").tolist() == np.argsort(p_yes, kind="stable").tolist()
    # The closed form: the mean of softmax(d · c), with d the difference of the two logits.
    difference = (plain[:, 1] - plain[:, 0]).numpy()
    weights = np.exp(difference[:, None] * BIN_VALUES)
    assert score == pytest.approx((weights * BIN_VALUES).sum(1) / weights.sum(1), abs=1e-5)
    assert ((score > 0.5) == (p_yes > 0.5)).all()


def test_a_base_with_bin_tokens_keeps_its_rows(tiny_checkpoint):
    model, tokenizer = open_base(Recipe(warm_start=("no", "yes")), tiny_checkpoint, [])
    ids = tokenizer.convert_tokens_to_ids(list(BIN_TOKENS))
    before = AutoModelForCausalLM.from_pretrained(tiny_checkpoint, dtype=torch.float32).lm_head.weight[ids]
    assert torch.equal(model.get_output_embeddings().weight[ids], before)


def test_an_answer_that_is_no_token_is_refused(yes_no_model):
    with pytest.raises(BadInput, match="'perhaps' is not a single token"):
        open_base(Recipe(warm_start=("no", "perhaps")), yes_no_model, [])

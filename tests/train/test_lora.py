import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from gen_rerank import BIN_TOKENS
from train.bases import open_base
from train.lora import Lora, merge_into_plain
from train.recipe import Recipe


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

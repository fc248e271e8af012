import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tokenizers import pre_tokenizers
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from gen_rerank import BadInput
from train import gguf_bases
from train.bases import base_folder, find_base, open_base
from train.distributional import train_distributional
from train.gguf_bases import gguf_base
from train.recipe import Recipe
from train.scalar import train_scalar

gguf = pytest.importorskip("gguf")

pytestmark = pytest.mark.usefixtures("one_thread")  # matrices this small

ROOT = Path(__file__).parents[2]
HIDDEN, MLP, HEADS, LAYERS = 32, 48, 2, 2
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TEMPLATE = "{% for message in messages %}{{ message['content'] }}{% endfor %}"


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gguf_bases, "cache_folder", lambda: tmp_path / "bases")


def write_gguf(file: Path, *, architecture: str = "llama", without: str = "", seed: int = 0) -> Path:
    """Write a Llama of two layers with a byte-level tokenizer; its special tokens have the ids of SmolLM2's."""
    tokens = SPECIAL + sorted(pre_tokenizers.ByteLevel.alphabet()) + ["Ġd", "Ġde"]
    writer = gguf.GGUFWriter(file, architecture)
    writer.add_block_count(LAYERS)
    writer.add_context_length(256)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(MLP)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(HIDDEN // HEADS)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([3] * len(SPECIAL) + [1] * (len(tokens) - len(SPECIAL)))
    writer.add_token_merges(["Ġ d", "Ġd e"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_chat_template(TEMPLATE)
    rng = np.random.default_rng(seed)
    shapes = {"token_embd": (len(tokens), HIDDEN), "output_norm": (HIDDEN,)}
    for layer in range(LAYERS):
        at = f"blk.{layer}."
        shapes |= {at + f"attn_{name}": (HIDDEN, HIDDEN) for name in ("q", "k", "v", "output")}
        shapes |= {at + "attn_norm": (HIDDEN,), at + "ffn_norm": (HIDDEN,)}
        shapes |= {at + "ffn_gate": (MLP, HIDDEN), at + "ffn_up": (MLP, HIDDEN), at + "ffn_down": (HIDDEN, MLP)}
    for name, shape in shapes.items():
        if name != without:
            writer.add_tensor(name + ".weight", rng.normal(0, 0.1, shape).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def elsewhere(script: str, cache: Path, *words: object, **more: object) -> subprocess.Popen[str]:
    """Start Python in a process of its own, whose cache is `cache`."""
    environment = {**os.environ, "HF_HOME": str(cache), "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    environment.pop("HF_ASSETS_CACHE", None)
    command = [sys.executable, "-c", script, *map(str, words)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env=environment, **pipes, **more)


CONVERT = """
import sys
from pathlib import Path
from gen_rerank import BadInput
from train.distributional import train_distributional
from train.gguf_bases import gguf_base
try:
    print(gguf_base(Path(sys.argv[1])).folder)
except BadInput as error:
    print("refused:", error)
"""


def test_a_file_becomes_a_plain_folder_with_its_weights(tmp_path: Path):
    file = write_gguf(tmp_path / "tiny.gguf")
    found = gguf_base(file)
    made = load_file(found.folder / "model.safetensors")
    assert {tensor.dtype for tensor in made.values()} == {torch.bfloat16}
    assert len(made) == 2 + 9 * LAYERS
    written = {tensor.name: torch.tensor(np.array(tensor.data)) for tensor in gguf.GGUFReader(file).tensors}
    for theirs, ours in (
        ("token_embd.weight", "model.embed_tokens.weight"),
        ("blk.1.ffn_down.weight", "model.layers.1.mlp.down_proj.weight"),
        ("blk.0.attn_v.weight", "model.layers.0.self_attn.v_proj.weight"),
        ("output_norm.weight", "model.norm.weight"),
    ):
        assert torch.equal(made[ours], written[theirs].bfloat16())
    # llama.cpp lays the two halves of a rotated head side by side.
    queries = written["blk.0.attn_q.weight"].reshape(HEADS, HIDDEN // HEADS // 2, 2, HIDDEN).swapaxes(1, 2)
    assert torch.equal(made["model.layers.0.self_attn.q_proj.weight"], queries.reshape(HIDDEN, HIDDEN).bfloat16())
    model = AutoModelForCausalLM.from_pretrained(found.folder)
    assert not hasattr(model.config, "quantization_config")
    assert model.config.tie_word_embeddings
    assert found.folder.parent == tmp_path / "bases"
    assert found.source.startswith("tiny.gguf, sha256 ")


def test_its_tokenizer_keeps_special_tokens_digits_and_chat_template(tmp_path: Path):
    tokenizer = PreTrainedTokenizerFast.from_pretrained(gguf_base(write_gguf(tmp_path / "tiny.gguf")).folder)
    special = (tokenizer.unk_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id)
    assert special == (0, 1, 2)
    assert tokenizer.tokenize("<|im_start|>a de 12<|im_end|>") == [
        "<|im_start|>", "a", "Ġde", "Ġ", "1", "2", "<|im_end|>",
    ]  # fmt: skip
    assert tokenizer.chat_template == TEMPLATE
    assert tokenizer.model_max_length == 256


def test_it_is_converted_once_and_by_content(tmp_path: Path):
    first = gguf_base(write_gguf(tmp_path / "one.gguf")).folder
    changed = (first / "model.safetensors").stat().st_mtime_ns
    assert find_base(tmp_path / "one.gguf").folder == first
    assert (first / "model.safetensors").stat().st_mtime_ns == changed
    assert base_folder(str(write_gguf(tmp_path / "one.gguf", seed=1))) != first


def test_it_is_opened_as_any_base(tmp_path: Path):
    file = write_gguf(tmp_path / "tiny.gguf")
    model, tokenizer = open_base(Recipe(keep_layers=1), file, ["a desk", "a lamp"])
    assert model.config.num_hidden_layers == 1
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert tokenizer.convert_tokens_to_ids("<|rel_0|>") != tokenizer.unk_token_id


def test_what_is_trained_from_it_says_so(tmp_path: Path, tiny_data: Path):
    recipe = Recipe.model_validate(
        {
            "base": str(write_gguf(tmp_path / "tiny.gguf")),
            "prompt": {"max_length": 200, "instruction": "Rate."},
            "distributional": {"max_steps": 1, "row_tokens": 256, "batch_tokens": 512, "bf16": False,
                               "eval_strategy": "no", "save_strategy": "no", "disable_tqdm": True},
            "scalar": {"max_steps": 1, "disable_tqdm": True},
        }
    )  # fmt: skip
    source = gguf_base(tmp_path / "tiny.gguf").source
    first = train_distributional(recipe, tiny_data, tmp_path / "first")
    assert first.card.provenance.base_source == source
    assert f"({source})" in (first.folder / "README.md").read_text()
    second = train_scalar(recipe, first.folder, tiny_data, tmp_path / "second")
    assert second.card.provenance.base_source == source


@pytest.mark.parametrize(
    ("harm", "sentence"),
    [
        (lambda file: file.unlink(), "no such file"),
        (lambda file: file.write_text("weights"), "not a GGUF file, or not a whole one"),
        (lambda file: file.write_bytes(file.read_bytes()[:-5000]), "not a GGUF file, or not a whole one"),
        (lambda file: file.write_bytes(file.read_bytes()[:700]), "not a GGUF file, or not a whole one"),
        (lambda file: write_gguf(file, architecture="rwkv7"), "whose architecture is 'rwkv7'"),
        (lambda file: write_gguf(file, without="blk.1.ffn_up"), "no tensor for model.layers.1.mlp.up_proj.weight"),
    ],
)
def test_what_cannot_be_read_is_one_sentence_and_leaves_nothing(tmp_path: Path, harm, sentence):
    file = write_gguf(tmp_path / "tiny.gguf")
    harm(file)
    with pytest.raises(BadInput, match=sentence) as refused:
        find_base(file)
    assert "\n" not in str(refused.value)
    assert [path.name for path in tmp_path.glob("bases/*") if path.suffix != ".lock"] == []


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch):
    file = write_gguf(tmp_path / "tiny.gguf")
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(BadInput, match="type pip install gguf"):
        gguf_base(file)


@pytest.mark.slow
def test_a_killed_conversion_leaves_nothing_half_and_two_at_once_make_one(tmp_path: Path):
    file, cache = write_gguf(tmp_path / "tiny.gguf"), tmp_path / "home"
    stuck = CONVERT.replace("(Path(sys.argv[1]))", "(Path(sys.argv[1]), lambda _: (print('checks'), input()))")
    killed = elsewhere("import sys; sys.stdout.reconfigure(line_buffering=True)\n" + stuck, cache, file,
                       stdin=subprocess.PIPE)  # fmt: skip
    assert killed.stdout.readline() == "checks\n"
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    bases = cache / "assets" / "gen_rerank" / "bases" / "gguf"
    assert not [path for path in bases.iterdir() if not path.name.startswith(".")]
    both = [elsewhere(CONVERT, cache, file) for _ in range(2)]
    told = {process.communicate(timeout=120)[0].strip() for process in both}
    assert len(told) == 1
    (folder,) = (path for path in bases.iterdir() if path.is_dir())
    assert told == {str(folder)}
    assert AutoModelForCausalLM.from_pretrained(folder).config.num_hidden_layers == LAYERS


def test_a_full_disk_is_one_sentence(tmp_path: Path):
    file = write_gguf(tmp_path / "tiny.gguf")
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))  # noqa: E731
    told, complained = elsewhere(CONVERT, tmp_path / "home", file, preexec_fn=limit).communicate(timeout=120)
    assert "no room for the converted base" in told, complained[-1000:]
    assert "HF_HOME" in told

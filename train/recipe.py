"""A recipe: one YAML file that says which base, which prompt and which arguments each phase gets.

Every argument of TRL and transformers is accepted in the phases' sections; an unknown key anywhere is refused with
the nearest name that exists. The presets are the files beside this one in `recipes/`. `RecipeFile` is how any recipe is
read, `Recipe` is a decoder's; an encoder's is in `encoder`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import fields
from importlib.resources import as_file, files
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, ClassVar, Literal, Self, TypeVar, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError, field_validator, model_validator
from transformers import HfArgumentParser, TrainingArguments
from transformers.integrations import get_available_reporting_integrations

from gen_rerank.checkpoints.bitsandbytes import LoadedAs
from gen_rerank.errors import BadInput
from gen_rerank.prompting.prompt import FIELDS, PromptSpec
from gen_rerank.system.settings import read_settings, refuse_unknown, refused_value
from train.augment import Augment
from train.fake_quantization import FakeQuantization
from train.lora import Lora
from train.nano import NanoShape
from train.ranges import Count, require_in_range

Config = TypeVar("Config", bound=TrainingArguments)


class RecipeFile(BaseModel):
    """A recipe as a file: how presets are found, how YAML is read, how a wrong key is refused.

    Attributes:
        folder: where a kind of recipe keeps its presets, below this package.
        sections: the keys that each section may have, by the section's dotted path.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    folder: ClassVar[str]
    sections: ClassVar[Mapping[str, Iterable[str]]] = {
        "augment": [entry.name for entry in fields(Augment)],
        "prompt": PromptSpec.model_fields,
        "prompt.budgets": FIELDS,
    }

    @classmethod
    def load(cls, name: str | Path) -> Self:
        """Read a preset by name or a YAML file by path.

        Raises:
            BadInput: no such preset or file, not YAML, or an unknown key (the nearest known one is named).
        """
        with cls._found(str(name)) as file:
            given = read_settings(file, "a recipe is a mapping of keys")
        refuse_unknown(given, cls.model_fields, str(name))
        for section, known in cls.sections.items():
            refuse_unknown(_section(given, section), known, f"{name}: {section}")
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            raise refused_value(error, str(name)) from error

    @classmethod
    def preset_names(cls) -> list[str]:
        """Return the names of the presets that are installed."""
        folder = files("train").joinpath(cls.folder)
        return sorted(path.name.removesuffix(".yaml") for path in folder.iterdir() if path.name.endswith(".yaml"))

    @classmethod
    def _found(cls, name: str) -> AbstractContextManager[Path]:
        """Return the file of a preset, or the one of this path."""
        if name in cls.preset_names():
            return as_file(files("train").joinpath(cls.folder, f"{name}.yaml"))
        path = Path(name)
        if not path.is_file():
            raise BadInput(f"{name}: no such recipe file; the presets are {', '.join(cls.preset_names())}")
        return nullcontext(path)


class Recipe(RecipeFile):
    """What the training of a decoder needs to know.

    Attributes:
        base: a folder, a packaged base (`nano`), `smollm2-135m`, a GGUF file or a hub name; None makes a new base of
            `shape` from nothing.
        shape: of a new base.
        keep_layers: how many decoder layers stay, the most important ones on the catalog's text; None keeps all.
        keep_lowest_layers: how many stay, the lowest ones, in place of `keep_layers`.
        warm_start: the tokens by which a yes/no reranker answers, `[no, yes]`: new bin rows start between theirs, and
            with that model's own prompt the first forward pass ranks as it does. None starts them at the mean of all
            rows.
        prompt: what the checkpoint will record.
        lora: adapters on a frozen base, merged at the end; None trains all weights.
        quantize_base: the frozen base under a LoRA in 4-bit NormalFloat (QLoRA) or LLM.int8(); None leaves it in
            bfloat16.
        weights: what all weights are kept in while they are trained. With `bfloat16` the optimizer has a float32
            copy, because steps smaller than a bfloat16's rounding would be lost. A LoRA's are always float32.
        fake_quantization: the scheme that the model computes as in phase 1 (quantization-aware training), so that its
            weights learn to be rounded; the checkpoint is a plain one, for `gen-rerank quantize`. None trains as in
            full precision.
        augment: how training pairs are varied; as they are by default. Validation is never varied.
        distributional: arguments of phase 1.
        scalar: arguments of phase 2.
        adapter: arguments of a catalog's adapter.

    Example:
        >>> Recipe.load("1.3b").keep_layers
        20
    """

    folder: ClassVar[str] = "recipes"
    sections: ClassVar[Mapping[str, Iterable[str]]] = {
        **RecipeFile.sections,
        "shape": [entry.name for entry in fields(NanoShape)],
        "lora": Lora.model_fields,
    }

    base: str | None = None
    shape: NanoShape = NanoShape()
    keep_layers: Count | None = None
    keep_lowest_layers: Count | None = None
    warm_start: tuple[str, str] | None = None
    prompt: PromptSpec = PromptSpec()
    lora: Lora | None = None
    quantize_base: LoadedAs | None = None
    weights: Literal["float32", "bfloat16"] = "float32"
    fake_quantization: FakeQuantization | None = None
    augment: Augment = Augment()
    distributional: dict[str, Any] = {}
    scalar: dict[str, Any] = {}
    adapter: dict[str, Any] = {}

    @field_validator("warm_start", mode="before")
    @classmethod
    def _check_tokens(cls, given: Any) -> Any:
        if isinstance(given, list | tuple) and any(isinstance(token, bool) for token in given):
            raise ValueError('put the tokens in quotes, ["no", "yes"]: YAML reads a bare no as false')
        return given

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if self.keep_layers is not None and self.keep_lowest_layers is not None:
            raise ValueError("keep_layers and keep_lowest_layers both say which layers stay; remove one of the two")
        if self.quantize_base is not None and self.lora is None:
            raise ValueError(
                "quantize_base needs lora: quantized weights cannot be trained themselves; add a lora section"
            )
        if self.weights == "bfloat16" and self.lora is not None:
            raise ValueError(
                "weights: bfloat16 is for training all weights; a LoRA's are float32: remove one of the two"
            )
        if self.fake_quantization is not None and self.lora is not None:
            raise ValueError(
                "fake_quantization is for training all weights: a LoRA is merged into its base before they are "
                "quantized; remove one of the two"
            )
        if self.warm_start is not None and self.warm_start[0] == self.warm_start[1]:
            raise ValueError("warm_start needs two different tokens, [no, yes]")
        return self


def trainer_config(kind: type[Config], section: dict[str, Any], output_dir: Path, **defaults: Any) -> Config:
    """Return a phase's arguments: ours as defaults, the recipe's on top.

    Raises:
        BadInput: a key that this configuration does not have, or a value that it refuses.
    """
    known = [entry.name for entry in fields(kind) if entry.init]
    refuse_unknown(section, known, "the recipe")
    for name, reason in _MEANINGLESS.items():
        if section.get(name):
            raise BadInput(f"the recipe: {name} has no use here: {reason}")
    given = {name: _typed(kind, name, value) for name, value in section.items()}
    try:
        (config,) = HfArgumentParser(kind).parse_dict({**defaults, **given, "output_dir": str(output_dir)})
    except (TypeError, ValueError) as error:
        raise BadInput(f"the recipe's arguments are refused: {' '.join(str(error).split())}") from error
    _check_loggers(config)
    if config.n_gpu > 1:
        raise BadInput(
            f"this machine has {config.n_gpu} GPUs: start with accelerate launch --config_file train/launch/ddp.yaml, "
            "or choose one with CUDA_VISIBLE_DEVICES=0"
        )
    return config


def _check_loggers(config: TrainingArguments) -> None:
    """Refuse a logger whose package is missing before any work, not at the first step."""
    installed = get_available_reporting_integrations()
    missing = [name for name in config.report_to if name not in installed]
    if missing:
        there = ", ".join(installed) or "none"
        raise BadInput(
            f"the recipe: report_to: {missing[0]} is not installed (installed: {there}); install its package"
        )


# Arguments of the libraries that would be ignored, break resuming, or work on texts that our trainers never see.
_MEANINGLESS = {
    "packing": "pairs that share a prefix share a row already (row_tokens)",
    "padding_free": "rows of like length share a batch (batch_tokens)",
    "assistant_only_loss": "the loss reads one position of each pair",
    "completion_only_loss": "the loss reads one position of each pair",
    "max_length": "the prompt section has max_length",
    "train_sampling_strategy": "batches are filled by batch_tokens",
    "router_aux_loss_coef": "the loss is that of the bins",
    "model_init_kwargs": "the recipe says how the base is opened (weights, quantize_base)",
    "save_only_model": "a run could not be resumed",
    "ignore_data_skip": "a resumed run would read other pairs",
    "push_to_hub": "it would push the run's saved states; upload the finished folder with `hf upload`",
}


_WORDS = {int: "whole number", float: "number", bool: "true or false", str: "text", dict: "mapping", list: "list"}


def _typed(kind: type[Config], name: str, value: Any) -> Any:
    """Return a recipe's value in the type that its argument is declared with, a number in its range.

    YAML reads 2e-5, without a dot, as a text. What libraries declare with types of their own is left to them.
    """
    declared = get_type_hints(kind)[name]
    parts = get_args(declared) if get_origin(declared) in (Union, UnionType) else (declared,)
    plain = [get_origin(part) or part for part in parts]
    if not {*plain} <= {*_WORDS, Literal, NoneType}:
        return value
    try:
        typed = TypeAdapter(declared).validate_python(value)
    except ValidationError as error:
        wanted = [word for part, word in _WORDS.items() if part in plain]
        wanted += [", ".join(map(str, get_args(part))) for part in parts if get_origin(part) is Literal]
        raise BadInput(f"the recipe: {name}: {value!r} is not a {' or '.join(wanted)}") from error
    if isinstance(typed, int | float) and not isinstance(typed, bool):
        require_in_range(name, typed)
    return typed


def _section(given: dict[str, Any], path: str) -> dict[str, Any]:
    """Return a section by its dotted path, empty if it is absent or no mapping."""
    for key in path.split("."):
        inner = given.get(key)
        given = inner if isinstance(inner, dict) else {}
    return given

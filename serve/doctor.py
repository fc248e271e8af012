"""What this machine can train, quantize and serve, and why not: `gen-rerank doctor`.

Looks at the computer and at the libraries, asks `serve.vllm_support` what vLLM serves, and shows it all for people and
for programs, beside what is known of each scheme on other hardware.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pydantic import BaseModel, ConfigDict
from rich.console import Console
from rich.text import Text

from gen_rerank.checkpoints.schemes import SCHEMES, SchemeInfo
from gen_rerank.reporting.tables import TextTable
from gen_rerank.system.machine import Machine, installed_version
from serve.vllm_support import INPUTS, OUTPUTS, PLAIN, TOKENS, Support, ask_vllm, unsupported

_LIBRARIES = (
    "torch", "transformers", "trl", "peft", "accelerate", "datasets", "bitsandbytes", "sentence-transformers",
    "llmcompressor", "compressed-tensors", "vllm", "fastapi", "uvicorn",
)  # fmt: skip
# What can be done, the extra that brings it, and the libraries that it takes.
_WORK = (
    ("train a decoder or an adapter", "train", ("torch", "transformers", "trl", "peft", "accelerate", "datasets")),
    ("train on a 4-bit or 8-bit base", "train", ("torch", "transformers", "trl", "peft", "bitsandbytes")),
    ("train an encoder", "train", ("torch", "transformers", "sentence-transformers", "datasets")),
    ("quantize", "quant", ("torch", "transformers", "llmcompressor", "compressed-tensors")),
    ("serve", "serve", ("torch", "transformers", "vllm", "fastapi", "uvicorn")),
)


class Ability(BaseModel):
    """One kind of work, and what is missing for it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    work: str
    possible: bool
    reason: str | None = None


class Examination(BaseModel):
    """What `gen-rerank doctor` found.

    Attributes:
        machine: the computer.
        libraries: the version of each library, None where it is not installed.
        abilities: the kinds of work.
        answers: what can be served, by vLLM's own answer.
        schemes: what `gen-rerank quantize` can make, and where it runs.
    """

    # Of a scheme, which is more, what `SchemeInfo` says is kept.
    model_config = ConfigDict(extra="forbid", frozen=True, revalidate_instances="always", validate_default=True)

    machine: Machine
    libraries: dict[str, str | None]
    abilities: tuple[Ability, ...]
    answers: tuple[Support, ...]
    schemes: tuple[SchemeInfo, ...] = SCHEMES

    def to_json(self) -> str:
        """Return the examination for programs."""
        return self.model_dump_json(indent=2) + "\n"


def examine(console: Console = Console(quiet=True)) -> Examination:  # noqa: B008 - it prints nothing
    """Examine this machine; takes about half a minute, most of it vLLM's import.

    Args:
        console: shows what is being done.

    Example:
        >>> examine().machine.cores  # doctest: +SKIP
        2
    """
    libraries = {name: installed_version(name) for name in _LIBRARIES}
    with console.status("looking at the machine"):
        machine = Machine.here()
    with console.status("asking vLLM what it can serve here"):
        names = (PLAIN, *(scheme.name for scheme in SCHEMES))
        answers = ask_vllm() if libraries["vllm"] else unsupported(names, "vLLM is not installed")
    return Examination(
        machine=machine, libraries=libraries, abilities=tuple(_abilities(libraries)), answers=tuple(answers)
    )


def tables(examination: Examination) -> list[TextTable]:
    """Return the examination for people: what can be done, what can be served here and elsewhere, and the machine."""
    return [
        _abilities_table(examination.abilities),
        _answers_table(examination.answers),
        _schemes_table(examination.schemes),
        _machine_table(examination.machine, examination.libraries),
    ]


def _abilities(libraries: dict[str, str | None]) -> Iterator[Ability]:
    for work, extra, needed in _WORK:
        missing = [name for name in needed if libraries[name] is None]
        reason = f"not installed: {', '.join(missing)} (the extra {extra!r} brings it)" if missing else None
        yield Ability(work=work, possible=not missing, reason=reason)


def _abilities_table(abilities: Sequence[Ability]) -> TextTable:
    table = TextTable("What this machine can do")
    for column in ("Work", "Possible", "Why not"):
        table.add_column(column)
    for ability in abilities:
        table.add_row(ability.work, _yes(ability.possible), ability.reason or "")
    return table


def _answers_table(answers: Sequence[Support]) -> TextTable:
    table = TextTable(
        "What vLLM can serve here, by its own answer",
        f"one layer of {INPUTS} x {OUTPUTS}, {TOKENS} tokens; speed against bf16, error against the decoded "
        "weights; what is not served can be unpacked: serve --dequantize",
    )
    table.add_column("Scheme", no_wrap=True)
    table.add_column("Served")
    table.add_column("Speed", justify="right")
    table.add_column("Error", justify="right")
    table.add_column("Kernel, or why not")
    for answer in answers:
        speed = "–" if answer.relative_speed is None else f"{answer.relative_speed:.2f}x"
        error = "–" if answer.relative_error is None else f"{answer.relative_error:.1%}"
        table.add_row(answer.scheme, _yes(answer.served), speed, error, answer.reason or answer.kernel or "")
    return table


def _schemes_table(schemes: Sequence[SchemeInfo]) -> TextTable:
    table = TextTable("What quantize --scheme can make, and where vLLM 0.32 runs it", show_lines=True)
    table.add_column("Scheme", no_wrap=True)
    for column in ("What it is", "CPU", "Hopper", "Blackwell"):
        table.add_column(column)
    for scheme in schemes:
        table.add_row(scheme.name, scheme.explanation, scheme.cpu, scheme.hopper, scheme.blackwell)
    return table


def _machine_table(machine: Machine, libraries: dict[str, str | None]) -> TextTable:
    table = TextTable("Machine and libraries", show_header=False)
    table.add_row("Processor", f"{machine.processor}, {machine.cores} cores for this process")
    has = [name for name, there in machine.instruction_sets.items() if there]
    lacks = [name for name, there in machine.instruction_sets.items() if not there]
    table.add_row("Instruction sets", ", ".join(has) + (f"; without {', '.join(lacks)}" if lacks else ""))
    table.add_row("Memory, free disk", f"{machine.memory_gib:.1f} GiB, {machine.disk_free_gib:.1f} GiB")
    for gpu in machine.gpus:
        table.add_row("GPU", f"{gpu.name}, compute capability {gpu.capability}, {gpu.memory_gib:.0f} GiB")
    if not machine.gpus:
        table.add_row("GPU", "none that torch sees")
    for name, found in libraries.items():
        table.add_row(name, found or "not installed")
    return table


def _yes(true: bool) -> Text:
    return Text("yes", "green") if true else Text("no", "red")

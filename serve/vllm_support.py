"""vLLM's own answer to what it can serve on this machine, scheme by scheme.

No table of ours says it: vLLM is asked to build one linear layer of a scheme. `why_not_served` asks without weights,
before a server starts. `ask_vllm` asks in a process of its own, because a kernel that does not fit the machine may end
it, fills the layer with random codes, compares its output with what compressed-tensors says these codes are, and takes
the time. A scheme is its compressed-tensors preset; how a checkpoint gets one is none of this module's business.
"""

from __future__ import annotations

import copy
import json
import logging
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.checkpoints.schemes import SCHEMES
from gen_rerank.scorers.engine_plan import Dtype, default_dtype, prepare_environment
from gen_rerank.system.own_packages import own_module

if TYPE_CHECKING:
    import torch

# All that vLLM sees of a scheme: to it int8-smoothquant is int8.
_PRESETS = {scheme.name: scheme.preset for scheme in SCHEMES}
PLAIN = "bf16"

# The layer that is built: an MLP's first of a 0.6B decoder, with a few products' tokens.
INPUTS, OUTPUTS, TOKENS = 1024, 3072, 512
_REPEATS = 7
_CHILD_SECONDS = 180.0
# Rounding activations to four bits is off by about 0.1; a product with other weights by 1.
_WRONG_ERROR = 0.3
# What vLLM raises where it has no kernel, no scheme of this kind, or too old a device.
_REFUSALS = (NotImplementedError, RuntimeError, ValueError)


class Support(BaseModel):
    """What vLLM answered for one scheme.

    Attributes:
        scheme: its name in `gen_rerank.checkpoints.schemes`; `bf16` is the plain layer that others are compared with.
        served: whether vLLM computes it here.
        kernel: vLLM's name of what computes it.
        reason: why it is not served, in vLLM's words.
        seconds: until the first output was there.
        relative_error: ‖y − x·Wᵀ‖ / ‖x·Wᵀ‖, with the weights as compressed-tensors decodes them.
        relative_speed: the plain layer's time over this one's; 1 is as fast.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    scheme: str
    served: bool
    kernel: str | None = None
    reason: str | None = None
    seconds: float | None = None
    relative_error: float | None = None
    relative_speed: float | None = None


def ask_vllm(schemes: Sequence[str] = tuple(_PRESETS)) -> list[Support]:
    """Ask vLLM, in processes of its own, which schemes it serves here, how exactly and how fast.

    Args:
        schemes: names of `gen_rerank.checkpoints.schemes`.

    Returns:
        the plain layer's answer, then one a scheme, in order.

    Example:
        >>> [answer.served for answer in ask_vllm(["int8", "mxfp4"])]  # doctest: +SKIP
        [True, True, False]
    """
    answers: dict[str, Support] = {}
    while waiting := [scheme for scheme in schemes if scheme not in answers]:
        found, last_words = _ask_once(waiting)
        answers |= {answer.scheme: answer for answer in found}
        if not found:  # not even the plain layer
            return unsupported((PLAIN, *schemes), f"vLLM does not start here: {last_words}")
        for scheme in waiting:
            if scheme not in answers:
                answers[scheme] = Support(scheme=scheme, served=False, reason=f"vLLM ended: {last_words}")
                break
    return [answers[scheme] for scheme in (PLAIN, *schemes)]


def why_not_served(checkpoint: Checkpoint, dtype: Dtype | None = None) -> str | None:
    """Ask vLLM whether it has a kernel for a checkpoint quantized by compressed-tensors; None where it has.

    A layer is built without weights, in this process: next to what the server imports anyway, that takes a moment. What
    fails only once the engine has the weights is the engine's to say.

    Args:
        checkpoint: the quantized one.
        dtype: of the activations, as the server is started.

    Example:
        >>> why_not_served(Checkpoint.open("runs/mxfp4"))  # doctest: +SKIP
        'Failed to find a kernel that can implement the MXFP4 linear layer'
    """
    stored = checkpoint.config.get("quantization_config") or {}
    if stored.get("quant_method") != "compressed-tensors":
        return None
    import torch

    from gen_rerank.checkpoints.dequantize import packed_layers

    # The first by name is the last of an MLP, which vLLM does not fuse with others.
    layer = packed_layers(checkpoint)[0]
    chosen = dtype or default_dtype(checkpoint)
    try:
        with _errors_only("vllm"), _vllm_layers(checkpoint.folder, chosen), torch.device("meta"):
            _build(layer.name, layer.inputs, layer.outputs, getattr(torch, chosen), stored)
    except _REFUSALS as error:
        return vllms_reason(error)
    return None


@contextmanager
def _errors_only(package: str) -> Iterator[None]:
    """Keep a library's warnings off the terminal: they are about an engine that nobody starts here."""
    logger = logging.getLogger(package)
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def unsupported(schemes: Sequence[str], reason: str) -> list[Support]:
    """Return the answer "no" for each scheme, for one reason."""
    return [Support(scheme=scheme, served=False, reason=reason) for scheme in schemes]


def _ask_once(schemes: Sequence[str]) -> tuple[list[Support], str]:
    """Return the answers that came before the process ended, and its last words."""
    prepare_environment()
    try:
        done = subprocess.run(
            own_module(__spec__.name, *schemes), capture_output=True, timeout=_CHILD_SECONDS, check=False
        )
        said, end = done.stdout, _last_words(done.stderr, done.returncode)
    except subprocess.TimeoutExpired as late:
        said, end = late.stdout or b"", f"no answer in {_CHILD_SECONDS:.0f} seconds"
    return [Support.model_validate_json(line) for line in said.splitlines()], end


def _last_words(output: bytes, code: int) -> str:
    """Return the exception that ended a process, or else its exit code; libraries go on printing after it."""
    # A process with ranks writes its rank before each line.
    found = re.findall(
        r"^(?:\[rank\d+\]: )?([\w.]+(?:Error|Exception): .*)$", output.decode(errors="replace"), re.MULTILINE
    )
    return str(found[-1]) if found else f"exit code {code}"


def _answer(schemes: Sequence[str]) -> None:
    """Write one answer a line; what the process that was started by `_ask_once` does."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever libraries print is no answer

    def say(answer: Support) -> None:
        answers.write(answer.model_dump_json() + "\n")
        answers.flush()

    import torch
    from vllm.platforms import current_platform

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "config.json").write_text(json.dumps(_SHAPE))
        with _vllm_layers(folder, "bfloat16"), torch.device(current_platform.device_type), torch.inference_mode():
            torch.manual_seed(0)
            x = torch.randn(TOKENS, INPUTS, dtype=torch.bfloat16)
            plain, answer = _try(PLAIN, None, x)
            say(answer)
            answered: dict[str, Support] = {}
            for scheme in schemes:
                preset = _PRESETS[scheme]
                if preset not in answered:
                    answered[preset] = _answer_for(scheme, preset, plain, x)
                say(answered[preset].model_copy(update={"scheme": scheme}))


def _answer_for(scheme: str, preset: str, plain: Any, x: torch.Tensor) -> Support:
    try:
        layer, answer = _try(scheme, _configuration(preset), x)
        return _timed(answer, layer, plain, x)
    except Exception as error:  # a scheme that vLLM stumbles over is one that it does not serve
        return Support(scheme=scheme, served=False, reason=vllms_reason(error))


# vLLM reads the activations' type from a model's configuration; nothing else of it is used.
_SHAPE = {
    "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "hidden_size": INPUTS, "intermediate_size": OUTPUTS,
    "num_hidden_layers": 1, "num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 512,
    "max_position_embeddings": 512,
}  # fmt: skip


@contextmanager
def _vllm_layers(model: Path, dtype: Dtype) -> Iterator[None]:
    """Enter what vLLM's layers need to be built outside an engine: a configuration, and a process group of one."""
    from vllm.config import ModelConfig, VllmConfig, set_current_vllm_config
    from vllm.distributed import ensure_model_parallel_initialized, init_distributed_environment
    from vllm.distributed.parallel_state import destroy_distributed_environment, destroy_model_parallel

    config = VllmConfig(model_config=ModelConfig(model=str(model), dtype=dtype, enforce_eager=True))
    with set_current_vllm_config(config), tempfile.TemporaryDirectory() as folder:
        init_distributed_environment(1, 0, f"file://{folder}/group", 0, "gloo")
        try:
            ensure_model_parallel_initialized(1, 1)
            yield
        finally:
            destroy_model_parallel()
            destroy_distributed_environment()


def _build(name: str, inputs: int, outputs: int, dtype: torch.dtype, stored: dict[str, Any] | None) -> Any:
    """Return vLLM's linear layer for a `quantization_config`; None makes a plain one."""
    from vllm.model_executor.layers.linear import ReplicatedLinear
    from vllm.model_executor.layers.quantization.compressed_tensors.compressed_tensors import CompressedTensorsConfig

    quantization = None if stored is None else CompressedTensorsConfig.from_config(copy.deepcopy(stored))
    return ReplicatedLinear(
        inputs,
        outputs,
        bias=False,
        params_dtype=dtype,
        quant_config=quantization,
        prefix=name,
        return_bias=False,
    )


def _configuration(preset: str) -> dict[str, Any]:
    """Return the `quantization_config` of a checkpoint with this preset."""
    import torch
    from compressed_tensors.compressors.format import infer_module_format
    from compressed_tensors.quantization import QuantizationConfig, preset_name_to_scheme

    scheme = preset_name_to_scheme(preset, ["Linear"])
    scheme.format = infer_module_format(torch.nn.Linear, scheme).value
    config = QuantizationConfig(
        config_groups={"group_0": scheme}, format=scheme.format, ignore=["lm_head"], quantization_status="compressed"
    )
    stored: dict[str, Any] = config.model_dump()
    return stored


def _try(scheme: str, stored: dict[str, Any] | None, x: torch.Tensor) -> tuple[Any, Support]:
    """Build a layer with random weights and compare its output for `x`, `[tokens, inputs]`, with plain arithmetic."""
    start = time.perf_counter()
    layer = _build("model.layers.0.mlp.up_proj", INPUTS, OUTPUTS, x.dtype, stored)
    parts = {name: _randomized(name, parameter.data) for name, parameter in layer.named_parameters()}
    expected = x.float() @ _decoded({name: part.clone() for name, part in parts.items()}, stored).float().T
    layer.quant_method.process_weights_after_loading(layer)
    error = ((layer(x).float() - expected).norm() / expected.norm()).item()
    right = error < _WRONG_ERROR  # not a number is not
    reason = None if right else f"vLLM has a kernel, but its output is off by {error:.0%}"
    answer = Support(
        scheme=scheme,
        served=right,
        kernel=None if stored is None else _kernel(layer.scheme),
        reason=reason,
        seconds=time.perf_counter() - start,
        relative_error=error if error == error else None,
    )
    return layer, answer


def _randomized(name: str, part: torch.Tensor) -> torch.Tensor:
    """Fill one of the tensors that a layer is stored as with valid codes, and return it."""
    import torch

    if name == "weight_shape":
        return part.copy_(torch.tensor([OUTPUTS, INPUTS]))
    if name.endswith("global_scale"):
        return part.fill_(64.0)
    if name == "weight_scale" and part.dtype == torch.uint8:
        return part.random_(118, 123)  # the exponents of powers of two, 127 being 1
    if name == "weight_scale":
        return part.copy_(torch.rand(part.shape) * 0.002 + 0.001) if part.dtype.itemsize > 1 else part.fill_(1.5)
    if part.dtype == torch.float8_e4m3fn:
        return part.copy_((torch.randn(part.shape) * 64).clamp(-448, 448).to(part.dtype))
    if part.is_floating_point():
        return part.copy_(torch.randn(part.shape) * 0.05)
    bounds = torch.iinfo(part.dtype)
    return part.random_(bounds.min + (part.dtype == torch.int8), bounds.max)


def _decoded(parts: dict[str, torch.Tensor], stored: dict[str, Any] | None) -> torch.Tensor:
    """Return the plain weights `[outputs, inputs]` of what a layer is stored as."""
    if stored is None:
        return parts["weight"]
    from compressed_tensors.compressors import BaseCompressor
    from compressed_tensors.quantization import QuantizationConfig

    compressor: Any = BaseCompressor.get_value_from_registry(stored["format"])
    scheme = QuantizationConfig.model_validate(stored).config_groups["group_0"]
    weight: torch.Tensor = compressor.decompress(parts, scheme)["weight"]
    return weight


def _kernel(scheme: Any) -> str:
    """Return the name of the kernel that a scheme of vLLM's chose, or of the scheme where it is its own kernel."""
    of_kernels = (part for part in vars(scheme).values() if ".kernels." in type(part).__module__)
    return type(next(of_kernels, scheme)).__name__


def _timed(answer: Support, layer: Any, plain: Any, x: torch.Tensor) -> Support:
    """Add the speed, from calls of both layers in turn."""
    times: dict[str, list[float]] = {"plain": [], "other": []}
    for _ in range(_REPEATS):
        times["plain"].append(_seconds(lambda: plain(x)))
        times["other"].append(_seconds(lambda: layer(x)))
    return answer.model_copy(update={"relative_speed": median(times["plain"]) / median(times["other"])})


def _seconds(call: Callable[[], Any]) -> float:
    import torch

    synchronize = torch.cuda.synchronize if torch.cuda.is_available() else torch.cpu.synchronize
    synchronize()
    start = time.perf_counter()
    call()
    synchronize()
    return time.perf_counter() - start


def vllms_reason(error: BaseException) -> str:
    r"""Return why vLLM refused, in one line, each kernel's reason once.

    Example:
        >>> vllms_reason(ValueError("No kernel. Reasons: \nA needs AMX.\nA needs AMX.\n"))
        'No kernel: A needs AMX'
    """
    head, _, reasons = str(error).partition("Reasons:")
    kernels = dict.fromkeys(line.strip().rstrip(".") for line in reasons.splitlines() if line.strip())
    first = (head.strip().splitlines() or [type(error).__name__])[0].rstrip(" .")
    return f"{first}: {'; '.join(kernels)}" if kernels else first


if __name__ == "__main__":
    _answer(sys.argv[1:])

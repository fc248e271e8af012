"""The arguments of vLLM's server: what a person may give, and what is refused."""

from __future__ import annotations

import re
from argparse import Namespace
from pathlib import Path

import pytest

from gen_rerank import BadInput
from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.scorers.vllm import engine_arguments
from serve.vllm_arguments import vllm_arguments

pytest.importorskip("vllm")


def parsed(checkpoint: Path, *given: str) -> Namespace:
    """vLLM's arguments as the launcher makes them, with what a person gave."""
    server = {"host": "127.0.0.1", "port": 8000, "served_model_name": ["tiny"]}
    return vllm_arguments(engine_arguments(Checkpoint.open(checkpoint)) | server, given)


@pytest.mark.parametrize(
    ("given", "instead"),
    [
        ("--model other", "as MODEL"),
        ("--tokenizer other", "the checkpoint says how"),
        ("--runner generate", "the checkpoint says how"),
        ("--convert embed", "the checkpoint says how"),
        ('--pooler-config {"seq_pooling_type":"MEAN"}', "the checkpoint says how"),
        ('--hf-overrides {"num_labels":2}', "the checkpoint says how"),
        ("--hf-config-path other", "the checkpoint says how"),
        ("--max-model-len 64", "its prompts are cut to their length before"),
        ("--max_model_len=64", "its prompts are cut to their length before"),
        ("--max-num-batched-tokens 64", "use --batch-tokens"),
        ("--max-num-queued-reqs 8", "use --max-queued-pairs"),
        ("--enable-lora", "use --adapter NAME=PATH"),
        ("--lora-modules a=b", "use --adapter NAME=PATH"),
        ("--lora-target-modules q_proj", "an adapter says itself"),
        ("--host 0.0.0.0", "use --host"),
        ("--port 9000", "use --port"),
        ("--served-model-name a b", "use --name"),
        ("--api-key secret", "use --keys"),
        ("--api-server-count 2", "in one process"),
        ('--allowed-origins ["*"]', "use --cors-origin"),
        ('--allowed-methods ["GET"]', "use --cors-origin"),
        ('--allowed-headers ["*","a"]', "use --cors-origin"),
        ("--allow-credentials", "keys are in a header"),
    ],
)
def test_an_argument_of_vllms_that_would_break_us_is_refused(tiny_checkpoint: Path, given: str, instead: str) -> None:
    option = re.split("[ =]", given)[0].replace("_", "-")
    with pytest.raises(BadInput, match=rf"{option} is chosen by gen-rerank and cannot be given to vLLM: .*{instead}"):
        parsed(tiny_checkpoint, *given.split())


def test_other_arguments_of_vllms_win_over_ours(tiny_checkpoint: Path) -> None:
    given = ("--no-enable-prefix-caching", "--max-num-seqs", "8", "--root-path", "/rank", "--shutdown-timeout", "3")
    arguments = parsed(tiny_checkpoint, *given)
    assert arguments.enable_prefix_caching is False
    assert (arguments.max_num_seqs, arguments.root_path, arguments.shutdown_timeout) == (8, "/rank", 3)
    assert (arguments.runner, arguments.max_model_len) == ("pooling", 128)


def test_a_key_of_vllms_own_is_refused(tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_API_KEY", "secret")
    with pytest.raises(BadInput, match=r"VLLM_API_KEY is set, .* use --keys"):
        parsed(tiny_checkpoint)

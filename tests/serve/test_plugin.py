"""vLLM's application with our plugin in it, and what is routed then."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("vllm")

from fastapi import FastAPI

from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.scorers.vllm import engine_arguments
from serve.options import ServeOptions
from serve.plugin import VLLMS_PATHS
from serve.routes import PATHS


def application(folder: Path, log: Path) -> FastAPI:
    """As vLLM's server builds it for the engine of a checkpoint; the engine itself is not started."""
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.entrypoints.launchers.app import build_app
    from vllm.entrypoints.launchers.cli_args import make_arg_parser
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    arguments = make_arg_parser(FlexibleArgumentParser()).parse_args([])
    arguments.gen_rerank = ServeOptions(log=log)
    model = AsyncEngineArgs(**engine_arguments(Checkpoint.open(folder))).create_model_config()
    return build_app(arguments, ("token_classify", "classify"), model)


def test_nothing_is_routed_but_what_we_know(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def routed(plugins: str) -> set[str]:
        monkeypatch.setenv("VLLM_PLUGINS", plugins)
        return {route.path for route in application(tiny_checkpoint, tmp_path / "log.jsonl").routes}

    without, with_us = routed(""), routed("gen_rerank")
    assert {"/pooling", "/classify", "/invocations", "/tokenize", "/v1/systemone", "/health"} <= without
    ours = PATHS | {"/playground", "/playground/{file}"}
    assert with_us == ours | (VLLMS_PATHS & without)
    # Bundled pages, which are there where vLLM was told to have them.
    assert VLLMS_PATHS - without == {"/static"}

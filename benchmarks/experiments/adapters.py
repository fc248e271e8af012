"""Adapters that come and go: one is loaded, replaced and unloaded while three clients ask for it and for the base."""

from __future__ import annotations

import asyncio
import itertools
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from experiments.clients import PATH, POLL_SECONDS, client_of, until
from experiments.finding import Notes, Sizes
from experiments.scored import SAME, ScoredRequest, ScoredTraffic
from experiments.server import Server, serving
from gen_rerank.checkpoints.adapter import Adapter, AdapterBase, AdapterCard
from gen_rerank.checkpoints.card import Calibration
from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.scorers.transformers import TransformersScorer
from serve.access import add_key


def write_adapter(base: Path, folder: Path, seed: int) -> Path:
    """Write an adapter of a checkpoint with random matrices that are not zero."""
    torch.manual_seed(seed)
    config = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", init_lora_weights=False)
    get_peft_model(AutoModelForCausalLM.from_pretrained(base), config).save_pretrained(folder)
    card = AdapterCard(
        base=AdapterBase(name=str(base), fingerprint=Checkpoint.open(base).fingerprint),
        calibration=Calibration(temperature=1.0 + seed),
    )
    card.save(folder)
    return folder


@dataclass
class Swapped:
    """What clients saw while adapters came and went."""

    counts: Counter[str] = field(default_factory=Counter)
    largest: float = 0.0

    def add(self, status: int, expected: dict[str, ScoredRequest], answer: dict[str, Any]) -> None:
        """Count an answer by the model whose scores it has; one that has nobody's is a mixture."""
        if status != 200:
            self.counts[str(status)] += 1
            return
        differences = {name: asked.difference(answer) for name, asked in expected.items()}
        name = min(differences, key=lambda name: differences[name])
        if differences[name] < SAME:
            self.counts[name] += 1
            self.largest = max(self.largest, differences[name])
        else:
            self.counts["nobody's"] += 1


def run(notes: Notes, traffic: ScoredTraffic, sizes: Sizes) -> None:
    """Load, replace and unload an adapter while three clients ask for it and for the base."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        base = Checkpoint.open(traffic.model)
        versions = {f"v{seed}": write_adapter(traffic.model, folder / f"v{seed}", seed) for seed in (1, 2)}
        scored = {
            version: traffic.scored(TransformersScorer(base, Adapter.open(path, base)))
            for version, path in versions.items()
        }
        secrets = add_key(folder / "keys", "load"), add_key(folder / "keys", "admin", admin=True)
        arguments = ["--adapter-folder", name, "--keys", str(folder / "keys"), "--score-cache", "2000"]
        with serving(traffic.model, *arguments) as server:
            seen = asyncio.run(_swap(server, traffic.requests, scored, secrets, sizes.swaps))
    unlike = min(
        max(abs(a - b) for a, b in zip(left.scores, right.scores, strict=True))
        for one, other in (
            (traffic.requests, scored["v1"]),
            (scored["v1"], scored["v2"]),
            (traffic.requests, scored["v2"]),
        )
        for left, right in zip(one, other, strict=True)
    )
    notes.wanted("the versions differ in each request by at least", unlike, f"above {2 * SAME}", unlike > 2 * SAME)
    notes.stated("loads, replacements and unloads", sizes.swaps)
    for client, swapped in seen.items():
        allowed = {"base"} if client == "base" else {"v1", "v2", "404"}
        wrong = sum(count for what, count in swapped.counts.items() if what not in allowed)
        shown = ", ".join(f"{count}× {what}" for what, count in sorted(swapped.counts.items()))
        notes.wanted(f"answers to who asked for {client}", shown, f"of {', '.join(sorted(allowed))} only", wrong == 0)
        notes.wanted(f"largest difference, {client}", swapped.largest, f"below {SAME}", swapped.largest < SAME)


async def _swap(
    server: Server,
    requests: Sequence[ScoredRequest],
    scored: dict[str, list[ScoredRequest]],
    secrets: tuple[str, str],
    swaps: int,
) -> dict[str, Swapped]:
    seen = {"base": Swapped(), "shop": Swapped()}
    user, admin = ({"Authorization": f"Bearer {secret}"} for secret in secrets)
    done = asyncio.Event()

    async def client_loop(client: httpx.AsyncClient, model: str, start: int) -> None:
        for i in itertools.count(start, 3):
            if done.is_set():
                return
            number = i % len(requests)
            expected = {"base": requests[number]} | {version: asked[number] for version, asked in scored.items()}
            body = requests[number].body(None if model == "base" else model)
            response = await client.post(PATH, json=body, headers=user)
            seen[model].add(response.status_code, expected, response.json())
            if response.status_code != 200:
                await asyncio.sleep(POLL_SECONDS)  # it is not there now; the others need the machine

    async def a_few_answers() -> None:
        """Wait until some were answered, so that the next change meets others of the same version in flight."""
        enough = seen["shop"].counts.total() + 4
        await until(lambda: seen["shop"].counts.total() >= enough, 30)

    async def change(client: httpx.AsyncClient) -> None:
        for i in range(swaps):
            match i % 3:
                case 0 | 1:  # v1 is loaded, then v2 takes its place
                    body = {"lora_name": "shop", "lora_path": f"v{i % 3 + 1}", "load_inplace": True}
                    response = await client.post("/v1/load_lora_adapter", json=body, headers=admin)
                case _:
                    response = await client.post("/v1/unload_lora_adapter", json={"lora_name": "shop"}, headers=admin)
            response.raise_for_status()
            await a_few_answers()
        done.set()

    async with client_of(server) as client, asyncio.TaskGroup() as group:
        group.create_task(change(client))
        for start, model in enumerate(("base", "shop", "shop")):
            group.create_task(client_loop(client, model, start))
    return seen

"""The names that clients may ask for: the base, and LoRA adapters that come and go while the server runs.

An adapter is checked against its base before the engine sees it, keeps its own calibration, and is known to the engine
under a name made of its content, so that a changed adapter never meets prefixes that were computed with the old one. A
name is replaced in one step: requests that began with the old version end with it, and its place is freed after the
last of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gen_rerank.checkpoints.adapter import Adapter
from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.errors import BadInput, first_line
from serve.question import Refusal

_SHOWN = 100
_POLL_SECONDS = 0.05


@dataclass
class ServedModel:
    """One name and what answers to it.

    Attributes:
        name: what clients call it.
        checkpoint: prompt and readout, with the calibration of the base or of the adapter.
        version: tells two contents apart that went by the same name; part of every cache key.
        lora: vLLM's `LoRARequest`; None for the base.
        users: how many requests are being scored with it.
    """

    name: str
    checkpoint: Checkpoint
    version: str
    lora: Any = None
    users: int = field(default=0, compare=False)


class ServedModels:
    """What the server serves.

    Args:
        engine: vLLM's `EngineClient`, started with `lora_arguments` when adapters are to be served.
        checkpoint: the base.
        name: what clients call the base.
        folder: adapters that are loaded at run time must lie below it; None allows none.
        places: how many adapters may be served at once.
        largest_rank: of an adapter, as the engine was started.
    """

    def __init__(
        self, engine: Any, checkpoint: Checkpoint, name: str, *, folder: Path | None, places: int, largest_rank: int
    ) -> None:
        self._engine = engine
        self._folder = folder
        self._places = places
        self._largest_rank = largest_rank
        self._changing = asyncio.Lock()
        self._last_number = 0
        self._retiring: set[asyncio.Task[None]] = set()
        self.base = ServedModel(name, checkpoint, "base")
        self._adapters: dict[str, ServedModel] = {}

    def __iter__(self) -> Iterator[ServedModel]:
        """Go through the base, then the adapters in the order in which they were loaded."""
        yield self.base
        yield from self._adapters.values()

    def find(self, name: str | None) -> ServedModel:
        """Return what answers to a name; None means the base.

        Raises:
            Refusal: 404, no model is served by this name.
        """
        if name is None or name == self.base.name:
            return self.base
        if name not in self._adapters:
            served = ", ".join(repr(model.name) for model in self)
            raise Refusal(404, f"there is no model {name[:_SHOWN]!r} here; served: {served[: 5 * _SHOWN]}")
        return self._adapters[name]

    @contextmanager
    def using(self, name: str | None) -> Iterator[ServedModel]:
        """Find a model and keep it in the engine until the end of the block.

        Raises:
            Refusal: 404, no model is served by this name.
        """
        model = self.find(name)
        model.users += 1
        try:
            yield model
        finally:
            model.users -= 1

    async def load_below(self, name: str, path: str, *, replace: bool) -> ServedModel:
        """Load an adapter that a client named.

        Args:
            name: what clients will call it.
            path: its folder, relative to the adapter folder, or absolute and below it.
            replace: whether the name may belong to an adapter already.

        Raises:
            Refusal: 403 when the server has no adapter folder or the path leads out of it, 404 when there is no folder,
                400 when the path cannot be followed, or the name or the adapter is refused.
        """
        if self._folder is None:
            raise Refusal(403, "this server loads no adapters at run time; start it with --adapter-folder")
        root = self._folder.resolve()
        try:
            folder = (root / path).resolve()
            if not folder.is_relative_to(root) or folder == root:
                raise Refusal(403, "lora_path must lead to a folder below the server's adapter folder")
            if not folder.is_dir():
                raise Refusal(404, f"there is no adapter {path[:_SHOWN]!r} below the server's adapter folder")
        # Too long a name, no right to look; a NUL; a loop of links.
        except (OSError, ValueError, RuntimeError) as error:
            raise Refusal(400, "lora_path is not a path that the server can follow") from error
        try:
            return await self.load(name, folder, replace=replace)
        except BadInput as error:
            raise Refusal(400, str(error).replace(f"{root}/", "")) from error

    async def load(self, name: str, path: str | Path, *, replace: bool = False) -> ServedModel:
        """Open an adapter, give it to the engine and serve it as `name`.

        Raises:
            BadInput: the name is taken, all places are, or the adapter is refused by us or by vLLM.
        """
        from vllm.lora.request import LoRARequest

        async with self._changing:
            self._check_name(name, replace)
            adapter = await asyncio.to_thread(open_adapter, path, self.base.checkpoint)
            if adapter.rank > self._largest_rank:
                raise BadInput(
                    f"{adapter.folder}: rank {adapter.rank}; this server takes adapters up to rank "
                    f"{self._largest_rank} (--max-adapter-rank)"
                )
            # The engine would make room by forgetting an adapter that is still used, and read its files again later.
            while len(self._adapters) + len(self._retiring) > self._places:
                await asyncio.wait(self._retiring, return_when=asyncio.FIRST_COMPLETED)
            self._last_number += 1
            version = f"{adapter.fingerprint}-{self._last_number}"
            request = LoRARequest(f"{name}-{version}", self._last_number, str(adapter.folder))
            try:
                await self._engine.add_lora(request)
            except Exception as error:  # whatever the engine's process raised arrives as a bare Exception
                raise BadInput(f"{adapter.folder}: vLLM cannot open this adapter ({first_line(error)})") from error
            model = ServedModel(name, adapter.applied(self.base.checkpoint), version, request)
            previous = self._adapters.get(name)
            self._adapters[name] = model
            if previous is not None:
                self._retire(previous)
            return model

    async def unload(self, name: str) -> None:
        """Stop serving an adapter; requests that began with it are answered.

        Raises:
            Refusal: 404, no adapter has this name.
        """
        async with self._changing:
            if name not in self._adapters:
                raise Refusal(404, f"there is no adapter {name[:_SHOWN]!r} here")
            self._retire(self._adapters.pop(name))

    def _check_name(self, name: str, replace: bool) -> None:
        if not name.strip() or len(name) > _SHOWN or not name.isprintable():
            raise BadInput(f"the name of an adapter is 1 to {_SHOWN} printable characters, not {name[:_SHOWN]!r}")
        if name == self.base.name:
            raise BadInput(f"{name!r} is the base's name; give the adapter another one")
        if name in self._adapters:
            if not replace:
                raise BadInput(f"an adapter {name!r} is served already; unload it first, or send load_inplace: true")
            return
        if len(self._adapters) >= self._places:
            raise BadInput(f"all {self._places} places for adapters are taken; unload one, or raise --max-adapters")

    def _retire(self, model: ServedModel) -> None:
        """Free an adapter's place in the engine when the last request that uses it has ended."""
        task = asyncio.create_task(self._remove(model))
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)

    async def _remove(self, model: ServedModel) -> None:
        from vllm.v1.engine.exceptions import EngineDeadError

        while model.users:
            await asyncio.sleep(_POLL_SECONDS)
        with suppress(EngineDeadError):
            await self._engine.remove_lora(model.lora.lora_int_id)


def open_adapter(path: str | Path, base: Checkpoint) -> Adapter:
    """Open an adapter and read all of it, so that its fingerprint is known.

    Raises:
        BadInput: it does not fit the base, or one of its files is missing, cannot be read or is wrong.

    Example:
        >>> open_adapter("runs/garden", Checkpoint.open("runs/model")).rank  # doctest: +SKIP
        8
    """
    try:
        adapter = Adapter.open(path, base)
        assert adapter.fingerprint
    except OSError as error:
        raise BadInput(f"{path}: the adapter cannot be read ({error.strerror or first_line(error)})") from error
    return adapter

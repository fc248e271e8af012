"""What we ask of vLLM's workers beside their own work: the processes that hold the weights."""

from __future__ import annotations

from gen_rerank.system.memory import give_back_freed_memory

WORKER_EXTENSION = f"{__name__}.WorkerExtension"
GIVE_BACK = "give_back_freed_memory"


class WorkerExtension:
    """Mixed into vLLM's worker class (`worker_extension_cls`); called by name through `collective_rpc`."""

    def give_back_freed_memory(self) -> None:
        """Give back what was freed while the weights were loaded: a copy of them, where kernels want another layout."""
        give_back_freed_memory()

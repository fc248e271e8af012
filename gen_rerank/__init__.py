"""gen_rerank: rerankers that read relevance as a distribution over eleven bins, for product search.

Importing this package loads nothing: each public name comes from its module when it is first used, and torch, vLLM and
TRL load in the modules that need them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gen_rerank.bins import BIN_TOKENS, BIN_VALUES, Distribution
    from gen_rerank.calibration.rank_confidence import RankConfidence, rank_confidence
    from gen_rerank.data.dataset import Dataset
    from gen_rerank.data.records import Judgment, Pair, Product, Query
    from gen_rerank.errors import BadInput
    from gen_rerank.reranker import Reranker, Result
    from gen_rerank.search.candidates import ProductCandidate
    from gen_rerank.search.search import Search

__version__ = "0.1.0"

__all__ = [
    "BIN_TOKENS",
    "BIN_VALUES",
    "BadInput",
    "Dataset",
    "Distribution",
    "Judgment",
    "Pair",
    "Product",
    "ProductCandidate",
    "Query",
    "RankConfidence",
    "Reranker",
    "Result",
    "Search",
    "__version__",
    "rank_confidence",
]

_MODULES = {
    "bins": ("BIN_TOKENS", "BIN_VALUES", "Distribution"),
    "calibration.rank_confidence": ("RankConfidence", "rank_confidence"),
    "errors": ("BadInput",),
    "data.dataset": ("Dataset",),
    "data.records": ("Judgment", "Pair", "Product", "Query"),
    "reranker": ("Reranker", "Result"),
    "search.candidates": ("ProductCandidate",),
    "search.search": ("Search",),
}


def __getattr__(name: str) -> Any:
    """Load a public name from its module, once (PEP 562)."""
    for module, names in _MODULES.items():
        if name in names:
            value = globals()[name] = getattr(import_module(f"{__name__}.{module}"), name)
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

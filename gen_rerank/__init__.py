"""gen_rerank: rerankers that read relevance as a distribution over eleven bins, for product search.

Importing this package is light; torch, vLLM and TRL load in the modules that need them.
"""

from gen_rerank.bins import BIN_TOKENS, BIN_VALUES, Distribution
from gen_rerank.errors import BadInput
from gen_rerank.records import Dataset, Judgment, Pair, Product, Query
from gen_rerank.reranker import Reranker, Result

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
    "Query",
    "Reranker",
    "Result",
    "__version__",
]

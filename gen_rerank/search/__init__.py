"""Search under the reranker: an index of products, the candidates of a query, the answer ranked from them."""

from gen_rerank.search.candidates import Given, ProductCandidate, Receipt, Retriever
from gen_rerank.search.index import ProductIndex
from gen_rerank.search.search import Search, SearchAnswer

__all__ = ["Given", "ProductCandidate", "ProductIndex", "Receipt", "Retriever", "Search", "SearchAnswer"]

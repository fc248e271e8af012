"""Search under the reranker: an index of products, the candidates of a query, the answer ranked from them."""

"""Retrieval over a catalog; BM25 is also the floor of every evaluation."""

"""The scoring endpoint: vLLM's own API server with our rerank routes as an endpoint plugin."""

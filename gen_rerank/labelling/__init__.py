"""Relevance judgments from several LLM judges: asked once, kept apart, compared with one another and with people."""

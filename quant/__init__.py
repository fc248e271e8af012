"""Quantization: schemes through llm-compressor, checked before they are handed over."""

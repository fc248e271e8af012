"""Quantization: schemes through llm-compressor, and the comparison that says whether the result can be shipped."""

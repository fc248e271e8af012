"""Quantization: schemes through llm-compressor, and the comparison that says whether the result can be shipped."""

from gen_rerank.system.remarks import hide_missing_kernels

# Any module of this package may import bitsandbytes first.
hide_missing_kernels()

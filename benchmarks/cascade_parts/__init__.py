"""Parts of `benchmarks/cascade.py`."""

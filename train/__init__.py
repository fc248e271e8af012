"""Training: both phases, adapters of a catalog, encoders, and the bases that they start from."""

from gen_rerank.system.remarks import hide_missing_kernels

# Any module of this package may import bitsandbytes first.
hide_missing_kernels()

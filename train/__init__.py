"""Training: both phases, adapters of a catalog, encoders, and the bases that they start from."""

"""Training: phase 1 (distributional), phase 2 (scalar) and the bases that they start from."""

"""What logits mean: the distribution that a card makes of them, temperature, thresholds, tiers."""

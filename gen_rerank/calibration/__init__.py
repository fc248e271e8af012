"""What a model's logits mean: the distribution that a checkpoint's card makes of them, temperature, thresholds, tiers."""

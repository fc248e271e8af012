"""What bench_step.py compares: ways to train a step, and the padding of their batches."""

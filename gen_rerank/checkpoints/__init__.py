"""A model as a folder: its card, its checks, its adapters, its weights, and what each quantization scheme is."""

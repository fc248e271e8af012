"""A shop's own export, in whatever form it comes, made into `products.jsonl`."""

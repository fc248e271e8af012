"""The curves of curves.py: subsets that grow, and the ways to learn from them."""

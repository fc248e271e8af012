"""Backends: each turns pairs into distributions with one checkpoint; `scorer` says what they have in common."""

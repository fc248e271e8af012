"""The ways to score that serving.py compares: ours, its peers, what a machine can do at most, where time goes."""

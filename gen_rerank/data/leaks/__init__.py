"""Training queries that are test queries in other words: found, shown, taken out, or kept on one side of a split."""

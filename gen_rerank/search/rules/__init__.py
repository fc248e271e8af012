"""Business rules, before and after the rerank, with a receipt for each product that they remove or move."""

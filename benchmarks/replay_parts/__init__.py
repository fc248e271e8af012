"""What replay.py is made of: popular queries and products, shoppers who ask, encoder presets, pictures."""

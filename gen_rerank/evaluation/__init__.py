"""How good a ranking and its distributions are: measures, intervals, floors, and the tables that show them."""

"""The parts of real.py: folders, variants, trainings, measuring, tables, TRL's trainer as a peer."""

"""Data that the project makes: the sample shop."""

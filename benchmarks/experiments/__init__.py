"""What reliability.py does to a server: a file an experiment; finding, scored, clients and server are for all."""

"""Public data sets of product search, each read from the files that its authors publish and people have."""

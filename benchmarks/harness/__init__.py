"""What two measurements or more share. Each measurement is a script of the folder above, run as its command says."""

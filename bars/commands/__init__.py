"""What the command line does: read files, call a procedure, write files; no numerics."""

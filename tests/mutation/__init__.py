"""What `python -m tests.mutants` is made of."""

"""Hallmark: a complete, self-hosted Sigstore in one package."""

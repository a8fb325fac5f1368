"""The pure centre: bytes to frozen values, and proofs. No disk, network, clock or environment."""

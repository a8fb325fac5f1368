"""The identity provider for development."""

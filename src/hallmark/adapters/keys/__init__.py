"""Key adapters."""

"""The certificate transparency log."""

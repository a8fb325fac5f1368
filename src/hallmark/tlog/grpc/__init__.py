"""Rekor v2 over gRPC: an extra, imported only where an instance is told to serve it."""

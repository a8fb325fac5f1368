"""The signature transparency log (Rekor)."""

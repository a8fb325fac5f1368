"""The certificate authority."""

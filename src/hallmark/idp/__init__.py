"""The development identity provider (OpenID Connect)."""

"""OpenID Connect tokens and the identities they prove."""

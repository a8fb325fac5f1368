"""The certificate authority (Fulcio)."""

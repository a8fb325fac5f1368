"""Log entry kinds."""

"""A running instance: its directory's lock, its first start, its processes."""

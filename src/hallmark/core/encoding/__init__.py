"""Codecs that the wire formats share."""

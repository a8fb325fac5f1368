"""Certificates: extensions, profile, chains, signed certificate timestamps."""

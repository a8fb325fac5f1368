"""The TUF repository that publishes what to trust."""

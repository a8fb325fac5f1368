"""The client: sign, verify, and the services over HTTP."""

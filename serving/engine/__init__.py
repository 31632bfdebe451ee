"""The engine: rows in, ranked answers out, and which of them are certified exact."""

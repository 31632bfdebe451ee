"""What a server holds: models and their versions, the names in them, callers batched together."""

"""Index types: which rows have large inner products."""

"""Published results: the shipped table and its schema, and what may be pooled."""

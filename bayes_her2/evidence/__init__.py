"""Published results: the shipped table, its schema and what may be pooled; claims, and how far each can be trusted."""

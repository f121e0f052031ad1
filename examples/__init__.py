"""Applications that use Calendar Pipeline as anyone would: over its public API."""

"""History → customers: what is told to whom, signed and delivered until it has arrived."""

"""Pictures of a record, for the documentation: `make gallery`."""

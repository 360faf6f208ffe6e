"""The plan and its package: schema, bytes, check."""

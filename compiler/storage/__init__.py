"""Files, memory mapping, spilling, payloads."""

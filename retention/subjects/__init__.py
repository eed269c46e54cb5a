"""People: their keys as keyed hashes, and what happened to them."""

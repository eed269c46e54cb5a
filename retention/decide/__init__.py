"""The fate of a record: pure functions, no I/O, no clock."""

"""The outside world: one file or folder a system. Read `base` first."""

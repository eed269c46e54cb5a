"""One run: discover, decide, stop at limits, apply, verify, write evidence.

Reading order: `pipeline` (the whole run), then `survey`, `limits`, `apply`, `verify`, `recover`.
"""

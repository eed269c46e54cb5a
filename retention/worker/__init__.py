"""The same run on many machines: Celery wakes, the ledger decides. Celery lives here only.

`app` makes the Celery application, `tasks` are its two messages, `hand` does the work, `bell`
tells hands of one process tree what happens, `ticking` and `scheduler` write owed firings as runs
and send wake-ups, `canary` notices a deaf consumer, `buckets` share rate limits through Redis.
"""

"""Real servers for tests and benchmarks, each a throw-away: own folder, own port, own processes.

One file a server; `process` is what they share; `fixtures` gives them to pytest. Without pytest:
`with Postgres.start() as server: url = server.new_database()`.
"""

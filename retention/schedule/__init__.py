"""When: policies become jobs, jobs have fires, and each tick learns which fires are owed.

`grammar` reads what a policy says, `cron` and `fires` turn it into instants, `age` says how old a
record can get, `compile` puts it all into a `Job`, `due` names the firings owed since the last
tick. Everything here is pure: the ledger remembers, the clock is a parameter.
"""

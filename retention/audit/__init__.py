"""Evidence: entries as leaves of a Merkle tree (RFC 6962), sealed by signed notes (C2SP).

An entry is built and checked by `entries`, appended by `log` in the transaction of the state that
it describes, sealed by a `checkpoint`, and verified by `verify` without the ledger or any key.
"""

"""The command line: one small file per group of commands, assembled in `main`.

Everything heavy is imported inside the commands: `retention --help` must be quick.
"""

"""Keeps the deletion promises that organisations make.

Policy files are loaded and checked (`policy`), compiled to jobs and fired by the schedule
(`schedule`); each firing becomes a run (`run`) that discovers records through connectors
(`connectors`), decides their fate (`decide`), stops at limits, applies, verifies, and writes
evidence (`audit`) that the review reads. State lives in the ledger (`ledger`).
"""

__version__ = "0.1.0"

"""Being watched: what people and machines outside learn of the service without asking it.

ledger → reading → metrics → exporter, for whoever scrapes; ledger → alarms → telling → mail and
webhook, for people; each good tick → ping, for whoever notices silence; logs and traces for those
who look closer. Nothing here decides what is disposed of, and nothing here may stop it.
"""

"""The organisation's policies: four that fire every minute, one that only protects."""

from __future__ import annotations

POLICIES = """
organisation: {{name: Fjellvik Verksted, country: NO, timezone: Europe/Oslo}}
systems:
  website: {{connector: sql, url: {{env: WEBSITE_DB}}}}
  accounts: {{connector: sql, url: "sqlite:///{accounts}"}}
  mail: {{connector: imap, host: 127.0.0.1, port: {port}, tls: none, username: "{user}",
         password: {{env: MAIL_PASSWORD}}}}
clusters:
  enquiries:
    purpose: answering enquiries
    basis: legitimate_interest
    locations:
      form: {{system: website, table: contact_form, key: id, dates: {{received: at}},
             subject: {{email: email}}, fields: {{sort: sort}}}}
  surveys:
    purpose: getting better
    basis: legitimate_interest
    locations:
      answers: {{system: website, table: answers, key: id, dates: {{received: at}},
                subject: {{email: email}}}}
  customers:
    purpose: delivering
    basis: contract
    locations:
      orders: {{system: accounts, table: orders, key: id, dates: {{received: at}},
               subject: {{email: email}}}}
  correspondence:
    purpose: answering letters
    basis: legitimate_interest
    locations:
      mail: {{system: mail, folders: [INBOX, Sent], dates: {{received: internal_date}},
             subject: {{email: [from, to]}}}}
policies:
  form-monthly: {{applies_to: enquiries, delete_at_latest: 1 month, {acts}}}
  answers-monthly: {{applies_to: surveys, delete_at_latest: 1 month, {acts}}}
  orders-monthly: {{applies_to: customers, delete_at_latest: 1 month, {acts}}}
  mail-monthly: {{applies_to: correspondence, delete_at_latest: 1 month, {acts}}}
  invoices-stay: {{applies_to: enquiries, where: {{sort: [invoice]}}, keep_at_least: 5 years,
                  starting_point: received, then: keep}}
"""
ACTS = 'starting_point: received, then: delete, approval: none, schedule: "* * * * *"'
FIRING = frozenset({"form-monthly", "answers-monthly", "orders-monthly", "mail-monthly"})

"""Policy folders for tests: written as files, loaded as users' files are."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from textwrap import dedent

from retention.policy.load import Loaded, load
from retention.policy.model import Bundle

ORGANISATION = "organisation: {name: Fjordro Coaching, country: NO, timezone: Europe/Oslo}\n"

DESIGN = ORGANISATION.replace("}", ", accounting_year_ends: 12-31}") + dedent(
    """
    systems:
      website:  {connector: sql, url: {env: WEBSITE_DB}}
      mail:
        {connector: imap, host: imap.example.org, username: post@example.org, password: {env: MAIL}}
      offers:   {connector: spreadsheet, path: data/offers.xlsx, password: {env: OFFERS_PASSWORD}}
      accounts: {connector: sql, url: {file: /run/secrets/accounts_db}}

    clusters:
      enquiries:
        title: Questions sent through the contact form
        subjects: enquirers
        data: [name, email, phone, free_text]
        purpose: answering enquiries
        basis: legitimate_interest
        locations:
          form:
            system: website
            table: contact_form
            key: id
            dates: {received: created_at}
            subject: {email: email, phone: phone}
      customers:
        basis: contract
        locations:
          card:
            system: accounts
            table: customers
            key: id
            dates: {ended: ended_on}
            subject: {email: email}
      correspondence:
        basis: contract
        locations:
          mail:
            system: mail
            folders: ["Customers/*", Sent, Trash]
            dates: {received: internal_date}
            subject: {email: [from, to, cc]}
      invoices:
        basis: legal_obligation
        locations:
          ledger:
            system: accounts
            table: invoices
            key: id
            dates: {invoice_date: dated}
            subject: {email: email}
      newsletter:
        basis: consent
        locations:
          list:
            system: website
            table: subscribers
            key: id
            dates: {since: created_at}
            subject: {email: email}

    policies:
      contact-form-monthly:
        title: The contact form is emptied every month
        applies_to: enquiries/form
        starting_point: received
        delete_at_latest: 1 month
        then: delete
        schedule: "0 3 1 * *"
      mail-quarterly:
        title: Mail of ended customer relationships goes every quarter
        applies_to: correspondence
        starting_point: {date: customers.ended, matched_on: email}
        delete_at_latest: 6 months
        then: delete
        schedule: {last_of: ["every 3 months", "0 3 1 1,4,7,10 *"]}
      bookkeeping-five-years:
        title: Invoices are kept five years after the accounting year
        applies_to: invoices
        mandate: no/bokforingsloven-13-primary
        starting_point: invoice_date
        then: review
        schedule: "0 9 1 8 *"
        review: {by: accountant@example.org, within: 31 days}
      newsletter-consent:
        title: Newsletter data goes when consent is withdrawn
        applies_to: newsletter
        starting_point: {event: consent_withdrawn}
        delete_at_latest: 24 hours
        then: delete
        suppress: email
        schedule: on_event
    """
)
"""The example of design.md §4, with the parts written out that it leaves out."""

RICH = ORGANISATION.replace("}", ", limits: {records: 500, share: 10%, growth: 5x}}") + dedent(
    """
    systems:
      shop: {connector: sql, url: "sqlite:///shop.db", title: The shop}
      book: {connector: spreadsheet, path: book.xlsx}
    clusters:
      orders:
        title: Orders
        purpose: delivering orders
        basis: contract
        special: true
        matched_on: email
        locations:
          table:
            system: shop
            table: orders
            key: id
            dates: {ordered: ordered_at, seen: last_seen}
            subject: {email: mail}
            fields: {phone: tel, note: remark, status: state}
          copy:
            system: book
            sheet: Orders
            key: No
            role: working_copy
            where: {Source: web}
            dates: {ordered: Date, seen: Seen}
            subject: {email: Mail}
            fields: {phone: Tel, note: Note, status: Status}
    policies:
      orders-thin:
        title: Old orders lose what is personal
        applies_to: [orders]
        where: {status: {not_in: [open, disputed]}, note: {empty: false}}
        starting_point: {latest_of: [ordered, {date: seen, sliding: true}]}
        cutoff: quarter
        keep_at_least: 1 year
        delete_at_latest: 2 years
        backstop: 5 years
        then: {anonymise: {phone: null, note: removed}}
        schedule: "30 4 * * 1"
        limits: {records: 20}
        approval: each_run
        owner: shop@example.org
        source: https://example.org/privacy
        law: GDPR Art. 5(1)(e)
      orders-away:
        applies_to: orders/table
        starting_point: ordered
        keep_at_least: 3 years
        then: {hand_over: {to: exports}}
        grace: 7 days
        supersedes: orders-thin
        schedule: "0 0 L * *"
      orders-note:
        applies_to: "*"
        fields: [note]
        starting_point: ordered
        delete_at_latest: P90D
        cap: true
        then: delete
        approval: none
        schedule: "*/5 * * * *"
      orders-on:
        applies_to: orders/copy
        starting_point: seen
        delete_at_latest: 10 years
        then: {copy_to: {location: orders/table, values: {mail: email, remark: note, at: seen}}}
        schedule: "0 0 L * *"
      orders-claims:
        applies_to: orders/copy
        starting_point: {event: dispute_closed}
        keep_at_least: 3 years 6 months
        then: keep
    """
)
"""Every field of the grammar at least once."""


def loaded(folder: Path, **files: str) -> Loaded:
    """Load a folder of these files; a name may hold `__` for a slash."""
    for name, text in files.items():
        path = folder / f"{name.replace('__', '/')}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text), encoding="utf-8")
    return load(folder)


def bundle(folder: Path, text: str) -> Bundle:
    """The bundle of one file that must load; each text lies in a folder of its own."""
    found = loaded(folder / sha256(text.encode()).hexdigest()[:8], policies=text)
    assert found.bundle is not None, [str(f) for f in found.findings]
    return found.bundle


def codes(found: Loaded) -> list[str]:
    """Codes of all findings, in order."""
    return [f.code for f in found.findings]

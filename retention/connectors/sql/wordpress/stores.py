"""Where WordPress plugins keep what people sent through a form: the ready mappings, as data.

Written from what the plugins' tables look like. To add a plugin, add a `Store` here; nothing
else changes as long as its entries are rows with parts in other tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto


class Packing(Enum):
    """How a column holds several values at once."""

    PHP = auto()
    JSON = auto()


@dataclass(frozen=True, slots=True)
class Joined:
    """A table with a row for each value of an entry."""

    table: str
    parent: str
    name: str
    value: str
    form: str = "{}"
    """How a form's field is named there."""
    restless: frozenset[str] = frozenset()
    """Names of values that change without anybody changing the entry."""
    sanitised: bool = False
    """Whether names there are made of small letters, digits, `_` and `-` only."""


@dataclass(frozen=True, slots=True)
class Part:
    """Rows of another table that go before the entry they belong to."""

    table: str
    parent: str


@dataclass(frozen=True, slots=True)
class Store:
    """One plugin's entries. Tables are named without the site's prefix."""

    title: str
    table: str
    key: str
    dates: Mapping[str, tuple[str, ...]]
    """Date → the columns, or values of `joined`, that tell it; the first one that can be read."""
    in_utc: frozenset[str] = frozenset()
    """Which of those are in UTC; the others are in the site's own time."""
    names: Mapping[str, str] = field(default_factory=dict)
    """Name → the column, or value of `joined`, that it stands for."""
    post_type: str | None = None
    """Entries are posts of this type."""
    taxonomies: tuple[str, ...] = ()
    joined: Joined | None = None
    packed: tuple[str, Packing] | None = None
    """The column that holds all values of the form."""
    parts: tuple[Part, ...] = ()
    folder: str = ""
    """Below `uploads`; its files belong to entries. "": attachments, anywhere below it."""
    definitions: tuple[str, str] | None = None
    """Table and column in which the plugin keeps the forms themselves."""
    restless: frozenset[str] = frozenset()
    """Columns that change without anybody changing the entry (read, starred)."""
    echoes: tuple[str, ...] = ()
    """Columns that repeat values of the form; emptied when one of these is overwritten."""


_POST_META = frozenset({"_edit_lock", "_edit_last"})
_POST_NAMES = {"status": "post_status", "title": "post_title"}

STORES: Mapping[str, Store] = {
    "flamingo": Store(
        title="Flamingo: messages received",
        table="posts",
        key="ID",
        dates={"received": ("post_date_gmt", "post_date")},
        in_utc=frozenset({"post_date_gmt", "post_modified_gmt"}),
        names={
            **_POST_NAMES,
            "subject": "_subject",
            "from": "_from",
            "from_name": "_from_name",
            "from_email": "_from_email",
        },
        post_type="flamingo_inbound",
        taxonomies=("flamingo_inbound_channel", "category", "post_tag"),
        joined=Joined(
            "postmeta", "post_id", "meta_key", "meta_value", "_field_{}", _POST_META, sanitised=True
        ),
        definitions=("postmeta", "meta_value"),
        echoes=("post_content",),
    ),
    "flamingo-contacts": Store(
        title="Flamingo: address book",
        table="posts",
        key="ID",
        dates={
            "last_contacted": ("_last_contacted",),
            "created": ("post_date_gmt", "post_date"),
        },
        in_utc=frozenset({"post_date_gmt", "post_modified_gmt"}),
        names={**_POST_NAMES, "email": "_email", "name": "_name"},
        post_type="flamingo_contact",
        taxonomies=("flamingo_contact_tag", "category", "post_tag"),
        joined=Joined(
            "postmeta", "post_id", "meta_key", "meta_value", "{}", _POST_META, sanitised=True
        ),
        echoes=("post_content", "post_name"),
    ),
    "cfdb7": Store(
        title="Contact Form CFDB7",
        table="db7_forms",
        key="form_id",
        dates={"received": ("form_date",)},
        names={"status": "cfdb7_status"},
        packed=("form_value", Packing.PHP),
        folder="cfdb7_uploads",
        definitions=("postmeta", "meta_value"),
    ),
    "gravity-forms": Store(
        title="Gravity Forms: entries",
        table="gf_entry",
        key="id",
        dates={"received": ("date_created",), "updated": ("date_updated",)},
        in_utc=frozenset({"date_created", "date_updated", "payment_date"}),
        joined=Joined("gf_entry_meta", "entry_id", "meta_key", "meta_value"),
        parts=(
            Part("gf_entry_meta", "entry_id"),
            Part("gf_entry_notes", "entry_id"),
        ),
        folder="gravity_forms",
        definitions=("gf_form_meta", "display_meta"),
        restless=frozenset({"is_read", "is_starred"}),
    ),
    "gravity-forms-drafts": Store(
        title="Gravity Forms: drafts that people saved to go on later",
        table="gf_draft_submissions",
        key="uuid",
        dates={"received": ("date_created",)},
        in_utc=frozenset({"date_created"}),
    ),
    "wpforms": Store(
        title="WPForms",
        table="wpforms_entries",
        key="entry_id",
        dates={"received": ("date",), "updated": ("date_modified",)},
        in_utc=frozenset({"date", "date_modified"}),
        joined=Joined("wpforms_entry_fields", "entry_id", "field_id", "value"),
        packed=("fields", Packing.JSON),
        parts=(
            Part("wpforms_entry_fields", "entry_id"),
            Part("wpforms_entry_meta", "entry_id"),
        ),
        folder="wpforms",
        definitions=("posts", "post_content"),
        restless=frozenset({"viewed", "starred"}),
        echoes=("fields",),
    ),
}

OTHERS: Mapping[str, tuple[str, str]] = {
    "Ninja Forms": ("posts", "nf_sub"),
    "Jetpack feedback": ("posts", "feedback"),
    "Elementor": ("e_submissions", ""),
    "Flamingo: messages sent": ("posts", "flamingo_outbound"),
    "Forminator": ("frmt_form_entry", ""),
    "Fluent Forms": ("fluentform_submissions", ""),
    "Formidable": ("frm_items", ""),
    "WP Mail Logging": ("wpml_mails", ""),
    "WPForms: saved payments": ("wpforms_payments", ""),
    "Gravity Forms before 2.3": ("rg_lead", ""),
}
"""Stores that no mapping here covers: plugin → table, and type of post where they are posts."""

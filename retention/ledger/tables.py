"""The tables of the ledger. The ledger is the truth; everything else is a hint (engine.md).

Instants are ISO 8601 text in UTC with milliseconds, so that SQLite and PostgreSQL compare them
alike and a person can read a row. Native keys of records stand in two columns only,
`batch.records` and `scan.controls`; both are emptied when their run closes.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
    }
)

_Id = BigInteger().with_variant(Integer, "sqlite")
_At = String(32)

meta = Table(
    "meta",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("value", Text, nullable=False),
)

# --- policies: what was seen, what is in force ------------------------------------------------

policy_version = Table(
    "policy_version",
    metadata,
    Column("policy", String(200), primary_key=True),
    Column("digest", String(80), primary_key=True),
    Column("bundle", JSON, nullable=False),
    Column("commit", String(64)),
    Column("seen_at", _At, nullable=False),
)

enforced = Table(
    "enforced",
    metadata,
    Column("policy", String(200), primary_key=True),
    Column("digest", String(80), nullable=False),
    Column("approved_at", _At, nullable=False),
    Column("approved_by", String(200), nullable=False),
)

schedule = Table(
    "schedule",
    metadata,
    Column("policy", String(200), primary_key=True),
    Column("digest", String(80), nullable=False),
    Column("next_fire", _At),
    Column("last_due", _At),
    Column("last_tick", _At, nullable=False),
)

# --- runs -------------------------------------------------------------------------------------

run = Table(
    "run",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("policy", String(200), nullable=False),
    Column("digest", String(80), nullable=False),
    Column("due_at", _At, nullable=False),
    Column("kind", String(80), nullable=False),
    Column("state", String(24), nullable=False),
    Column("late", Boolean, nullable=False, default=False),
    Column("token", Integer, nullable=False, default=0),
    Column("owner", String(200)),
    Column("lease_until", _At),
    Column("attempts", Integer, nullable=False, default=0),
    Column("not_before", _At),
    Column("created_at", _At, nullable=False),
    Column("started_at", _At),
    Column("finished_at", _At),
    Column("approved_by", String(200)),
    Column("counts", JSON, nullable=False, default=dict),
    Column("note", Text, nullable=False, default=""),
    # A shard is a row of its own below the run that it is a part of: one location, or a span of it.
    Column("parent_id", _Id),
    Column("shard", Integer, nullable=False, default=0, server_default="0"),
    Column("location", String(300)),
    Column("span", Text),
    Column("system", String(200)),
    Column("cause", String(64)),
    Column("turn", _At, nullable=False, default="", server_default=""),
    Column("active", Boolean),
    UniqueConstraint("policy", "due_at", "kind"),
)
Index("ix_run_parent_id", run.c.parent_id)
# The queue: what may be worked on, in the order of its turn. A claim asks in these very words.
WORKABLE = text("state IN ('pending', 'discovering', 'applying', 'verifying')")
Index("ix_run_queue", run.c.turn, run.c.id, sqlite_where=WORKABLE, postgresql_where=WORKABLE)
Index(
    "ix_run_lease_until",
    run.c.lease_until,
    sqlite_where=run.c.lease_until.is_not(None),
    postgresql_where=run.c.lease_until.is_not(None),
)
# The past of a policy: limits, status and metrics look there.
Index(
    "ix_run_history",
    run.c.policy,
    run.c.finished_at,
    run.c.state,
    sqlite_where=run.c.parent_id.is_(None),
    postgresql_where=run.c.parent_id.is_(None),
)
# At most one run of a policy is at work at any time; a shard never says that it is active.
Index(
    "uq_run_active",
    run.c.policy,
    unique=True,
    sqlite_where=run.c.active.is_(True),
    postgresql_where=run.c.active.is_(True),
)

scan = Table(
    "scan",
    metadata,
    Column("run_id", _Id, ForeignKey("run.id", ondelete="CASCADE"), primary_key=True),
    Column("location", String(300), primary_key=True),
    Column("state", String(16), nullable=False),
    Column("cursor", Text),
    Column("scanned", BigInteger, nullable=False, default=0),
    Column("total", BigInteger),
    Column("totals", JSON, nullable=False, default=dict),
    Column("controls", LargeBinary),
    Column("error", Text),
    Column("cause", String(64)),
)

batch = Table(
    "batch",
    metadata,
    Column("run_id", _Id, ForeignKey("run.id", ondelete="CASCADE"), primary_key=True),
    Column("no", Integer, primary_key=True),
    Column("location", String(300), nullable=False),
    Column("policy", String(200), nullable=False),
    Column("action", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    Column("size", Integer, nullable=False),
    Column("records", LargeBinary),
    Column("token", Integer),
    Column("attempts", Integer, nullable=False, default=0),
    Column("intended_at", _At),
    Column("acted_at", _At),
    Column("verified_at", _At),
)
Index("ix_batch_state", batch.c.run_id, batch.c.state)

# What became of records that have copies in other locations, while their run is open.
fate = Table(
    "fate",
    metadata,
    Column("run_id", _Id, ForeignKey("run.id", ondelete="CASCADE"), primary_key=True),
    Column("record", String(48), primary_key=True),
    Column("subject", String(48), nullable=False),
    Column("location", String(300), nullable=False),
    Column("gone", Boolean, nullable=False),
)

# --- people, by keyed hash only ------------------------------------------------------------------

start_memory = Table(
    "start_memory",
    metadata,
    Column("source", String(300), primary_key=True),
    Column("subject", String(48), primary_key=True),
    Column("latest", _At, nullable=False),
)

event = Table(
    "event",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("name", String(200), nullable=False),
    Column("subject", String(48), nullable=False),
    Column("scope", String(300), nullable=False, default=""),
    Column("at", _At, nullable=False),
    Column("recorded_at", _At, nullable=False),
    Column("revoked_at", _At),
    Column("handled_at", _At),
)
Index("ix_event_subject", event.c.subject)

hold = Table(
    "hold",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("case", String(200), nullable=False),
    Column("reason", Text, nullable=False),
    Column("owner", String(200), nullable=False),
    Column("review_by", _At),
    Column("subject", String(48)),
    Column("cluster", String(200)),
    Column("location", String(300)),
    Column("record", String(48)),
    Column("added_at", _At, nullable=False),
    Column("released_at", _At),
    Column("release_reason", Text),
    Column("grace_until", _At),
)

suppression = Table(
    "suppression",
    metadata,
    Column("subject", String(48), primary_key=True),
    Column("scope", String(300), primary_key=True),
    Column("added_at", _At, nullable=False),
)

# Of whom something is gone from one location of a cluster while it is left in this one.
partly = Table(
    "partly",
    metadata,
    Column("policy", String(200), primary_key=True),
    Column("location", String(300), primary_key=True),
    Column("subject", String(48), primary_key=True),
    Column("since", _At, nullable=False),
)

# --- switches and alarms -----------------------------------------------------------------------

freeze = Table(
    "freeze",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("reason", Text, nullable=False),
    Column("since", _At, nullable=False),
    Column("thawed_at", _At),
)

alarm = Table(
    "alarm",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("policy", String(200), nullable=False),
    Column("kind", String(64), nullable=False),
    Column("detail", Text, nullable=False),
    Column("raised_at", _At, nullable=False),
    Column("cleared_at", _At),
    Column("told_at", _At),
    Column("end_told_at", _At),
)
Index("ix_alarm_policy", alarm.c.policy)

# --- processes and accounts ----------------------------------------------------------------------

node = Table(
    "node",
    metadata,
    Column("name", String(200), primary_key=True),
    Column("role", String(16), nullable=False),
    Column("version", String(40), nullable=False),
    Column("started_at", _At, nullable=False),
    Column("seen_at", _At, nullable=False),
    Column("facts", JSON, nullable=False, default=dict),
)

bucket = Table(
    "bucket",
    metadata,
    Column("account", String(300), primary_key=True),
    # Microseconds since 1970: requests are booked up to this moment.
    Column("horizon", BigInteger, nullable=False),
)

# --- evidence ----------------------------------------------------------------------------------

audit_entry = Table(
    "audit_entry",
    metadata,
    Column("log", String(300), primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("at", _At, nullable=False),
    Column("type", String(32), nullable=False),
    Column("policy", String(200)),
    Column("line", LargeBinary, nullable=False),
)
Index("ix_audit_entry_type", audit_entry.c.type)
Index("ix_audit_entry_policy", audit_entry.c.policy)

audit_head = Table(
    "audit_head",
    metadata,
    Column("log", String(300), primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("frontier", LargeBinary, nullable=False),
    Column("vkeys", Text, nullable=False),
    Column("pseudonym_check", String(32), nullable=False),
    Column("opened_at", _At, nullable=False),
    Column("closed_at", _At),
    Column("dropped_at", _At),
    Column("verified_size", BigInteger, nullable=False, default=0),
    Column("verified_at", _At),
)

audit_checkpoint = Table(
    "audit_checkpoint",
    metadata,
    Column("log", String(300), primary_key=True),
    Column("size", BigInteger, primary_key=True),
    Column("at", _At, nullable=False),
    Column("note", Text, nullable=False),
    Column("frontier", LargeBinary, nullable=False),
)

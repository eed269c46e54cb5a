"""Shards of runs, the processes that are alive, alarms that were told, accounts' rate limits."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_COLUMNS = ("parent_id", "shard", "location", "span", "system", "cause", "turn", "active")


def _run_columns() -> list[sa.Column[object]]:
    return [
        sa.Column("parent_id", _ID, nullable=True),
        sa.Column("shard", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("location", sa.String(length=300), nullable=True),
        sa.Column("span", sa.Text(), nullable=True),
        sa.Column("system", sa.String(length=200), nullable=True),
        sa.Column("cause", sa.String(length=64), nullable=True),
        sa.Column("turn", sa.String(length=32), nullable=False, server_default=""),
        sa.Column("active", sa.Boolean(), nullable=True),
    ]


def upgrade() -> None:
    # Plain ALTER TABLE: rebuilding `run` would empty the tables that point to it.
    for added in _run_columns():
        op.add_column("run", added)
    op.execute("UPDATE run SET turn = created_at")
    op.drop_index("ix_run_state", "run")
    op.create_index("ix_run_parent_id", "run", ["parent_id"])
    held = sa.text("lease_until IS NOT NULL")
    op.create_index(
        "ix_run_lease_until", "run", ["lease_until"], sqlite_where=held, postgresql_where=held
    )
    workable = sa.text("state IN ('pending', 'discovering', 'applying', 'verifying')")
    op.create_index(
        "ix_run_queue",
        "run",
        ["turn", "id"],
        sqlite_where=workable,
        postgresql_where=workable,
    )
    whole = sa.text("parent_id IS NULL")
    op.create_index(
        "ix_run_history",
        "run",
        ["policy", "finished_at", "state"],
        sqlite_where=whole,
        postgresql_where=whole,
    )
    op.create_index(
        "uq_run_active",
        "run",
        ["policy"],
        unique=True,
        sqlite_where=sa.text("active IS 1"),
        postgresql_where=sa.text("active IS true"),
    )
    op.add_column("scan", sa.Column("cause", sa.String(length=64), nullable=True))
    op.add_column("alarm", sa.Column("told_at", sa.String(length=32), nullable=True))
    op.add_column("alarm", sa.Column("end_told_at", sa.String(length=32), nullable=True))
    op.create_table(
        "node",
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("version", sa.String(length=40), nullable=False),
        sa.Column("started_at", sa.String(length=32), nullable=False),
        sa.Column("seen_at", sa.String(length=32), nullable=False),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_node"),
    )
    op.create_table(
        "bucket",
        sa.Column("account", sa.String(length=300), nullable=False),
        sa.Column("horizon", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account", name="pk_bucket"),
    )


def downgrade() -> None:
    op.drop_table("bucket")
    op.drop_table("node")
    op.drop_column("alarm", "end_told_at")
    op.drop_column("alarm", "told_at")
    op.drop_column("scan", "cause")
    op.drop_index("uq_run_active", "run")
    op.drop_index("ix_run_queue", "run")
    op.drop_index("ix_run_history", "run")
    for column in ("lease_until", "parent_id"):
        op.drop_index(f"ix_run_{column}", "run")
    op.create_index("ix_run_state", "run", ["state"])
    with op.batch_alter_table("run") as run:
        for name in _COLUMNS:
            run.drop_column(name)

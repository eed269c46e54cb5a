"""Ends of relationships outlive the card they stood on; control records for verification."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "start_memory",
        sa.Column("source", sa.String(length=300), nullable=False),
        sa.Column("subject", sa.String(length=48), nullable=False),
        sa.Column("latest", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("source", "subject", name="pk_start_memory"),
    )
    with op.batch_alter_table("scan") as scan:
        scan.add_column(sa.Column("controls", sa.LargeBinary(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("scan") as scan:
        scan.drop_column("controls")
    op.drop_table("start_memory")

"""What became of copies of the same record in several locations."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "fate",
        sa.Column(
            "run_id",
            _ID,
            sa.ForeignKey("run.id", name="fk_fate_run_id", ondelete="CASCADE"),
            nullable=False,
        ),
        sa.Column("record", sa.String(length=48), nullable=False),
        sa.Column("subject", sa.String(length=48), nullable=False),
        sa.Column("location", sa.String(length=300), nullable=False),
        sa.Column("gone", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "record", name="pk_fate"),
    )
    op.create_table(
        "partly",
        sa.Column("policy", sa.String(length=200), nullable=False),
        sa.Column("location", sa.String(length=300), nullable=False),
        sa.Column("subject", sa.String(length=48), nullable=False),
        sa.Column("since", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("policy", "location", "subject", name="pk_partly"),
    )


def downgrade() -> None:
    op.drop_table("partly")
    op.drop_table("fate")

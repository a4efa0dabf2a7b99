"""How far each imported file has come."""

from alembic import op

revision = "0002"
down_revision = "0001"

_DDL = """
CREATE TABLE imports (
    object_key     text COLLATE "C" NOT NULL,
    object_version text COLLATE "C" NOT NULL,
    rows_done      integer NOT NULL DEFAULT 0 CHECK (rows_done >= 0),
    bytes_done     bigint NOT NULL DEFAULT 0 CHECK (bytes_done >= 0),
    started_at     timestamptz NOT NULL DEFAULT now(),
    finished_at    timestamptz,
    outcome        jsonb,
    PRIMARY KEY (object_key, object_version),
    CHECK ((finished_at IS NULL) = (outcome IS NULL))
);
"""


def upgrade() -> None:
    op.execute(_DDL)


def downgrade() -> None:
    op.execute("DROP TABLE imports")

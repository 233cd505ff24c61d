//! The tables of the kit itself. Their names begin with `kit_`.

use super::{Migration, MigrationSet};

/// Comes before the tables of a service.
pub(super) const KIT: MigrationSet =
    MigrationSet { owner: "service-kit", migrations: &[CLOCK, JOBS, IDEMPOTENCY_KEYS] };

/// The time of the database in milliseconds since 1970, with the same name on
/// both kinds. It goes on during a transaction.
const CLOCK: Migration = Migration::by_dialect(
    1,
    "clock",
    "CREATE VIEW kit_clock AS SELECT CAST(unixepoch('subsec') * 1000 AS INTEGER) AS milliseconds",
    "CREATE VIEW kit_clock AS \
     SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT) AS milliseconds",
);

/// Queues. A job is `waiting`, `running`, `done` or `dead`.
///
/// `due_at` is when a worker may take it: of a waiting one the time that it was
/// put off to, of a running one the end of its lease. A done or dead one has
/// none.
const JOBS: Migration = Migration::new(
    2,
    "jobs",
    "
CREATE TABLE kit_jobs (
    id TEXT NOT NULL PRIMARY KEY,
    queue TEXT NOT NULL,
    deduplication_key TEXT,
    payload TEXT NOT NULL,
    state TEXT NOT NULL,
    attempts BIGINT NOT NULL,
    max_attempts BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    due_at BIGINT,
    claim TEXT,
    finished_at BIGINT,
    last_error TEXT
);
CREATE UNIQUE INDEX kit_jobs_by_key ON kit_jobs (queue, deduplication_key);
CREATE INDEX kit_jobs_by_due ON kit_jobs (queue, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX kit_jobs_by_finished ON kit_jobs (queue, state, finished_at) WHERE finished_at IS NOT NULL;
",
);

/// Requests that were done already, or are being done. `state` is `running` or
/// `finished`.
const IDEMPOTENCY_KEYS: Migration = Migration::new(
    3,
    "idempotency keys",
    "
CREATE TABLE kit_idempotency_keys (
    scope TEXT NOT NULL,
    idempotency_key TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    state TEXT NOT NULL,
    claim TEXT,
    lease_until BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    status BIGINT,
    headers TEXT,
    body BYTEA,
    PRIMARY KEY (scope, idempotency_key)
);
CREATE INDEX kit_idempotency_keys_by_expiry ON kit_idempotency_keys (expires_at);
",
);

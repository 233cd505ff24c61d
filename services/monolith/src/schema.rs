//! The tables of the gateway.

use service_kit::database::{Migration, MigrationSet};

/// All of them.
pub const TABLES: MigrationSet = MigrationSet { owner: "monolith", migrations: &[KEYS, REQUESTS] };

/// API keys, and a number that grows with each change of them, so that
/// replicas see at a glance that they have to read them again.
const KEYS: Migration = Migration::new(
    1,
    "keys",
    "
CREATE TABLE api_keys (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    digest TEXT NOT NULL,
    scopes TEXT NOT NULL,
    rate_limit TEXT,
    created_by TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    last_used_at BIGINT
);
CREATE UNIQUE INDEX api_keys_by_name ON api_keys (name);
CREATE TABLE api_key_changes (changes BIGINT NOT NULL);
INSERT INTO api_key_changes (changes) VALUES (0);
",
);

/// Requests. `asked` is what they ask for, `state` how far they have come;
/// `revision` grows with each change of it, and is the number of the event
/// that tells of it. `input` is the beginning of the question, for lists: `asked`
/// may have megabytes. What has come out of a task is kept by itself.
///
/// `request_uploads` has the data sets that were made for a request, so that
/// they go when it goes, or when it never came.
const REQUESTS: Migration = Migration::new(
    2,
    "requests",
    "
CREATE TABLE requests (
    id TEXT NOT NULL PRIMARY KEY,
    status TEXT NOT NULL,
    input TEXT NOT NULL,
    asked TEXT NOT NULL,
    state TEXT NOT NULL,
    revision BIGINT NOT NULL,
    is_cancelled INTEGER NOT NULL,
    webhook TEXT,
    trace TEXT NOT NULL,
    created_by TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    deadline_at BIGINT NOT NULL,
    ended_at BIGINT
);
CREATE INDEX requests_by_status ON requests (status, id);
CREATE INDEX requests_by_ended ON requests (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX requests_by_deadline ON requests (deadline_at) WHERE ended_at IS NULL;
CREATE TABLE request_results (
    request_id TEXT NOT NULL,
    task TEXT NOT NULL,
    result TEXT NOT NULL,
    PRIMARY KEY (request_id, task)
);
CREATE TABLE request_events (
    request_id TEXT NOT NULL,
    revision BIGINT NOT NULL,
    event TEXT NOT NULL,
    data TEXT NOT NULL,
    PRIMARY KEY (request_id, revision)
);
CREATE TABLE request_uploads (
    dataset TEXT NOT NULL PRIMARY KEY,
    request_id TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
",
);

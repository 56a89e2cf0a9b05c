-- Times are milliseconds since 1970, truth values 0 and 1.

-- FHIR resources: one row for each, with the number of its current version; a deletion is a version without content.
CREATE TABLE resource (
    rid INTEGER PRIMARY KEY,
    type TEXT NOT NULL,
    id TEXT NOT NULL,
    version INTEGER NOT NULL,
    last_updated INTEGER NOT NULL,
    deleted INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX resource_by_id ON resource (type, id);
CREATE INDEX resource_by_time ON resource (type, deleted, last_updated, id);

CREATE TABLE resource_version (
    rid INTEGER NOT NULL REFERENCES resource (rid),
    version INTEGER NOT NULL,
    type TEXT NOT NULL,
    id TEXT NOT NULL,
    last_updated INTEGER NOT NULL,
    deleted INTEGER NOT NULL,
    content TEXT
) STRICT;
CREATE UNIQUE INDEX resource_version_by_rid ON resource_version (rid, version);
CREATE INDEX resource_version_by_type ON resource_version (type, last_updated, id, version);
CREATE INDEX resource_version_by_time ON resource_version (last_updated, id, version);

-- Who may see a version.
CREATE TABLE read_access (
    rid INTEGER NOT NULL REFERENCES resource (rid),
    version INTEGER NOT NULL,
    grantee TEXT NOT NULL,
    PRIMARY KEY (rid, version, grantee)
) STRICT, WITHOUT ROWID;
CREATE INDEX read_access_by_grantee ON read_access (grantee, rid, version);

-- Versions of Binaries whose readers are those of another resource.
CREATE TABLE security_context (
    rid INTEGER NOT NULL REFERENCES resource (rid),
    version INTEGER NOT NULL,
    target_type TEXT NOT NULL,
    target_id TEXT NOT NULL,
    PRIMARY KEY (rid, version)
) STRICT, WITHOUT ROWID;
CREATE INDEX security_context_by_target ON security_context (target_type, target_id);

-- Keys that one current resource holds alone.
CREATE TABLE unique_key (
    kind TEXT NOT NULL,
    value TEXT NOT NULL,
    rid INTEGER NOT NULL REFERENCES resource (rid),
    PRIMARY KEY (kind, value)
) STRICT, WITHOUT ROWID;
CREATE INDEX unique_key_by_rid ON unique_key (rid);

-- Search indexes of current versions. The parameter is written as Type.parameter. An absent system is the empty text.
CREATE TABLE token_index (
    rid INTEGER NOT NULL REFERENCES resource (rid),
    parameter TEXT NOT NULL,
    code TEXT NOT NULL,
    system TEXT NOT NULL,
    PRIMARY KEY (rid, parameter, code, system)
) STRICT, WITHOUT ROWID;
CREATE INDEX token_index_by_code ON token_index (parameter, code, system, rid);
CREATE INDEX token_index_by_system ON token_index (parameter, system, rid);

CREATE TABLE string_index (
    rid INTEGER NOT NULL REFERENCES resource (rid),
    parameter TEXT NOT NULL,
    folded TEXT NOT NULL,
    exact TEXT NOT NULL,
    PRIMARY KEY (rid, parameter, folded, exact)
) STRICT, WITHOUT ROWID;
CREATE INDEX string_index_by_folded ON string_index (parameter, folded, rid);

CREATE TABLE uri_index (
    rid INTEGER NOT NULL REFERENCES resource (rid),
    parameter TEXT NOT NULL,
    value TEXT NOT NULL,
    version TEXT NOT NULL,
    PRIMARY KEY (rid, parameter, value, version)
) STRICT, WITHOUT ROWID;
CREATE INDEX uri_index_by_value ON uri_index (parameter, value, rid);

CREATE TABLE date_index (
    rid INTEGER NOT NULL REFERENCES resource (rid),
    parameter TEXT NOT NULL,
    low INTEGER NOT NULL,
    high INTEGER NOT NULL,
    PRIMARY KEY (rid, parameter, low, high)
) STRICT, WITHOUT ROWID;
CREATE INDEX date_index_by_low ON date_index (parameter, low, rid);
CREATE INDEX date_index_by_high ON date_index (parameter, high, rid);

-- A reference by type and id, by foreign URL, or by identifier; absent parts are empty texts. Canonical references are
-- in uri_index.
CREATE TABLE reference_index (
    rid INTEGER NOT NULL REFERENCES resource (rid),
    parameter TEXT NOT NULL,
    target_id TEXT NOT NULL,
    target_type TEXT NOT NULL,
    url TEXT NOT NULL,
    identifier_value TEXT NOT NULL,
    identifier_system TEXT NOT NULL,
    PRIMARY KEY (rid, parameter, target_id, target_type, url, identifier_value, identifier_system)
) STRICT, WITHOUT ROWID;
CREATE INDEX reference_index_by_target ON reference_index (parameter, target_id, target_type, rid);
CREATE INDEX reference_index_by_url ON reference_index (parameter, url, rid);
CREATE INDEX reference_index_by_identifier ON reference_index (parameter, identifier_value, identifier_system, rid);

-- Content of Binaries: written in pieces under an upload, adopted by the versions that have it.
CREATE TABLE upload (
    id TEXT PRIMARY KEY,
    started INTEGER NOT NULL,
    size INTEGER NOT NULL,
    adopted INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX upload_by_age ON upload (adopted, started);

CREATE TABLE upload_chunk (
    upload TEXT NOT NULL REFERENCES upload (id),
    position INTEGER NOT NULL,
    data BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX upload_chunk_by_position ON upload_chunk (upload, position);

CREATE TABLE binary_content (
    rid INTEGER NOT NULL REFERENCES resource (rid),
    version INTEGER NOT NULL,
    upload TEXT NOT NULL REFERENCES upload (id),
    PRIMARY KEY (rid, version)
) STRICT, WITHOUT ROWID;
CREATE INDEX binary_content_by_upload ON binary_content (upload);

-- Process definitions and instances.
CREATE TABLE definition (
    digest TEXT PRIMARY KEY,
    process_key TEXT NOT NULL,
    version_tag TEXT NOT NULL,
    xml BLOB NOT NULL,
    active INTEGER NOT NULL,
    created INTEGER NOT NULL
) STRICT;
CREATE INDEX definition_by_key ON definition (process_key, version_tag, created);

CREATE TABLE instance (
    id TEXT PRIMARY KEY,
    process_key TEXT NOT NULL,
    version_tag TEXT NOT NULL,
    definition_digest TEXT NOT NULL,
    business_key TEXT NOT NULL,
    alternative_business_key TEXT,
    state TEXT NOT NULL,
    ended INTEGER NOT NULL,
    data BLOB NOT NULL,
    revision INTEGER NOT NULL,
    created INTEGER NOT NULL,
    updated INTEGER NOT NULL
) STRICT;
CREATE INDEX instance_by_business_key ON instance (business_key, ended);
CREATE INDEX instance_by_alternative ON instance (alternative_business_key, ended);
CREATE INDEX instance_by_time ON instance (ended, created, id);

CREATE TABLE instance_event (
    instance TEXT NOT NULL REFERENCES instance (id),
    position INTEGER NOT NULL,
    time INTEGER NOT NULL,
    data BLOB NOT NULL,
    PRIMARY KEY (instance, position)
) STRICT, WITHOUT ROWID;

CREATE TABLE message_subscription (
    instance TEXT NOT NULL REFERENCES instance (id),
    id TEXT NOT NULL,
    message_name TEXT NOT NULL,
    correlation_key TEXT,
    PRIMARY KEY (instance, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE signal_subscription (
    instance TEXT NOT NULL REFERENCES instance (id),
    id TEXT NOT NULL,
    signal_name TEXT NOT NULL,
    PRIMARY KEY (instance, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX signal_subscription_by_name ON signal_subscription (signal_name, instance);

-- Work with a due time. Locked rows belong to an engine until the time of the lock.
CREATE TABLE job (
    id TEXT PRIMARY KEY,
    instance TEXT REFERENCES instance (id),
    kind TEXT NOT NULL,
    exclusive INTEGER NOT NULL,
    due INTEGER NOT NULL,
    retries INTEGER NOT NULL,
    locked_by TEXT,
    locked_until INTEGER NOT NULL,
    failure TEXT,
    payload BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX job_by_due ON job (due) WHERE retries > 0;
CREATE INDEX job_by_lock ON job (locked_until) WHERE locked_by IS NOT NULL;
CREATE INDEX job_by_instance ON job (instance);

-- Messages to send.
CREATE TABLE outbox (
    id TEXT PRIMARY KEY,
    instance TEXT,
    step TEXT NOT NULL,
    target_url TEXT NOT NULL,
    target_organization TEXT NOT NULL,
    body BLOB NOT NULL,
    attempts INTEGER NOT NULL,
    next_attempt INTEGER NOT NULL,
    locked_by TEXT,
    locked_until INTEGER NOT NULL,
    failure TEXT,
    created INTEGER NOT NULL
) STRICT;
CREATE INDEX outbox_by_attempt ON outbox (next_attempt);
CREATE INDEX outbox_by_lock ON outbox (locked_until) WHERE locked_by IS NOT NULL;
CREATE INDEX outbox_by_instance ON outbox (instance);

-- Messages that no instance waits for yet.
CREATE TABLE inbox (
    task_id TEXT PRIMARY KEY,
    process_key TEXT NOT NULL,
    version_tag TEXT NOT NULL,
    message_name TEXT NOT NULL,
    business_key TEXT NOT NULL,
    correlation_key TEXT,
    received INTEGER NOT NULL,
    expires INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX inbox_by_message ON inbox (business_key, message_name);
CREATE INDEX inbox_by_expiry ON inbox (expires);

-- Small values of the node, and counts that limits are decided on.
CREATE TABLE setting (
    name TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE counter (
    name TEXT NOT NULL,
    period_start INTEGER NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (name, period_start)
) STRICT, WITHOUT ROWID;

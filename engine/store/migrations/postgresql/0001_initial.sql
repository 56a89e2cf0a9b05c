-- Times are milliseconds since 1970, truth values 0 and 1.

-- FHIR resources: one row for each, with the number of its current version; a deletion is a version without content.
CREATE TABLE resource (
    rid BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    type TEXT COLLATE "C" NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL,
    last_updated BIGINT NOT NULL,
    deleted BIGINT NOT NULL
);
CREATE UNIQUE INDEX resource_by_id ON resource (type, id);
CREATE INDEX resource_by_time ON resource (type, deleted, last_updated, id);

CREATE TABLE resource_version (
    rid BIGINT NOT NULL REFERENCES resource (rid),
    version BIGINT NOT NULL,
    type TEXT COLLATE "C" NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    last_updated BIGINT NOT NULL,
    deleted BIGINT NOT NULL,
    content TEXT COLLATE "C"
);
CREATE UNIQUE INDEX resource_version_by_rid ON resource_version (rid, version);
CREATE INDEX resource_version_by_type ON resource_version (type, last_updated, id, version);
CREATE INDEX resource_version_by_time ON resource_version (last_updated, id, version);

-- Who may see a version.
CREATE TABLE read_access (
    rid BIGINT NOT NULL REFERENCES resource (rid),
    version BIGINT NOT NULL,
    grantee TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (rid, version, grantee)
);
CREATE INDEX read_access_by_grantee ON read_access (grantee, rid, version);

-- Versions of Binaries whose readers are those of another resource.
CREATE TABLE security_context (
    rid BIGINT NOT NULL REFERENCES resource (rid),
    version BIGINT NOT NULL,
    target_type TEXT COLLATE "C" NOT NULL,
    target_id TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (rid, version)
);
CREATE INDEX security_context_by_target ON security_context (target_type, target_id);

-- Keys that one current resource holds alone.
CREATE TABLE unique_key (
    kind TEXT COLLATE "C" NOT NULL,
    value TEXT COLLATE "C" NOT NULL,
    rid BIGINT NOT NULL REFERENCES resource (rid),
    PRIMARY KEY (kind, value)
);
CREATE INDEX unique_key_by_rid ON unique_key (rid);

-- Search indexes of current versions. The parameter is written as Type.parameter. An absent system is the empty text.
CREATE TABLE token_index (
    rid BIGINT NOT NULL REFERENCES resource (rid),
    parameter TEXT COLLATE "C" NOT NULL,
    code TEXT COLLATE "C" NOT NULL,
    system TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (rid, parameter, code, system)
);
CREATE INDEX token_index_by_code ON token_index (parameter, code, system, rid);
CREATE INDEX token_index_by_system ON token_index (parameter, system, rid);

CREATE TABLE string_index (
    rid BIGINT NOT NULL REFERENCES resource (rid),
    parameter TEXT COLLATE "C" NOT NULL,
    folded TEXT COLLATE "C" NOT NULL,
    exact TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (rid, parameter, folded, exact)
);
CREATE INDEX string_index_by_folded ON string_index (parameter, folded, rid);

CREATE TABLE uri_index (
    rid BIGINT NOT NULL REFERENCES resource (rid),
    parameter TEXT COLLATE "C" NOT NULL,
    value TEXT COLLATE "C" NOT NULL,
    version TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (rid, parameter, value, version)
);
CREATE INDEX uri_index_by_value ON uri_index (parameter, value, rid);

CREATE TABLE date_index (
    rid BIGINT NOT NULL REFERENCES resource (rid),
    parameter TEXT COLLATE "C" NOT NULL,
    low BIGINT NOT NULL,
    high BIGINT NOT NULL,
    PRIMARY KEY (rid, parameter, low, high)
);
CREATE INDEX date_index_by_low ON date_index (parameter, low, rid);
CREATE INDEX date_index_by_high ON date_index (parameter, high, rid);

-- A reference by type and id, by foreign URL, or by identifier; absent parts are empty texts. Canonical references are
-- in uri_index.
CREATE TABLE reference_index (
    rid BIGINT NOT NULL REFERENCES resource (rid),
    parameter TEXT COLLATE "C" NOT NULL,
    target_id TEXT COLLATE "C" NOT NULL,
    target_type TEXT COLLATE "C" NOT NULL,
    url TEXT COLLATE "C" NOT NULL,
    identifier_value TEXT COLLATE "C" NOT NULL,
    identifier_system TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (rid, parameter, target_id, target_type, url, identifier_value, identifier_system)
);
CREATE INDEX reference_index_by_target ON reference_index (parameter, target_id, target_type, rid);
CREATE INDEX reference_index_by_url ON reference_index (parameter, url, rid);
CREATE INDEX reference_index_by_identifier ON reference_index (parameter, identifier_value, identifier_system, rid);

-- Content of Binaries: written in pieces under an upload, adopted by the versions that have it.
CREATE TABLE upload (
    id TEXT COLLATE "C" PRIMARY KEY,
    started BIGINT NOT NULL,
    size BIGINT NOT NULL,
    adopted BIGINT NOT NULL
);
CREATE INDEX upload_by_age ON upload (adopted, started);

CREATE TABLE upload_chunk (
    upload TEXT COLLATE "C" NOT NULL REFERENCES upload (id),
    position BIGINT NOT NULL,
    data BYTEA NOT NULL
);
CREATE UNIQUE INDEX upload_chunk_by_position ON upload_chunk (upload, position);

CREATE TABLE binary_content (
    rid BIGINT NOT NULL REFERENCES resource (rid),
    version BIGINT NOT NULL,
    upload TEXT COLLATE "C" NOT NULL REFERENCES upload (id),
    PRIMARY KEY (rid, version)
);
CREATE INDEX binary_content_by_upload ON binary_content (upload);

-- Process definitions and instances.
CREATE TABLE definition (
    digest TEXT COLLATE "C" PRIMARY KEY,
    process_key TEXT COLLATE "C" NOT NULL,
    version_tag TEXT COLLATE "C" NOT NULL,
    xml BYTEA NOT NULL,
    active BIGINT NOT NULL,
    created BIGINT NOT NULL
);
CREATE INDEX definition_by_key ON definition (process_key, version_tag, created);

CREATE TABLE instance (
    id TEXT COLLATE "C" PRIMARY KEY,
    process_key TEXT COLLATE "C" NOT NULL,
    version_tag TEXT COLLATE "C" NOT NULL,
    definition_digest TEXT COLLATE "C" NOT NULL,
    business_key TEXT COLLATE "C" NOT NULL,
    alternative_business_key TEXT COLLATE "C",
    state TEXT COLLATE "C" NOT NULL,
    ended BIGINT NOT NULL,
    data BYTEA NOT NULL,
    revision BIGINT NOT NULL,
    created BIGINT NOT NULL,
    updated BIGINT NOT NULL
);
CREATE INDEX instance_by_business_key ON instance (business_key, ended);
CREATE INDEX instance_by_alternative ON instance (alternative_business_key, ended);
CREATE INDEX instance_by_time ON instance (ended, created, id);

CREATE TABLE instance_event (
    instance TEXT COLLATE "C" NOT NULL REFERENCES instance (id),
    position BIGINT NOT NULL,
    time BIGINT NOT NULL,
    data BYTEA NOT NULL,
    PRIMARY KEY (instance, position)
);

CREATE TABLE message_subscription (
    instance TEXT COLLATE "C" NOT NULL REFERENCES instance (id),
    id TEXT COLLATE "C" NOT NULL,
    message_name TEXT COLLATE "C" NOT NULL,
    correlation_key TEXT COLLATE "C",
    PRIMARY KEY (instance, id)
);

CREATE TABLE signal_subscription (
    instance TEXT COLLATE "C" NOT NULL REFERENCES instance (id),
    id TEXT COLLATE "C" NOT NULL,
    signal_name TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (instance, id)
);
CREATE INDEX signal_subscription_by_name ON signal_subscription (signal_name, instance);

-- Work with a due time. Locked rows belong to an engine until the time of the lock.
CREATE TABLE job (
    id TEXT COLLATE "C" PRIMARY KEY,
    instance TEXT COLLATE "C" REFERENCES instance (id),
    kind TEXT COLLATE "C" NOT NULL,
    exclusive BIGINT NOT NULL,
    due BIGINT NOT NULL,
    retries BIGINT NOT NULL,
    locked_by TEXT COLLATE "C",
    locked_until BIGINT NOT NULL,
    failure TEXT COLLATE "C",
    payload BYTEA NOT NULL
);
CREATE INDEX job_by_due ON job (due) WHERE retries > 0;
CREATE INDEX job_by_lock ON job (locked_until) WHERE locked_by IS NOT NULL;
CREATE INDEX job_by_instance ON job (instance);

-- Messages to send.
CREATE TABLE outbox (
    id TEXT COLLATE "C" PRIMARY KEY,
    instance TEXT COLLATE "C",
    step TEXT COLLATE "C" NOT NULL,
    target_url TEXT COLLATE "C" NOT NULL,
    target_organization TEXT COLLATE "C" NOT NULL,
    body BYTEA NOT NULL,
    attempts BIGINT NOT NULL,
    next_attempt BIGINT NOT NULL,
    locked_by TEXT COLLATE "C",
    locked_until BIGINT NOT NULL,
    failure TEXT COLLATE "C",
    created BIGINT NOT NULL
);
CREATE INDEX outbox_by_attempt ON outbox (next_attempt);
CREATE INDEX outbox_by_lock ON outbox (locked_until) WHERE locked_by IS NOT NULL;
CREATE INDEX outbox_by_instance ON outbox (instance);

-- Messages that no instance waits for yet.
CREATE TABLE inbox (
    task_id TEXT COLLATE "C" PRIMARY KEY,
    process_key TEXT COLLATE "C" NOT NULL,
    version_tag TEXT COLLATE "C" NOT NULL,
    message_name TEXT COLLATE "C" NOT NULL,
    business_key TEXT COLLATE "C" NOT NULL,
    correlation_key TEXT COLLATE "C",
    received BIGINT NOT NULL,
    expires BIGINT NOT NULL
);
CREATE INDEX inbox_by_message ON inbox (business_key, message_name);
CREATE INDEX inbox_by_expiry ON inbox (expires);

-- Small values of the node, and counts that limits are decided on.
CREATE TABLE setting (
    name TEXT COLLATE "C" PRIMARY KEY,
    value BYTEA NOT NULL
);

CREATE TABLE counter (
    name TEXT COLLATE "C" NOT NULL,
    period_start BIGINT NOT NULL,
    count BIGINT NOT NULL,
    PRIMARY KEY (name, period_start)
);

-- Work of instances that is done outside of transactions: long steps by an engine, external tasks by a worker. A locked row
-- belongs to an engine or a worker until the time of the lock.
CREATE TABLE work_item (
    id TEXT COLLATE "C" PRIMARY KEY,
    instance TEXT COLLATE "C" NOT NULL REFERENCES instance (id),
    element TEXT COLLATE "C" NOT NULL,
    process_key TEXT COLLATE "C" NOT NULL,
    version_tag TEXT COLLATE "C" NOT NULL,
    business_key TEXT COLLATE "C" NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    topic TEXT COLLATE "C" NOT NULL,
    priority BIGINT NOT NULL,
    created BIGINT NOT NULL,
    due BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    retries BIGINT,
    locked_by TEXT COLLATE "C",
    locked_until BIGINT NOT NULL,
    progress TEXT COLLATE "C",
    failure TEXT COLLATE "C",
    failure_details TEXT COLLATE "C",
    input BYTEA NOT NULL
);
CREATE INDEX work_item_by_due ON work_item (kind, due) WHERE retries IS NULL OR retries > 0;
CREATE INDEX work_item_by_topic ON work_item (kind, topic, priority DESC, created);
CREATE INDEX work_item_by_lock ON work_item (kind, locked_until) WHERE locked_by IS NOT NULL;
CREATE INDEX work_item_by_instance ON work_item (instance);

-- Work of instances that is done outside of transactions: long steps by an engine, external tasks by a worker. A locked row
-- belongs to an engine or a worker until the time of the lock.
CREATE TABLE work_item (
    id TEXT PRIMARY KEY,
    instance TEXT NOT NULL REFERENCES instance (id),
    element TEXT NOT NULL,
    process_key TEXT NOT NULL,
    version_tag TEXT NOT NULL,
    business_key TEXT NOT NULL,
    kind TEXT NOT NULL,
    topic TEXT NOT NULL,
    priority INTEGER NOT NULL,
    created INTEGER NOT NULL,
    due INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    retries INTEGER,
    locked_by TEXT,
    locked_until INTEGER NOT NULL,
    progress TEXT,
    failure TEXT,
    failure_details TEXT,
    input BLOB NOT NULL
) STRICT;
CREATE INDEX work_item_by_due ON work_item (kind, due) WHERE retries IS NULL OR retries > 0;
CREATE INDEX work_item_by_topic ON work_item (kind, topic, priority DESC, created);
CREATE INDEX work_item_by_lock ON work_item (kind, locked_until) WHERE locked_by IS NOT NULL;
CREATE INDEX work_item_by_instance ON work_item (instance);

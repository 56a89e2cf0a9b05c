-- Counts that are kept beside what they count, so that totals and far pages cost no walk over the matches. The index is
-- made anew after this step, which fills everything here.

-- Versions with the same readers share one audience.
CREATE TABLE audience (
    id INTEGER PRIMARY KEY,
    readers TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX audience_by_readers ON audience (readers);

CREATE TABLE audience_grant (
    grantee TEXT NOT NULL,
    audience INTEGER NOT NULL REFERENCES audience (id),
    PRIMARY KEY (grantee, audience)
) STRICT, WITHOUT ROWID;

-- How many of a subject (current resources of a type, those with a status, versions of a type) have their time in a
-- bucket, which is the time in milliseconds shifted right by the bits of the level.
CREATE TABLE tally (
    subject TEXT NOT NULL,
    level INTEGER NOT NULL,
    bucket INTEGER NOT NULL,
    audience INTEGER NOT NULL REFERENCES audience (id),
    count INTEGER NOT NULL,
    PRIMARY KEY (subject, level, bucket, audience)
) STRICT, WITHOUT ROWID;

-- The time of the resource beside each code, so that a search by code finds its page in the order of the result.
ALTER TABLE token_index ADD COLUMN last_updated INTEGER NOT NULL DEFAULT 0;
DROP INDEX token_index_by_code;
CREATE INDEX token_index_by_code ON token_index (parameter, code, last_updated, rid);

-- And beside each reader, so that who sees few of many finds a page among these.
ALTER TABLE read_access ADD COLUMN last_updated INTEGER NOT NULL DEFAULT 0;
UPDATE read_access SET last_updated =
    (SELECT v.last_updated FROM resource_version AS v WHERE v.rid = read_access.rid AND v.version = read_access.version);
DROP INDEX read_access_by_grantee;
CREATE INDEX read_access_by_grantee ON read_access (grantee, last_updated, rid, version);

-- Snapshots of StructureDefinitions, which the resources themselves do not hold; of their current versions only.
CREATE TABLE structure_definition_snapshot (
    rid BIGINT PRIMARY KEY REFERENCES resource (rid),
    version BIGINT NOT NULL,
    content TEXT NOT NULL
);

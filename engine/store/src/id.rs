//! Ids of what the node itself names: resources, uploads, process instances and what belongs to them.
//!
//! An id is a UUID of version 7 (RFC 9562): its beginning is the time in milliseconds, so rows that are written together
//! lie together in every index by id. With random ids each new row changes a page of its own in each of these indexes,
//! and a commit writes whole pages. An id is no secret: it tells when the row was made, as `meta.lastUpdated` does, and
//! who may read what it names is judged by other things. What must not be guessed is drawn elsewhere, at random.

/// A new id, greater than every one before it of this process: what waits is served in the order in which it came.
#[must_use]
pub fn new_id() -> String {
    uuid::Uuid::now_v7().to_string()
}

#[cfg(test)]
mod tests {
    use super::new_id;

    #[test]
    fn ids_grow_and_are_uuids_of_version_7() {
        let ids: Vec<String> = (0..20_000).map(|_| new_id()).collect();
        assert!(ids.windows(2).all(|pair| pair[0] < pair[1]));
        let is_known = |id: &String| {
            let id: uuid::Uuid = id.parse().expect("a UUID");
            id.get_version_num() == 7 && id.get_variant() == uuid::Variant::RFC4122
        };
        assert!(ids.iter().all(is_known));
    }
}

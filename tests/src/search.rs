//! Searches with all their pages.

use serde_json::Value;

use crate::client::Client;

/// Most pages that are read.
const PAGES: usize = 200;

/// Every match of a search; `query` holds no paging.
///
/// # Panics
/// When a page is refused.
pub async fn all(client: &Client, resource_type: &str, query: &str) -> Vec<Value> {
    let mut found = Vec::new();
    for page in 1..=PAGES {
        let separator = if query.is_empty() { "" } else { "&" };
        let bundle =
            client.get(&format!("/{resource_type}?{query}{separator}_count=100&_page={page}")).await.expect(200).json();
        let entries = bundle["entry"].as_array().cloned().unwrap_or_default();
        let matches = entries.iter().filter(|entry| entry["search"]["mode"] == "match");
        let before = found.len();
        found.extend(matches.map(|entry| entry["resource"].clone()));
        let total = bundle["total"].as_u64().expect("a total");
        if found.len() as u64 >= total || found.len() == before {
            return found;
        }
    }
    panic!("{resource_type}?{query} has more than {PAGES} pages");
}

/// How many there are.
///
/// # Panics
/// When the search is refused.
pub async fn total(client: &Client, resource_type: &str, query: &str) -> u64 {
    let bundle = client.get(&format!("/{resource_type}?{query}&_count=0")).await.expect(200).json();
    bundle["total"].as_u64().expect("a total")
}

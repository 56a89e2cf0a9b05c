//! A server with FLARE's interface, which counts with an index of the same records.

use std::sync::Arc;

use super::harness::{Server, reply};
use crate::ccdl::Definition;
use crate::folder::Index;
use crate::folder::tests::naive::TODAY;

pub(super) async fn start(index: Arc<Index>) -> Server {
    Server::plain(move |request| match (request.method.as_str(), request.path.as_str()) {
        ("GET", "/flare/cache/stats") => reply(200, "application/json", "{\"memory\":{},\"disk\":{}}"),
        ("POST", "/flare/query/execute") => {
            assert_eq!(request.header("content-type"), Some("application/sq+json"));
            let counted = Definition::parse(&request.body)
                .and_then(|definition| index.mapping().plan(&definition, TODAY))
                .map(|plan| index.evaluate(&plan).unwrap().len());
            match counted {
                Ok(count) => reply(200, "text/plain", format!("{count}\n")),
                Err(_) => reply(500, "text/plain", "unknown"),
            }
        }
        other => panic!("{other:?}"),
    })
    .await
}

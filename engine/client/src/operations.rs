//! The FHIR interactions that processes use: create, read, search.

use fhir::{Resource, Value};
use http::HeaderName;
use url::form_urlencoded;

use crate::answer::{Answer, Location, is_id};
use crate::client::{Client, Method, Request};
use crate::error::ClientError;
use crate::limits;

const PREFER: HeaderName = HeaderName::from_static("prefer");
const IF_NONE_EXIST: HeaderName = HeaderName::from_static("if-none-exist");

/// The partner has the resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Created {
    /// It was created by this request (201).
    New { location: Option<Location> },
    /// A resource with the identifier exists: an earlier request had arrived (200).
    AlreadyExists { location: Option<Location> },
}

/// A search.
#[derive(Clone, Copy, Debug)]
pub struct Search<'a> {
    /// The resource type.
    pub resource_type: &'a str,
    /// Parameters, not encoded.
    pub parameters: &'a [(&'a str, &'a str)],
    /// More resources than these are an error, so that a partner cannot fill the memory.
    pub maximum: usize,
}

/// One entry of a search result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The resource.
    pub resource: Resource,
    /// Whether it matches the search; else it was included.
    pub is_match: bool,
}

impl Client {
    /// Creates a Task at a partner. With `if_none_exist` (`system`, `value` of its identifier) the request can be repeated:
    /// the partner creates the Task once.
    pub async fn create_task(
        &self,
        base_url: &str,
        task: &Resource,
        if_none_exist: Option<(&str, &str)>,
        correlation_id: &str,
    ) -> Result<Created, ClientError> {
        self.create(base_url, task, if_none_exist, correlation_id).await
    }

    /// Creates a resource of any type; see [`Self::create_task`].
    pub async fn create(
        &self,
        base_url: &str,
        resource: &Resource,
        if_none_exist: Option<(&str, &str)>,
        correlation_id: &str,
    ) -> Result<Created, ClientError> {
        let path = type_name(resource.type_name())?;
        // One value only: partners compare the whole header.
        let mut request = Request::new(Method::Post, base_url, path, correlation_id)
            .with_resource(resource)
            .with_header(PREFER, "return=minimal");
        if let Some((system, value)) = if_none_exist {
            let token = format!("{}|{}", escape(system), escape(value));
            let query = form_urlencoded::Serializer::new(String::new()).append_pair("identifier", &token).finish();
            request = request.with_header(IF_NONE_EXIST, query);
        }
        let answer = self.request(request).await?;
        let location = answer.location();
        match answer.status {
            201 => Ok(Created::New { location }),
            200 if if_none_exist.is_some() => Ok(Created::AlreadyExists { location }),
            status => Err(answer.invalid(format!("status {status} to a create"))),
        }
    }

    /// Reads the current version of a resource.
    pub async fn read(
        &self,
        base_url: &str,
        resource_type: &str,
        id: &str,
        correlation_id: &str,
    ) -> Result<Resource, ClientError> {
        if !is_id(id) {
            return Err(ClientError::InvalidRequest { reason: "the id is not a FHIR id".to_owned() });
        }
        let path = format!("{}/{id}", type_name(resource_type)?);
        let answer = self.request(Request::new(Method::Get, base_url, &path, correlation_id)).await?;
        let resource = answer.resource()?;
        if resource.type_name() != resource_type {
            return Err(answer.invalid(format!(
                "a {} instead of a {resource_type}",
                crate::answer::printable(resource.type_name(), 60)
            )));
        }
        Ok(resource)
    }

    /// The CapabilityStatement, the cheapest sign that a partner answers this certificate.
    pub async fn metadata(&self, base_url: &str, correlation_id: &str) -> Result<Resource, ClientError> {
        self.request(Request::new(Method::Get, base_url, "metadata", correlation_id)).await?.resource()
    }

    /// Searches with strict handling (an unknown parameter is an error) and follows all pages.
    pub async fn search(
        &self,
        base_url: &str,
        search: Search<'_>,
        correlation_id: &str,
    ) -> Result<Vec<Found>, ClientError> {
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(search.parameters).finish();
        let mut path = format!("{}?{query}", type_name(search.resource_type)?);
        let mut found = Vec::new();
        for _ in 0..limits::SEARCH_PAGES {
            let request =
                Request::new(Method::Get, base_url, &path, correlation_id).with_header(PREFER, "handling=strict");
            let answer = self.request(request).await?;
            let bundle = answer.resource()?;
            collect(&answer, &bundle, search.maximum, &mut found)?;
            match next_path(&answer, &bundle, base_url)? {
                Some(next) if next != path => path = next,
                Some(_) => return Err(answer.invalid("the next page is the same page".to_owned())),
                None => return Ok(found),
            }
        }
        let reason = format!("more than {} pages", limits::SEARCH_PAGES);
        Err(ClientError::InvalidAnswer { destination: base_url.to_owned(), reason })
    }
}

fn collect(answer: &Answer, bundle: &Resource, maximum: usize, found: &mut Vec<Found>) -> Result<(), ClientError> {
    if bundle.type_name() != "Bundle" || bundle.str("type") != Some("searchset") {
        return Err(answer.invalid("not a Bundle of type searchset".to_owned()));
    }
    for entry in bundle.list("entry") {
        let mode = entry.get("search").and_then(|search| search.str("mode")).unwrap_or("match");
        if mode == "outcome" {
            continue;
        }
        let tree = entry.get("resource").and_then(Value::as_object).cloned();
        let resource = tree.and_then(|tree| Resource::from_tree(tree).ok());
        let resource = resource.ok_or_else(|| answer.invalid("an entry without resource".to_owned()))?;
        if found.len() >= maximum {
            return Err(answer.invalid(format!("more than {maximum} resources found")));
        }
        found.push(Found { resource, is_match: mode == "match" });
    }
    Ok(())
}

/// The path of the next page below the base URL. A link that leads elsewhere is refused, not followed.
fn next_path(answer: &Answer, bundle: &Resource, base_url: &str) -> Result<Option<String>, ClientError> {
    let link = bundle.list("link").iter().find(|link| link.str("relation") == Some("next"));
    let Some(url) = link.and_then(|link| link.str("url")) else { return Ok(None) };
    let base = base_url.strip_suffix('/').unwrap_or(base_url);
    let rest = url.strip_prefix(base).and_then(|rest| rest.strip_prefix('/'));
    match rest {
        Some(path) => Ok(Some(path.to_owned())),
        None => Err(answer.invalid("the next page is not below the base URL".to_owned())),
    }
}

/// A name that can stand in a path.
fn type_name(name: &str) -> Result<&str, ClientError> {
    let valid = (1..=64).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphabetic());
    if valid {
        Ok(name)
    } else {
        Err(ClientError::InvalidRequest { reason: "the resource type is not a name".to_owned() })
    }
}

/// A value of a search with FHIR's escapes (R4, 3.1.1.4.0.1).
#[must_use]
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if matches!(character, '\\' | '|' | ',' | '$') {
            out.push('\\');
        }
        out.push(character);
    }
    out
}

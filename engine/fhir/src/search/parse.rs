//! Reads query strings.

use super::parameters::{IncludeRule, SearchParameter, find, include_rules, revinclude_rules};
use super::value::FilterValue;
use super::{Direction, Filter, Include, Query, QueryError, QueryErrorKind, SortKey, Summary};
use crate::date::Zone;
use crate::{ResourceType, limits};

/// What a query and an index entry mean depends on the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context<'a> {
    /// The zone of times that name none. Index entries and queries must use the same.
    pub zone: Zone,
    /// The node's base URL without trailing slash: absolute references below it are literal ones.
    pub base: Option<&'a str>,
    /// `_count` if a query has none.
    pub default_count: u32,
}

impl Default for Context<'_> {
    fn default() -> Self {
        Self { zone: Zone::default(), base: None, default_count: 20 }
    }
}

/// Reads a query (the part behind `?`) in the default context.
#[must_use]
pub fn parse_query(resource_type: ResourceType, raw_query: &str) -> Query {
    parse_query_in(&Context::default(), resource_type, raw_query)
}

/// Reads a query.
#[must_use]
pub fn parse_query_in(context: &Context<'_>, resource_type: ResourceType, raw_query: &str) -> Query {
    let mut reader = Reader::new(context, resource_type);
    if raw_query.len() > limits::QUERY_BYTES || raw_query.split('&').count() > limits::QUERY_PARAMETERS {
        reader.error("", QueryErrorKind::TooLong, "the query is too long".to_owned());
    } else {
        for pair in raw_query.split('&').filter(|pair| !pair.is_empty()) {
            reader.pair(pair);
        }
    }
    reader.finish()
}

struct Reader<'a> {
    context: &'a Context<'a>,
    query: Query,
    page: Option<i32>,
    count: Option<i32>,
    has_sort: bool,
}

impl<'a> Reader<'a> {
    fn new(context: &'a Context<'a>, resource_type: ResourceType) -> Self {
        let query = Query {
            resource_type,
            filters: Vec::new(),
            sort: Vec::new(),
            include: Vec::new(),
            revinclude: Vec::new(),
            page: 1,
            count: context.default_count,
            summary: None,
            format: None,
            pretty: false,
            errors: Vec::new(),
        };
        Self { context, query, page: None, count: None, has_sort: false }
    }

    fn pair(&mut self, pair: &str) {
        let (raw_name, raw_value) = pair.split_once('=').unwrap_or((pair, ""));
        let (Some(name), Some(value)) = (decode(raw_name), decode(raw_value)) else {
            return self.error(raw_name, QueryErrorKind::UnparsableValue, "not percent-encoded UTF-8".to_owned());
        };
        if value.trim().is_empty() {
            return;
        }
        match name.as_str() {
            "_sort" => self.sort(&value),
            "_include" => self.include(&name, &value),
            "_revinclude" => self.include(&name, &value),
            "_page" => self.page = self.page.or_else(|| value.parse().ok()),
            "_count" => self.count = self.count.or_else(|| value.parse().ok()),
            "_summary" => self.query.summary = self.query.summary.or_else(|| Summary::parse(&value)),
            "_format" => {
                self.query.format.get_or_insert(value);
            }
            "_pretty" => self.query.pretty |= value == "true",
            _ => self.filter(&name, &value),
        }
    }

    fn filter(&mut self, name: &str, value: &str) {
        let (plain, modifier_text) = match name.split_once(':') {
            Some((plain, modifier)) => (plain, Some(modifier)),
            None => (name, None),
        };
        let parameter = find(self.query.resource_type, plain);
        let modifier = parameter.zip(modifier_text).and_then(|(parameter, text)| {
            parameter.modifiers.iter().copied().find(|modifier| modifier.as_str() == text)
        });
        let Some(parameter) = parameter.filter(|_| modifier.is_some() == modifier_text.is_some()) else {
            let message = format!("'{name}' is not a parameter of {}", self.query.resource_type);
            return self.error(name, QueryErrorKind::UnsupportedParameter, message);
        };
        match FilterValue::parse(self.context, self.query.resource_type, parameter, modifier, value) {
            Ok((value, echo)) => self.query.filters.push(Filter { parameter, modifier, value, echo }),
            Err(unparsable) => self.error(name, QueryErrorKind::UnparsableValue, unparsable.0),
        }
    }

    fn sort(&mut self, value: &str) {
        if self.has_sort {
            return self.error("_sort", QueryErrorKind::UnsupportedNumberOfValues, "may occur once".to_owned());
        }
        self.has_sort = true;
        for key in value.split(',') {
            // A plus that was not percent-encoded arrives as a blank.
            let (direction, name) = match key.strip_prefix('-') {
                Some(name) => (Direction::Descending, name),
                None => (Direction::Ascending, key.strip_prefix(['+', ' ']).unwrap_or(key)),
            };
            match find(self.query.resource_type, name) {
                Some(_) if self.query.sort.len() >= limits::SORT_KEYS => {
                    return self.error("_sort", QueryErrorKind::UnsupportedNumberOfValues, "too many keys".to_owned());
                }
                Some(parameter) => self.query.sort.push(SortKey { parameter, direction }),
                None => {
                    let message = format!("'{name}' is not a parameter of {}", self.query.resource_type);
                    self.error("_sort", QueryErrorKind::UnparsableValue, message);
                }
            }
        }
    }

    fn include(&mut self, name: &str, value: &str) {
        let is_reverse = name == "_revinclude";
        let searched = self.query.resource_type;
        let include = if is_reverse {
            include_of(revinclude_rules(searched), value)
        } else {
            include_of(include_rules(searched), value)
        };
        let Some(include) = include else {
            let message = format!("'{value}' is not supported for {searched}");
            return self.error(name, QueryErrorKind::UnparsableValue, message);
        };
        let list = if is_reverse { &mut self.query.revinclude } else { &mut self.query.include };
        if list.iter().any(|known| known.text == include.text) {
            let message = format!("'{value}' occurs more than once");
            self.error(name, QueryErrorKind::UnsupportedNumberOfValues, message);
        } else {
            list.push(include);
        }
    }

    fn error(&mut self, parameter: &str, kind: QueryErrorKind, message: String) {
        self.query.errors.push(QueryError { parameter: parameter.to_owned(), kind, message });
    }

    fn finish(mut self) -> Query {
        let page = u32::try_from(self.page.unwrap_or(1)).unwrap_or(0);
        let default = self.context.default_count;
        let count = self.count.map_or(default, |count| u32::try_from(count).unwrap_or(0));
        // The reference counts in 32 bits and starts over where they end.
        let fits = u64::from(page) * u64::from(count) <= u64::from(i32::MAX.unsigned_abs());
        (self.query.page, self.query.count) = if fits { (page, count) } else { (1, default) };
        self.query
    }
}

/// Reads `Type:parameter[:Target]`.
fn include_of(mut rules: impl Iterator<Item = &'static IncludeRule>, value: &str) -> Option<Include> {
    let mut parts = value.split(':');
    let (source, name, target) = (parts.next()?, parts.next()?, parts.next());
    if parts.next().is_some() {
        return None;
    }
    let rule = rules.find(|rule| rule.source.as_str() == source && rule.parameter == name)?;
    let targets = match target {
        Some(target) => rule.targets.iter().copied().filter(|known| known.as_str() == target).collect(),
        None if rule.needs_target => Vec::new(),
        None => rule.targets.to_vec(),
    };
    let parameter: &'static SearchParameter = find(rule.source, rule.parameter)?;
    (!targets.is_empty()).then(|| Include { source: rule.source, parameter, targets, text: value.to_owned() })
}

/// Decodes `application/x-www-form-urlencoded`; `None` if an escape or the UTF-8 is broken.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
                let (high, low) = (digit(rest.next())?, digit(rest.next())?);
                u8::try_from(high * 16 + low).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

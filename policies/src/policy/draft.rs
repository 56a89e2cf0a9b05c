//! From files to a policy: read every file, merge, check across sections.

use settings::{Finding, Item, Reader, Section};

use super::identity::{self, PeopleDraft};
use super::review::{self, Review};
use super::rules::{self, RulesDraft};
use super::sections::{
    AllowListDraft, AllowListSection, AuditDraft, BodyLimits, BundleDraft, BundleSection, DeltaDraft, HeadLimitsDraft,
    JsonLimitsDraft, KeyLimitsDraft, Limits, OutboundDraft, QueryLimitsDraft, RateLimitsDraft, RevocationDraft,
    SearchDraft, TicketsDraft, TimeoutsDraft, Tls, TlsDraft, Trust, TrustDraft, XmlLimitsDraft,
};
use super::{OutboundMode, Policy, digest, unenforced};
use crate::clock::Zone;
use crate::limits;

/// A key that at most one file sets.
pub(super) struct Slot<T>(Option<(usize, Item<T>)>);

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> Slot<T> {
    /// Keeps the item; a second one is an error.
    pub(super) fn put(&mut self, item: Option<Item<T>>, reader: &mut Reader<'_>, file: usize) {
        let Some(item) = item else { return };
        if self.0.is_some() {
            reader.refuse(&item, "is set in another file too", "keep it in one file");
        } else {
            self.0 = Some((file, item));
        }
    }

    /// Refuses the value unless it is what holds anyway; `text` and `remedy` complete the finding.
    pub(super) fn refuse_unless(
        &self,
        holds_anyway: impl FnOnce(&T) -> bool,
        (text, remedy): (&str, &str),
        readers: &mut [Reader<'_>],
    ) {
        if let Some((file, item)) = self.0.as_ref().filter(|(_, item)| !holds_anyway(&item.value))
            && let Some(reader) = readers.get_mut(*file)
        {
            reader.refuse(item, text, remedy);
        }
    }

    /// The value.
    pub(super) fn take(self) -> Option<T> {
        self.0.map(|(_, item)| item.value)
    }
}

/// A finding about a place that was read before.
pub(super) struct Located {
    pub(super) file: usize,
    pub(super) key: String,
    pub(super) span: std::ops::Range<usize>,
}

impl Located {
    pub(super) fn of<T>(file: usize, item: &Item<T>) -> Self {
        Self { file, key: item.key.clone(), span: item.span.clone() }
    }
}

#[derive(Default)]
struct Draft {
    time_zone: Slot<Zone>,
    /// Of whole files.
    reviewed: Vec<(usize, time::Date)>,
    trust: TrustDraft,
    keys: KeyLimitsDraft,
    revocation: RevocationDraft,
    tls: TlsDraft,
    tickets: TicketsDraft,
    head: HeadLimitsDraft,
    body: BodyDraft,
    json: JsonLimitsDraft,
    xml: XmlLimitsDraft,
    query: QueryLimitsDraft,
    timeouts: TimeoutsDraft,
    rate: RateLimitsDraft,
    people: PeopleDraft,
    rules: RulesDraft,
    search: SearchDraft,
    bundle: BundleDraft,
    allow_list: AllowListDraft,
    delta: DeltaDraft,
    outbound: OutboundDraft,
    audit: AuditDraft,
}

#[derive(Default)]
struct BodyDraft {
    default: Slot<u64>,
    by_type: Vec<(fhir::ResourceType, u64)>,
}

/// Reads the tree; see [`Policy::load`].
pub(super) fn load(files: &[(&str, &str)]) -> Result<Policy, Vec<Finding>> {
    let oversized: Vec<Finding> = files
        .iter()
        .filter(|(_, text)| text.len() > limits::POLICY_FILE_BYTES)
        .map(|(name, text)| {
            let bytes = text.len();
            let most = limits::POLICY_FILE_BYTES;
            Finding::in_file(name, format!("has {bytes} bytes, more than {most}"), "split the file")
        })
        .collect();
    if !oversized.is_empty() {
        return Err(oversized);
    }
    let mut draft = Draft::default();
    let mut readers: Vec<Reader<'_>> = Vec::with_capacity(files.len());
    for (number, (name, text)) in files.iter().enumerate() {
        let mut reader = Reader::new(name, text);
        let document = reader.parse();
        let mut root = document.root();
        if root.is_present() {
            draft.read(&mut root, &mut reader, number);
            root.finish(&mut reader);
        }
        readers.push(reader);
    }
    identity::check(&draft.people, &mut readers);
    draft.refuse_unenforced(&mut readers);
    let name = |file: usize| files.get(file).map(|(name, _)| (*name).to_owned()).unwrap_or_default();
    let of_files = draft.reviewed.iter().map(|(file, date)| Review { file: name(*file), rule: None, date: *date });
    let of_rules = std::mem::take(&mut draft.rules.reviewed).into_iter();
    let of_rules = of_rules.map(|(file, rule, date)| Review { file: name(file), rule: Some(rule), date });
    let reviews: Vec<Review> = of_files.chain(of_rules).collect();
    let rules = rules::compile(draft.rules, &mut readers);
    check_sections(&draft.outbound, &mut readers);
    let failed = readers.iter().any(Reader::has_errors);
    let mut findings: Vec<Finding> = readers.into_iter().flat_map(Reader::into_findings).collect();
    if failed {
        findings.truncate(limits::FINDINGS);
        return Err(findings);
    }
    let trust = draft.trust.build();
    let tls = draft.tls.build();
    let allow_list = draft.allow_list.build();
    let bundle = draft.bundle.build();
    let default_body = BodyLimits::default();
    let mut by_type = draft.body.by_type;
    for (resource_type, bytes) in default_body.by_type {
        if !by_type.iter().any(|(set, _)| *set == resource_type) {
            by_type.push((resource_type, bytes));
        }
    }
    by_type.sort_unstable();
    Ok(Policy {
        version: digest(files),
        zone: draft.time_zone.take().or_else(|| Zone::named(super::TIME_ZONE)).unwrap_or_else(Zone::utc),
        trust: Trust::of(trust, draft.keys.build(), draft.revocation.build()),
        tls: Tls { profile: tls.profile, hsts: tls.hsts, tickets: draft.tickets.build() },
        limits: Limits {
            head: draft.head.build(),
            body: BodyLimits { default: draft.body.default.take().unwrap_or(default_body.default), by_type },
            json: draft.json.build(),
            xml: draft.xml.build(),
            query: draft.query.build(),
            timeouts: draft.timeouts.build(),
            rate: draft.rate.build(),
        },
        identity: draft.people.build(),
        rules,
        search: draft.search.build(),
        bundle: BundleSection {
            batch: bundle.allow.iter().any(|kind| kind == "batch"),
            transaction: bundle.allow.iter().any(|kind| kind == "transaction"),
            entry_methods: bundle.entry_methods,
        },
        allow_list: AllowListSection::of(allow_list, draft.delta.build()),
        outbound: draft.outbound.build(),
        audit: draft.audit.build(),
        files: files.iter().map(|(name, _)| (*name).to_owned()).collect(),
        reviews,
        warnings: findings,
    })
}

impl Draft {
    fn read(&mut self, root: &mut Section<'_>, reader: &mut Reader<'_>, file: usize) {
        // The form of the file, not a setting: every file may state it.
        root.integer(reader, "schema", 1..2);
        self.reviewed.extend(review::read(root, reader).map(|date| (file, date)));
        let zone = time_zone(root, reader);
        self.time_zone.put(zone, reader, file);

        let mut trust = root.section(reader, "trust");
        self.trust.read(&mut trust, reader, file);
        let mut below = trust.section(reader, "keys");
        self.keys.read(&mut below, reader, file);
        below.finish(reader);
        let mut below = trust.section(reader, "revocation");
        self.revocation.read(&mut below, reader, file);
        below.finish(reader);
        trust.finish(reader);

        let mut tls = root.section(reader, "tls");
        self.tls.read(&mut tls, reader, file);
        let mut below = tls.section(reader, "tickets");
        self.tickets.read(&mut below, reader, file);
        below.finish(reader);
        tls.finish(reader);

        self.read_limits(root, reader, file);

        let mut section = root.section(reader, "identity");
        self.people.read(&mut section, reader, file);
        section.finish(reader);
        self.rules.read(root, reader, file);

        let mut section = root.section(reader, "search");
        self.search.read(&mut section, reader, file);
        section.finish(reader);
        let mut section = root.section(reader, "bundle");
        self.bundle.read(&mut section, reader, file);
        section.finish(reader);
        let mut section = root.section(reader, "allow-list");
        self.allow_list.read(&mut section, reader, file);
        let mut below = section.section(reader, "max-delta");
        self.delta.read(&mut below, reader, file);
        below.finish(reader);
        section.finish(reader);
        let mut section = root.section(reader, "outbound");
        self.outbound.read(&mut section, reader, file);
        section.finish(reader);
        let mut section = root.section(reader, "audit");
        self.audit.read(&mut section, reader, file);
        section.finish(reader);
    }

    /// Refuses what this version does not enforce; see [`unenforced`].
    fn refuse_unenforced(&self, readers: &mut [Reader<'_>]) {
        unenforced::refuse_audit(&self.audit, readers);
    }

    fn read_limits(&mut self, root: &mut Section<'_>, reader: &mut Reader<'_>, file: usize) {
        let mut limits = root.section(reader, "limits");
        macro_rules! read {
            ($name:literal, $draft:expr) => {
                let mut below = limits.section(reader, $name);
                $draft.read(&mut below, reader, file);
                below.finish(reader);
            };
        }
        read!("head", self.head);
        read!("body", self.body);
        read!("json", self.json);
        read!("xml", self.xml);
        read!("query", self.query);
        read!("timeouts", self.timeouts);
        read!("rate", self.rate);
        limits.finish(reader);
    }
}

impl BodyDraft {
    fn read(&mut self, section: &mut Section<'_>, reader: &mut Reader<'_>, file: usize) {
        let default = super::sections::size_within(section, reader, "default", 1, limits::JUDGED_BODY_BYTES);
        self.default.put(default, reader, file);
        for resource_type in fhir::ResourceType::ALL {
            // Content of a Binary streams through; everything else is held while it is judged.
            let most = if *resource_type == fhir::ResourceType::Binary { 1 << 40 } else { limits::JUDGED_BODY_BYTES };
            let item = super::sections::size_within(section, reader, resource_type.as_str(), 1, most);
            let Some(item) = item else { continue };
            if self.by_type.iter().any(|(set, _)| set == resource_type) {
                reader.refuse(&item, "is set in another file too", "keep it in one file");
            } else {
                self.by_type.push((*resource_type, item.value));
            }
        }
    }
}

fn check_sections(outbound: &OutboundDraft, readers: &mut [Reader<'_>]) {
    let is_any = outbound.mode.0.as_ref().is_some_and(|(_, item)| item.value == OutboundMode::Any);
    if let Some((file, item)) = outbound.deny_private_addresses.0.as_ref().filter(|(_, item)| is_any && !item.value)
        && let Some(reader) = readers.get_mut(*file)
    {
        let remedy = "set mode to \"allow-list-endpoints\" or \"list\", or deny private addresses";
        reader.refuse(item, "with mode \"any\" the engine could connect to everything in the hospital", remedy);
    }
}

fn time_zone(root: &mut Section<'_>, reader: &mut Reader<'_>) -> Option<Item<Zone>> {
    let item = root.string(reader, "time-zone")?;
    match Zone::named(&item.value) {
        Some(zone) => Some(Item { value: zone, key: item.key, span: item.span }),
        None => {
            let remedy = "write an IANA name such as \"Europe/Berlin\", or \"UTC\"";
            reader.refuse(&item, "is not the name of a time zone", remedy);
            None
        }
    }
}

/// A list of values in quotes; each wrong element is reported at its own place.
pub(super) fn list<T>(
    section: &mut Section<'_>,
    reader: &mut Reader<'_>,
    name: &'static str,
    expected: &str,
    parse: fn(&str) -> Option<T>,
) -> Option<Item<Vec<T>>> {
    let items = section.strings(reader, name)?;
    let span = items.first().map_or_else(|| section.span(), |item| item.span.clone());
    let mut values = Vec::with_capacity(items.len());
    for item in &items {
        match parse(&item.value) {
            Some(value) => values.push(value),
            None => reader.refuse(
                item,
                format!("\"{}\" is not {expected}", quote(&item.value)),
                format!("write {expected}"),
            ),
        }
    }
    Some(Item { value: values, key: section.key(name), span })
}

/// A list of texts that are not empty.
pub(super) fn text_list(
    section: &mut Section<'_>,
    reader: &mut Reader<'_>,
    name: &'static str,
) -> Option<Item<Vec<String>>> {
    list(section, reader, name, "a text", |text| (!text.trim().is_empty()).then(|| text.to_owned()))
}

/// `"50/s"`, `"600/min"` or `"off"` (0).
pub(super) fn rate(section: &mut Section<'_>, reader: &mut Reader<'_>, name: &'static str) -> Option<Item<u32>> {
    let item = section.string(reader, name)?;
    let value = match item.value.split_once('/') {
        None if item.value == "off" => Some(0),
        Some((number, "s")) => number.parse().ok().filter(|rate| (1..=1_000_000).contains(rate)),
        _ => None,
    };
    match value {
        Some(value) => Some(Item { value, key: item.key, span: item.span }),
        None => {
            reader.refuse(&item, "is not a rate", "write requests per second such as \"50/s\", or \"off\"");
            None
        }
    }
}

/// A foreign text, short enough for a message.
pub(super) fn quote(text: &str) -> String {
    text.chars().take(limits::QUOTED_CHARACTERS).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

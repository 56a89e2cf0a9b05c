//! The one table of interactions: every method and path form that a node answers.
//!
//! Routing ([`crate::request::canonicalize`]), the words of the policy, the DSF operation that a role must grant, entries
//! of Bundles, the capability statement, labels of metrics and the exhaustive tests are all read from [`ROWS`], so none
//! of them can forget a case. What is not in the table does not exist: unknown path 404, known path with another method
//! 405, unknown method 501.

use std::fmt;
use std::str::FromStr;

use fhir::ResourceType;

/// A method of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Method {
    /// `GET`
    Get,
    /// `HEAD`
    Head,
    /// `POST`
    Post,
    /// `PUT`
    Put,
    /// `DELETE`
    Delete,
}

/// What a request wants to do; one word of the policy each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Interaction {
    /// `POST Type`
    Create,
    /// `GET Type/id`
    Read,
    /// `GET Type/id/_history/version`
    Vread,
    /// `HEAD` of what read and vread answer
    Head,
    /// `PUT Type/id`
    Update,
    /// `PUT Type?criteria`
    ConditionalUpdate,
    /// `DELETE Type/id`
    Delete,
    /// `DELETE Type?criteria`
    ConditionalDelete,
    /// `GET Type?criteria`
    Search,
    /// `GET Type/id/_history`
    HistoryInstance,
    /// `GET Type/_history`
    HistoryType,
    /// `GET _history`
    HistorySystem,
    /// `POST Type/id/$permanent-delete`
    PermanentDelete,
    /// `StructureDefinition/$snapshot` and `StructureDefinition/id/$snapshot`
    Snapshot,
    /// `GET metadata`
    Metadata,
    /// `POST` of a batch or transaction to the root
    Bundle,
    /// `GET ws`, the upgrade to a WebSocket
    Websocket,
}

/// The shape of a path below the base.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PathForm {
    /// the base itself
    Root,
    /// `metadata`
    Metadata,
    /// `ws`
    Websocket,
    /// `_history`
    History,
    /// `Type`
    Type,
    /// `Type/_history`
    TypeHistory,
    /// `Type/$operation`
    TypeOperation(Operation),
    /// `Type/id`
    Instance,
    /// `Type/id/_history`
    InstanceHistory,
    /// `Type/id/_history/version`
    Version,
    /// `Type/id/$operation`
    InstanceOperation(Operation),
}

/// An operation with `$`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operation {
    /// `$permanent-delete`
    PermanentDelete,
    /// `$snapshot`
    Snapshot,
}

/// Whether the query of a row decides which row it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Criteria {
    /// The query does not matter for routing.
    Optional,
    /// Without a query the request is refused with 400: it would mean every resource of the type.
    Required,
}

/// The body that an interaction has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyKind {
    /// None.
    Absent,
    /// The resource of the type in the path.
    Resource,
    /// A Bundle of requests.
    Bundle,
    /// `Parameters`.
    Parameters,
}

/// One row: a method on a path form is an interaction.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The method.
    pub method: Method,
    /// The shape of the path.
    pub path: PathForm,
    /// Whether criteria are needed.
    pub criteria: Criteria,
    /// The interaction.
    pub interaction: Interaction,
    /// The body.
    pub body: BodyKind,
    /// Whether an entry of a batch or transaction may ask for it.
    pub in_bundle: bool,
}

/// A permission in the words of DSF (`dsf-role` of persons; DSF `FhirServerRoleImpl`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum DsfOperation {
    /// `CREATE`
    Create,
    /// `READ`
    Read,
    /// `UPDATE`
    Update,
    /// `DELETE`
    Delete,
    /// `SEARCH`
    Search,
    /// `HISTORY`
    History,
    /// `PERMANENT_DELETE`
    PermanentDelete,
    /// `WEBSOCKET`
    Websocket,
}

const fn row(
    method: Method,
    path: PathForm,
    criteria: Criteria,
    interaction: Interaction,
    body: BodyKind,
    in_bundle: bool,
) -> Row {
    Row { method, path, criteria, interaction, body, in_bundle }
}

/// The table.
pub const ROWS: &[Row] = {
    use {BodyKind as B, Criteria::*, Interaction as I, Method::*, Operation as O, PathForm as P};
    &[
        row(Post, P::Root, Optional, I::Bundle, B::Bundle, false),
        row(Get, P::Metadata, Optional, I::Metadata, B::Absent, false),
        row(Get, P::Websocket, Optional, I::Websocket, B::Absent, false),
        row(Get, P::History, Optional, I::HistorySystem, B::Absent, false),
        row(Post, P::Type, Optional, I::Create, B::Resource, true),
        row(Get, P::Type, Optional, I::Search, B::Absent, true),
        row(Put, P::Type, Required, I::ConditionalUpdate, B::Resource, true),
        row(Delete, P::Type, Required, I::ConditionalDelete, B::Absent, true),
        row(Get, P::TypeHistory, Optional, I::HistoryType, B::Absent, false),
        row(Get, P::Instance, Optional, I::Read, B::Absent, true),
        row(Head, P::Instance, Optional, I::Head, B::Absent, true),
        row(Put, P::Instance, Optional, I::Update, B::Resource, true),
        row(Delete, P::Instance, Optional, I::Delete, B::Absent, true),
        row(Get, P::InstanceHistory, Optional, I::HistoryInstance, B::Absent, false),
        row(Get, P::Version, Optional, I::Vread, B::Absent, true),
        row(Head, P::Version, Optional, I::Head, B::Absent, true),
        row(Post, P::InstanceOperation(O::PermanentDelete), Optional, I::PermanentDelete, B::Absent, false),
        row(Get, P::TypeOperation(O::Snapshot), Optional, I::Snapshot, B::Absent, false),
        row(Post, P::TypeOperation(O::Snapshot), Optional, I::Snapshot, B::Parameters, false),
        row(Get, P::InstanceOperation(O::Snapshot), Optional, I::Snapshot, B::Absent, false),
        row(Post, P::InstanceOperation(O::Snapshot), Optional, I::Snapshot, B::Parameters, false),
    ]
};

/// The row of a method on a path form.
#[must_use]
pub fn find(method: Method, path: PathForm) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.method == method && row.path == path)
}

/// The methods that a path form answers, in the order of the table.
pub fn methods(path: PathForm) -> impl Iterator<Item = Method> {
    ROWS.iter().filter(move |row| row.path == path).map(|row| row.method)
}

// === impl Method ===

impl Method {
    /// Every method of the table.
    pub const ALL: &'static [Self] = &[Self::Get, Self::Head, Self::Post, Self::Put, Self::Delete];

    /// The method as it stands in a request line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
        }
    }
}

impl FromStr for Method {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.iter().copied().find(|method| method.as_str() == text).ok_or(())
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

// === impl Operation ===

impl Operation {
    /// Every operation.
    pub const ALL: &'static [Self] = &[Self::PermanentDelete, Self::Snapshot];

    /// The name with `$`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PermanentDelete => "$permanent-delete",
            Self::Snapshot => "$snapshot",
        }
    }

    /// Whether resources of the type have the operation.
    #[must_use]
    pub const fn is_defined_on(self, resource_type: ResourceType) -> bool {
        match self {
            Self::PermanentDelete => true,
            Self::Snapshot => matches!(resource_type, ResourceType::StructureDefinition),
        }
    }
}

impl FromStr for Operation {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.iter().copied().find(|operation| operation.as_str() == text).ok_or(())
    }
}

// === impl PathForm ===

impl PathForm {
    /// Whether the path names a resource type.
    #[must_use]
    pub const fn has_type(self) -> bool {
        !matches!(self, Self::Root | Self::Metadata | Self::Websocket | Self::History)
    }

    /// Whether the path names a resource.
    #[must_use]
    pub const fn has_id(self) -> bool {
        matches!(self, Self::Instance | Self::InstanceHistory | Self::Version | Self::InstanceOperation(_))
    }
}

// === impl Interaction ===

impl Interaction {
    /// Every interaction, in the order of their numbers.
    pub const ALL: &'static [Self] = &[
        Self::Create,
        Self::Read,
        Self::Vread,
        Self::Head,
        Self::Update,
        Self::ConditionalUpdate,
        Self::Delete,
        Self::ConditionalDelete,
        Self::Search,
        Self::HistoryInstance,
        Self::HistoryType,
        Self::HistorySystem,
        Self::PermanentDelete,
        Self::Snapshot,
        Self::Metadata,
        Self::Bundle,
        Self::Websocket,
    ];

    /// The name in policies, audit records and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Read => "read",
            Self::Vread => "vread",
            Self::Head => "head",
            Self::Update => "update",
            Self::ConditionalUpdate => "conditional-update",
            Self::Delete => "delete",
            Self::ConditionalDelete => "conditional-delete",
            Self::Search => "search",
            Self::HistoryInstance => "history-instance",
            Self::HistoryType => "history-type",
            Self::HistorySystem => "history-system",
            Self::PermanentDelete => "permanent-delete",
            Self::Snapshot => "snapshot",
            Self::Metadata => "metadata",
            Self::Bundle => "bundle",
            Self::Websocket => "websocket",
        }
    }

    /// The word of the policy that covers this interaction together with its variants: `update` covers conditional
    /// updates, `delete` conditional deletes, `history` the three histories.
    #[must_use]
    pub const fn group(self) -> &'static str {
        match self {
            Self::ConditionalUpdate => "update",
            Self::ConditionalDelete => "delete",
            Self::HistoryInstance | Self::HistoryType | Self::HistorySystem => "history",
            Self::Create
            | Self::Read
            | Self::Vread
            | Self::Head
            | Self::Update
            | Self::Delete
            | Self::Search
            | Self::PermanentDelete
            | Self::Snapshot
            | Self::Metadata
            | Self::Bundle
            | Self::Websocket => self.as_str(),
        }
    }

    /// The interactions that a word of the policy covers: `*`, a name or a group. Empty for an unknown word.
    pub fn covered_by(word: &str) -> impl Iterator<Item = Self> {
        Self::ALL
            .iter()
            .copied()
            .filter(move |interaction| word == "*" || interaction.as_str() == word || interaction.group() == word)
    }

    /// The DSF operation that a role must grant; none for what every known identity with a role may do.
    #[must_use]
    pub const fn dsf_operation(self) -> Option<DsfOperation> {
        match self {
            Self::Create => Some(DsfOperation::Create),
            Self::Read | Self::Vread | Self::Head | Self::Snapshot => Some(DsfOperation::Read),
            Self::Update | Self::ConditionalUpdate => Some(DsfOperation::Update),
            Self::Delete | Self::ConditionalDelete => Some(DsfOperation::Delete),
            Self::Search => Some(DsfOperation::Search),
            Self::HistoryInstance | Self::HistoryType | Self::HistorySystem => Some(DsfOperation::History),
            Self::PermanentDelete => Some(DsfOperation::PermanentDelete),
            Self::Websocket => Some(DsfOperation::Websocket),
            Self::Metadata | Self::Bundle => None,
        }
    }

    /// Whether the interaction can change what is stored by itself (a Bundle does so only through its entries).
    #[must_use]
    pub const fn is_write(self) -> bool {
        matches!(
            self,
            Self::Create
                | Self::Update
                | Self::ConditionalUpdate
                | Self::Delete
                | Self::ConditionalDelete
                | Self::PermanentDelete
        )
    }

    /// Whether the answer is one stored resource that [`Self::Read`] would show too: what governs reading governs it.
    #[must_use]
    pub const fn shows_stored(self) -> bool {
        matches!(self, Self::Vread | Self::Head | Self::Snapshot)
    }

    /// Whether an answer can hold resources of other types than the one in the path: what may not be read is left out.
    #[must_use]
    pub const fn answers_with_many(self) -> bool {
        matches!(
            self,
            Self::Search
                | Self::HistoryInstance
                | Self::HistoryType
                | Self::HistorySystem
                | Self::Bundle
                | Self::Websocket
        )
    }

    /// Whether the interaction has no resource type at all.
    #[must_use]
    pub fn is_untyped(self) -> bool {
        ROWS.iter().filter(|row| row.interaction == self).all(|row| !row.path.has_type())
    }

    /// Whether the interaction exists for the type (or without one).
    #[must_use]
    pub fn applies_to(self, resource_type: Option<ResourceType>) -> bool {
        ROWS.iter().filter(|row| row.interaction == self).any(|row| match (row.path, resource_type) {
            (PathForm::TypeOperation(operation) | PathForm::InstanceOperation(operation), Some(resource_type)) => {
                operation.is_defined_on(resource_type)
            }
            (path, resource_type) => path.has_type() == resource_type.is_some(),
        })
    }
}

impl FromStr for Interaction {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.iter().copied().find(|interaction| interaction.as_str() == text).ok_or(())
    }
}

impl fmt::Display for Interaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

// === impl DsfOperation ===

impl DsfOperation {
    /// Every operation.
    pub const ALL: &'static [Self] = &[
        Self::Create,
        Self::Read,
        Self::Update,
        Self::Delete,
        Self::Search,
        Self::History,
        Self::PermanentDelete,
        Self::Websocket,
    ];

    /// The name as DSF writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Read => "READ",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::Search => "SEARCH",
            Self::History => "HISTORY",
            Self::PermanentDelete => "PERMANENT_DELETE",
            Self::Websocket => "WEBSOCKET",
        }
    }
}

impl FromStr for DsfOperation {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.iter().copied().find(|operation| operation.as_str() == text).ok_or(())
    }
}

#[cfg(test)]
mod tests;

//! What a cohort definition means for resources: the definition after mapping, and what an index evaluates.

use crate::date::Days;

/// Who belongs to a cohort: (all of `inclusion`, each any) and not (any of `exclusion`, each all).
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Groups that all must hold; of each one criterion.
    pub inclusion: Vec<Vec<Rows>>,
    /// Groups of which none may hold; a group holds if all its criteria do.
    pub exclusion: Vec<Vec<Rows>>,
}

/// Resources of a type that pass every test. Their persons are the ones meant.
#[derive(Clone, Debug, PartialEq)]
pub struct Rows {
    /// Resource type.
    pub resource_type: String,
    /// Tests that all must hold.
    pub tests: Vec<Test>,
}

/// A condition on one resource.
#[derive(Clone, Debug, PartialEq)]
pub enum Test {
    /// The element has one of these codes.
    Code {
        /// Element, such as `Condition.code`.
        element: String,
        /// Codes.
        codes: Vec<Code>,
    },
    /// The element has one of these codes beside a `code` of `group`: the value of an observation or component.
    CodeOf {
        /// Element, such as `Observation.component.value`.
        element: String,
        /// Codes that stand beside it.
        group: Vec<Code>,
        /// Codes.
        codes: Vec<Code>,
    },
    /// The element has a quantity in this unit (empty: none) within the bounds.
    Quantity {
        /// Element, such as `Observation.value`.
        element: String,
        /// Codes of which one stands beside it; empty if it does not matter.
        group: Vec<Code>,
        /// Unit code.
        unit: String,
        /// Bounds.
        bounds: Bounds,
    },
    /// The first of the elements that is there overlaps the days.
    Time {
        /// Elements in order of preference.
        elements: Vec<String>,
        /// Days.
        days: Days,
    },
    /// The element refers to one of these resources.
    Linked {
        /// Element, such as `Observation.specimen`.
        element: String,
        /// Resources.
        rows: Box<Rows>,
    },
    /// One of the tests holds.
    AnyOf(Vec<Self>),
}

/// A code, or with `descendants` every code that begins with it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code {
    /// Code system.
    pub system: String,
    /// Code.
    pub code: String,
    /// Whether longer codes are below it, as in classifications whose codes grow with the detail.
    pub descendants: bool,
}

/// Bounds of a number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bounds {
    /// `gt`
    Above(f64),
    /// `ge`
    AtLeast(f64),
    /// `lt`
    Below(f64),
    /// `le`
    AtMost(f64),
    /// `eq`
    Equal(f64),
    /// `ne`
    Other(f64),
    /// Closed interval.
    Between(f64, f64),
}

// === impl Bounds ===

impl Bounds {
    /// Whether the number is within.
    #[must_use]
    pub fn contain(self, value: f64) -> bool {
        match self {
            Self::Above(bound) => value > bound,
            Self::AtLeast(bound) => value >= bound,
            Self::Below(bound) => value < bound,
            Self::AtMost(bound) => value <= bound,
            Self::Equal(bound) => value == bound,
            Self::Other(bound) => value != bound,
            Self::Between(low, high) => value >= low && value <= high,
        }
    }
}

// === impl Code ===

impl Code {
    /// Exactly this code.
    #[must_use]
    pub fn exact(system: impl Into<String>, code: impl Into<String>) -> Self {
        Self { system: system.into(), code: code.into(), descendants: false }
    }
}

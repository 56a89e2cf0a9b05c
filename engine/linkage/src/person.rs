//! What identifies a person: the fields that sites compare.

use std::fmt;

/// A field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Field {
    /// Given names.
    GivenName,
    /// Family name.
    FamilyName,
    /// Date of birth.
    BirthDate,
    /// Administrative sex, one letter or a word.
    Sex,
    /// Street and house number.
    Street,
    /// Postal code.
    PostalCode,
    /// City.
    City,
    /// Country or state.
    Country,
    /// The part of the health insurance number that does not change.
    InsuranceNumber,
}

/// The identifying values of a person. They leave a site only as a filter; [`fmt::Debug`] shows none of them.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Person {
    values: [Option<String>; Field::ALL.len()],
}

// === impl Field ===

impl Field {
    /// Every field, in the order of the filter's segments.
    pub const ALL: [Self; 9] = [
        Self::GivenName,
        Self::FamilyName,
        Self::BirthDate,
        Self::Sex,
        Self::Street,
        Self::PostalCode,
        Self::City,
        Self::Country,
        Self::InsuranceNumber,
    ];

    /// The name from which the key of the field is derived; changing it makes other filters.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::GivenName => "given-name",
            Self::FamilyName => "family-name",
            Self::BirthDate => "birth-date",
            Self::Sex => "sex",
            Self::Street => "street",
            Self::PostalCode => "postal-code",
            Self::City => "city",
            Self::Country => "country",
            Self::InsuranceNumber => "insurance-number",
        }
    }
}

// === impl Person ===

impl Person {
    /// A person of whom nothing is known yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Builder form of [`Person::set`].
    #[must_use]
    pub fn with(mut self, field: Field, value: impl Into<String>) -> Self {
        self.set(field, value);
        self
    }

    /// Sets a value as it was recorded; normalising it is the encoder's work.
    pub fn set(&mut self, field: Field, value: impl Into<String>) {
        if let Some(place) = self.values.get_mut(field as usize) {
            *place = Some(value.into());
        }
    }

    /// The value as it was recorded.
    #[must_use]
    pub fn get(&self, field: Field) -> Option<&str> {
        self.values.get(field as usize)?.as_deref()
    }
}

impl fmt::Debug for Person {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = self.values.iter().filter(|value| value.is_some()).count();
        write!(f, "Person({known} values)")
    }
}

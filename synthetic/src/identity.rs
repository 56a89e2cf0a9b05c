//! Who a person is, and how another site writes it.

use time::{Date, Duration, Month};

use crate::chance::Chance;
use crate::tables;

/// Administrative gender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sex {
    /// `female`
    Female,
    /// `male`
    Male,
    /// `other`
    Other,
}

/// What identifies a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Given name.
    pub given: String,
    /// Family name.
    pub family: String,
    /// Date of birth.
    pub birth: Date,
    /// Administrative gender.
    pub sex: Sex,
    /// Street with number.
    pub street: String,
    /// Postcode.
    pub postcode: String,
    /// City.
    pub city: String,
    /// Immutable part of the number of the health insurance card; a site may not know it.
    pub insurance: Option<String>,
}

// === impl Identity ===

impl Identity {
    /// The identity of a person.
    #[must_use]
    pub fn of(seed: u64, person: u64) -> Self {
        let mut chance = Chance::of(seed, &[1, person]);
        let sex = match chance.below(200) {
            0 => Sex::Other,
            number if number % 2 == 0 => Sex::Male,
            _ => Sex::Female,
        };
        let given = if sex == Sex::Male { tables::MALE } else { tables::FEMALE };
        let given = text(chance.one_of(given));
        let mut family = text(chance.one_of(tables::FAMILY));
        if chance.percent(4) {
            family = format!("{family}-{}", text(chance.one_of(tables::FAMILY)));
        }
        let (postcode, city) = chance.one_of(tables::PLACES).copied().unwrap_or_default();
        let birth = crate::last_day() - Duration::days(i64::try_from(chance.below(365 * 95)).unwrap_or(0));
        Self {
            given,
            family,
            birth,
            sex,
            street: format!("{} {}", text(chance.one_of(tables::STREETS)), 1 + chance.below(120)),
            postcode: postcode.to_owned(),
            city: city.to_owned(),
            insurance: chance.percent(92).then(|| insurance_number(&mut chance)),
        }
    }

    /// The same person as another site has written it: some fields differ, never all that matter.
    #[must_use]
    pub fn as_written_at(mut self, seed: u64, person: u64, site: u32) -> Self {
        let mut chance = Chance::of(seed, &[2, person, u64::from(site)]);
        if chance.percent(25) {
            self.family = misspelt(&self.family, &mut chance);
        } else if self.sex == Sex::Female && chance.percent(8) {
            self.family = text(chance.one_of(tables::FAMILY));
        }
        if chance.percent(15) {
            self.given = misspelt(&self.given, &mut chance);
        }
        if chance.percent(5) {
            self.birth = day_and_month_swapped(self.birth);
        }
        if chance.percent(20) {
            let (postcode, city) = chance.one_of(tables::PLACES).copied().unwrap_or_default();
            (self.postcode, self.city) = (postcode.to_owned(), city.to_owned());
            self.street = format!("{} {}", text(chance.one_of(tables::STREETS)), 1 + chance.below(120));
        }
        if chance.percent(15) {
            self.insurance = None;
        }
        self
    }
}

fn text(entry: Option<&&str>) -> String {
    entry.copied().unwrap_or_default().to_owned()
}

/// A letter, eight digits and a check digit (modulus 10 over the letter's place and the digits).
fn insurance_number(chance: &mut Chance) -> String {
    let letter = chance.below(26);
    let digits: Vec<u64> = (0..8).map(|_| chance.below(10)).collect();
    let place = letter + 1;
    let all = [place / 10, place % 10].into_iter().chain(digits.iter().copied());
    let sum: u64 = all
        .enumerate()
        .map(|(index, digit)| {
            let product = digit * (1 + index as u64 % 2);
            product / 10 + product % 10
        })
        .sum();
    let letter = char::from(b'A' + u8::try_from(letter).unwrap_or(0));
    let digits: String = digits.iter().map(u64::to_string).collect();
    format!("{letter}{digits}{}", sum % 10)
}

/// One error of typing: a letter doubled, dropped or swapped with its neighbour, or an umlaut written out.
fn misspelt(name: &str, chance: &mut Chance) -> String {
    let written_out = name.replace('ü', "ue").replace('ö', "oe").replace('ä', "ae").replace('ß', "ss");
    if written_out != name && chance.percent(60) {
        return written_out;
    }
    let mut letters: Vec<char> = name.chars().collect();
    let place = 1 + usize::try_from(chance.below(letters.len().saturating_sub(2) as u64)).unwrap_or(0);
    match chance.below(3) {
        0 if letters.len() > 3 => {
            letters.remove(place);
        }
        1 if place + 1 < letters.len() => letters.swap(place, place + 1),
        _ => {
            if let Some(letter) = letters.get(place).copied() {
                letters.insert(place, letter);
            }
        }
    }
    letters.into_iter().collect()
}

fn day_and_month_swapped(date: Date) -> Date {
    let swapped = Month::try_from(date.day())
        .ok()
        .and_then(|month| Date::from_calendar_date(date.year(), month, u8::from(date.month())).ok());
    swapped.unwrap_or(date)
}

//! One spelling for what is written in many: case, umlauts, accents, titles, forms of dates.
//!
//! Sites record the same person differently; what this module does not make equal costs similarity. The result consists
//! of `a`-`z`, `0`-`9`, single spaces, and letters of other scripts as they are. Normalising twice changes nothing.

use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

use crate::limits;
use crate::person::Field;

/// Words before or after names that say nothing about who somebody is.
const TITLES: [&str; 20] = [
    "dr",
    "prof",
    "professor",
    "doktor",
    "dipl",
    "ing",
    "med",
    "dent",
    "vet",
    "phil",
    "rer",
    "nat",
    "habil",
    "jur",
    "mag",
    "herr",
    "frau",
    "hr",
    "fr",
    "pd",
];

/// What is written where nothing is known.
const PLACEHOLDERS: [&str; 7] = ["unbekannt", "unknown", "null", "nn", "n n", "keine angabe", "not known"];

/// Words of addresses that are written out or not.
const STREET_WORDS: [(&str, &str); 6] =
    [("strasse", "str"), ("street", "st"), ("platz", "pl"), ("road", "rd"), ("avenue", "av"), ("ave", "av")];

/// The value in its one spelling; `None` if nothing of it is left.
#[must_use]
pub fn normalize(field: Field, value: &str) -> Option<String> {
    let text = fold(value);
    let text = match field {
        Field::GivenName | Field::FamilyName => without_titles(&text),
        Field::BirthDate => return birth_date(value),
        Field::Sex => return sex(&text),
        Field::Street => street(&text),
        Field::City | Field::Country => text,
        Field::PostalCode | Field::InsuranceNumber => ordered(text.chars().filter(|character| *character != ' ')),
    };
    (!text.is_empty() && !PLACEHOLDERS.contains(&text.as_str())).then_some(text)
}

/// Lower case, umlauts in two letters, no accents, nothing but letters, digits and single spaces.
fn fold(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    let mut gap = false;
    // Composed first, so that an umlaut written in two code points is one; NFKC also unifies ligatures and widths.
    for character in value.chars().take(limits::VALUE_CHARACTERS).nfkc().flat_map(char::to_lowercase).nfc() {
        let start = text.len();
        match spelled(character) {
            Some(letters) => text.push_str(letters),
            // Under its mark may be a letter that is spelled in two itself: ǣ, ǿ.
            None => {
                for part in core::iter::once(character).nfkd().filter(|part| part.is_alphanumeric()) {
                    match spelled(part) {
                        Some(letters) => text.push_str(letters),
                        None => text.push(part),
                    }
                }
            }
        }
        if text.len() == start {
            // An apostrophe or a mark joins (o'neil), everything else separates (anna-lena).
            gap |= !is_combining_mark(character) && !matches!(character, '\'' | '\u{2019}' | '`' | '\u{b4}');
        } else if gap && start > 0 {
            text.insert(start, ' ');
            gap = false;
        } else {
            gap = false;
        }
    }
    // Letters may have become two, so the bound is kept once more.
    let kept = ordered(text.chars().take(limits::VALUE_CHARACTERS));
    kept.trim_end().to_owned()
}

/// Marks of other scripts that meet when what was between them is left out stand in their canonical order.
fn ordered(characters: impl Iterator<Item = char>) -> String {
    characters.nfd().collect()
}

/// Letters whose usual spelling in Latin letters is not the letter without its mark.
const fn spelled(character: char) -> Option<&'static str> {
    match character {
        'ä' | 'æ' => Some("ae"),
        'ö' | 'ø' | 'œ' => Some("oe"),
        'ü' => Some("ue"),
        'ß' => Some("ss"),
        'å' => Some("aa"),
        'ð' | 'đ' => Some("d"),
        'þ' => Some("th"),
        'ł' => Some("l"),
        'ħ' => Some("h"),
        'ı' => Some("i"),
        'ŋ' => Some("n"),
        'ŧ' => Some("t"),
        _ => None,
    }
}

fn without_titles(text: &str) -> String {
    let kept: Vec<&str> = text.split(' ').filter(|word| !TITLES.contains(word)).collect();
    // Somebody may be called Frau.
    if kept.is_empty() { text.to_owned() } else { kept.join(" ") }
}

fn street(text: &str) -> String {
    let words = text.split(' ').map(|word| {
        let known = STREET_WORDS
            .iter()
            .find_map(|(long, short)| word.strip_suffix(long).map(|start| format!("{start}{short}")));
        known.unwrap_or_else(|| word.to_owned())
    });
    words.collect::<Vec<_>>().join(" ")
}

fn sex(text: &str) -> Option<String> {
    let letter = match text {
        "m" | "male" | "mann" | "maennlich" => "m",
        "f" | "w" | "female" | "weiblich" => "f",
        "d" | "x" | "o" | "other" | "divers" => "d",
        _ => return None,
    };
    Some(letter.to_owned())
}

/// `yyyymmdd` of a date in one of the usual forms; everything else is no date of birth. Whether it is in the calendar is
/// not asked: a mistyped month still tells most of the date.
fn birth_date(value: &str) -> Option<String> {
    let value = value.trim();
    let number = |text: &str, digits: usize| -> Option<u32> {
        let usable = (1..=digits).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        usable.then(|| text.parse().ok()).flatten()
    };
    let (year, month, day) = if value.len() == 8 && value.bytes().all(|byte| byte.is_ascii_digit()) {
        (value.get(..4)?, value.get(4..6)?, value.get(6..)?)
    } else if let Some((day, rest)) = value.split_once('.') {
        let (month, year) = rest.split_once('.')?;
        (year, month, day)
    } else {
        let (year, rest) = value.split_once('-')?;
        // A time of day does not belong to a date of birth and is left out.
        let (month, day) = rest.split_once('-')?;
        (year, month, day.split('T').next()?)
    };
    let (year, month, day) = (number(year.trim(), 4)?, number(month.trim(), 2)?, number(day.trim(), 2)?);
    (year >= 1000).then(|| format!("{year:04}{month:02}{day:02}"))
}

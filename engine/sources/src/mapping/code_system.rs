//! What can be known of a code system without its list of codes: the form of its codes, check digits, and which codes
//! are below others.

use serde::Deserialize;

use crate::plan::Code;

/// The form of the codes of a system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Form {
    /// Letter, two digits, up to two more after a point; groups such as `C00-C97`.
    #[serde(rename = "icd-10")]
    Icd10,
    Ops,
    Atc,
    /// Digits and a check digit (modulus 10).
    Loinc,
    /// 6 to 18 digits with a check digit (Verhoeff).
    Snomed,
    Any,
}

impl Form {
    /// The codes that are meant: the code itself with what is below it. `None`: there is no such code.
    pub(crate) fn expand(self, system: &str, code: &str) -> Option<Vec<Code>> {
        let one =
            |code: &str, descendants| vec![Code { system: system.to_owned(), code: code.to_owned(), descendants }];
        match self {
            Self::Icd10 => icd_10(system, code),
            Self::Ops => is_ops(code).then(|| one(code, true)),
            Self::Atc => is_atc(code).then(|| one(code, true)),
            Self::Loinc => is_loinc(code).then(|| one(code, false)),
            Self::Snomed => is_snomed(code).then(|| one(code, false)),
            Self::Any => (!code.is_empty()).then(|| one(code, false)),
        }
    }
}

fn icd_10(system: &str, code: &str) -> Option<Vec<Code>> {
    let below = |code: String| Code { system: system.to_owned(), code, descendants: true };
    if let Some((first, last)) = code.split_once('-')
        && !first.ends_with('.')
    {
        let (first, last) = (category(first)?, category(last)?);
        let categories = (first..=last).map(|number| {
            let letter = char::from(b'A' + u8::try_from(number / 100).unwrap_or(0));
            below(format!("{letter}{:02}", number % 100))
        });
        return (first <= last).then(|| categories.collect());
    }
    let short = code.trim_end_matches('-').trim_end_matches('.');
    let (head, detail) = short.split_once('.').unwrap_or((short, ""));
    let is_detail = detail.len() <= 2 && detail.bytes().all(|byte| byte.is_ascii_digit());
    (category(head).is_some() && is_detail).then(|| vec![below(short.to_owned())])
}

/// Place of a category in the order of the classification.
fn category(text: &str) -> Option<u32> {
    let mut bytes = text.bytes();
    let letter = bytes.next().filter(u8::is_ascii_uppercase)?;
    let (tens, ones) = (digit(bytes.next()?)?, digit(bytes.next()?)?);
    bytes.next().is_none().then(|| u32::from(letter - b'A') * 100 + tens * 10 + ones)
}

fn digit(byte: u8) -> Option<u32> {
    byte.is_ascii_digit().then(|| u32::from(byte - b'0'))
}

fn is_ops(code: &str) -> bool {
    let Some((chapter, rest)) = code.split_once('-') else { return false };
    let (group, detail) = rest.split_once('.').unwrap_or((rest, ""));
    let is_word = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase());
    chapter.len() == 1
        && is_word(chapter)
        && (2..=3).contains(&group.len())
        && is_word(group)
        && detail.len() <= 2
        && is_word(detail)
        && !code.ends_with('.')
}

fn is_atc(code: &str) -> bool {
    let levels: [fn(&u8) -> bool; 7] = [
        u8::is_ascii_uppercase,
        u8::is_ascii_digit,
        u8::is_ascii_digit,
        u8::is_ascii_uppercase,
        u8::is_ascii_uppercase,
        u8::is_ascii_digit,
        u8::is_ascii_digit,
    ];
    matches!(code.len(), 1 | 3 | 4 | 5 | 7) && code.bytes().zip(levels).all(|(byte, fits)| fits(&byte))
}

fn is_loinc(code: &str) -> bool {
    let Some((digits, check)) = code.split_once('-') else { return false };
    let known: Option<Vec<u32>> = digits.bytes().map(digit).collect();
    let (Some(known), Ok(check)) = (known, check.parse::<u32>()) else { return false };
    let doubled = known.iter().rev().enumerate().map(|(place, digit)| {
        let digit = if place % 2 == 0 { digit * 2 } else { *digit };
        digit / 10 + digit % 10
    });
    (1..=7).contains(&known.len()) && check < 10 && (10 - doubled.sum::<u32>() % 10) % 10 == check
}

/// The dihedral group's multiplication and permutation (Verhoeff 1969).
fn is_snomed(code: &str) -> bool {
    const PERMUTATION: [u32; 10] = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4];
    let digits: Option<Vec<u32>> = code.bytes().map(digit).collect();
    let Some(digits) = digits else { return false };
    let check = digits.iter().rev().enumerate().fold(0, |sum, (place, digit)| {
        let permuted = (0..place % 8).fold(*digit, |digit, _| PERMUTATION.get(digit as usize).copied().unwrap_or(0));
        dihedral(sum, permuted)
    });
    (6..=18).contains(&digits.len()) && !code.starts_with('0') && check == 0
}

/// Multiplication in the dihedral group of the pentagon: 0-4 turn it, 5-9 reflect it.
const fn dihedral(a: u32, b: u32) -> u32 {
    match (a < 5, b < 5) {
        (true, true) => (a + b) % 5,
        (true, false) => 5 + (a + b - 5) % 5,
        (false, true) => 5 + (a - 5 + 5 - b) % 5,
        (false, false) => (a + 5 - b) % 5,
    }
}

#[cfg(test)]
mod tests {
    use super::Form;

    fn codes(form: Form, code: &str) -> Option<Vec<String>> {
        Some(form.expand("s", code)?.into_iter().map(|code| code.code).collect())
    }

    #[test]
    fn codes_that_exist_are_known() {
        for (form, list) in [
            (Form::Icd10, &["C34", "C34.1", "C34.-", "N80.1", "I48.19"][..]),
            (Form::Ops, &["5-511", "5-511.1", "8-98f", "8-98f.10", "1-44"]),
            (Form::Atc, &["A", "A10", "A10B", "A10BA", "A10BA02"]),
            (Form::Loinc, &["718-7", "26464-8", "67162-8", "69548-6", "4548-4", "8480-6"]),
            (Form::Snomed, &["263495000", "424144002", "119297000", "233604007", "22298006"]),
        ] {
            for code in list {
                assert!(form.expand("s", code).is_some(), "{form:?} {code}");
            }
        }
    }

    #[test]
    fn codes_that_cannot_exist_are_unknown() {
        for (form, list) in [
            (Form::Icd10, &["", "34", "c34", "C3", "C34.123", "C34.X", "XYZ", "C97-C00"][..]),
            (Form::Ops, &["", "5", "5-", "5-5", "5-5111", "5-511.", "5-511.123", "55-11"]),
            (Form::Atc, &["", "10", "A1", "A10BA0", "A10BA023", "a10"]),
            (Form::Loinc, &["", "718", "718-8", "26464-9", "-0", "x-1", "718-77"]),
            (Form::Snomed, &["", "263495001", "12345", "026349500", "abc"]),
            (Form::Any, &[""]),
        ] {
            for code in list {
                assert_eq!(form.expand("s", code), None, "{form:?} {code}");
            }
        }
    }

    #[test]
    fn a_group_of_categories_is_all_of_them() {
        assert_eq!(codes(Form::Icd10, "C30-C32"), Some(vec!["C30".into(), "C31".into(), "C32".into()]));
        assert_eq!(codes(Form::Icd10, "C98-D01").map(|codes| codes.len()), Some(4));
        assert_eq!(codes(Form::Icd10, "C34.-"), Some(vec!["C34".into()]));
    }
}

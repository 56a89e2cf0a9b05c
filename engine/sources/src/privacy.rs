//! What may be told of a count: small ones not at all, the others with noise, rounded.
//!
//! The noise is a function of a secret key of the site, of what is asked and of the count. The same question over the same
//! records therefore has the same answer, however often it is asked and however it is written down, also after a restart
//! and on another machine with the same key: repetition reveals nothing. Without the key the noise cannot be computed.

use sha2::{Digest as _, Sha256};

use crate::ccdl::{Attribute, AttributeFilter, Criterion, Definition, Filter, TermCode};

/// How counts are told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Obfuscation {
    /// How much one person changes a count.
    pub sensitivity: f64,
    /// Privacy parameter of the Laplace distribution: the smaller, the more noise.
    pub epsilon: f64,
    /// Told counts are multiples of it.
    pub round_to: u64,
    /// Counts below are told as 0.
    pub suppress_below: u64,
}

/// The site's secret.
#[derive(Clone)]
pub struct NoiseKey([u8; 32]);

/// What is asked, independent of how it is written: order, repetition, names and versions do not matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    pub(crate) fn of_text(text: &str) -> Self {
        Self(Sha256::digest(text.as_bytes()).into())
    }

    /// Both together.
    pub(crate) fn and(self, other: Self) -> Self {
        Self(Sha256::new().chain_update(self.0).chain_update(other.0).finalize().into())
    }
}

impl std::fmt::Display for Fingerprint {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl Default for Obfuscation {
    /// The values of the reference's plug-in, and suppression of counts below 5.
    fn default() -> Self {
        Self { sensitivity: 1.0, epsilon: 0.5, round_to: 10, suppress_below: 5 }
    }
}

// === impl Obfuscation ===

impl Obfuscation {
    /// The number that is told instead of a count.
    #[must_use]
    pub fn tell(&self, key: &NoiseKey, question: Fingerprint, count: u64) -> u64 {
        if count < self.suppress_below {
            return 0;
        }
        let step = self.round_to.max(1) as f64;
        let noisy = count as f64 + self.noise(key, question, count);
        ((noisy / step).round() * step).max(0.0) as u64
    }

    /// Laplace noise (inverse of the distribution function at a number that follows from key, question and count).
    fn noise(&self, key: &NoiseKey, question: Fingerprint, count: u64) -> f64 {
        let code = hmac(&key.0, &[b"schleuse count noise 1", question.0.as_slice(), &count.to_be_bytes()]);
        let (first, _) = code.split_at(8);
        let number = u64::from_be_bytes(first.try_into().unwrap_or_default());
        // In the open interval between -1/2 and 1/2.
        let place = ((number >> 11) as f64 + 0.5) / (1_u64 << 53) as f64 - 0.5;
        -(self.sensitivity / self.epsilon) * place.signum() * (1.0 - 2.0 * place.abs()).ln()
    }
}

// === impl NoiseKey ===

impl NoiseKey {
    /// A key from 32 random bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl std::fmt::Debug for NoiseKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("NoiseKey(..)")
    }
}

/// HMAC-SHA256 (RFC 2104) with a key of 32 bytes, of parts that are joined with their lengths.
fn hmac(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    let mut message = Vec::new();
    for part in parts {
        message.extend_from_slice(&(part.len() as u64).to_be_bytes());
        message.extend_from_slice(part);
    }
    hmac_of(key, &message)
}

fn hmac_of(key: &[u8; 32], message: &[u8]) -> [u8; 32] {
    let pad = |byte: u8| {
        let mut block = [byte; 64];
        for (place, key) in block.iter_mut().zip(key) {
            *place ^= key;
        }
        block
    };
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(message).finalize();
    Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize().into()
}

// === impl Definition ===

impl Definition {
    /// What is asked.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        let groups = |groups: &[Vec<Criterion>]| set(groups.iter().map(|group| set(group.iter().map(criterion))));
        let text = format!("+{}-{}", groups(&self.inclusion), groups(&self.exclusion));
        Fingerprint::of_text(&text)
    }
}

/// Texts in order, each once and with its length, so that no two sets have the same form.
fn set(texts: impl Iterator<Item = String>) -> String {
    let mut texts: Vec<String> = texts.collect();
    texts.sort_unstable();
    texts.dedup();
    let joined: String = texts.iter().map(|text| format!("{}:{text}", text.len())).collect();
    format!("{{{joined}}}")
}

fn criterion(criterion: &Criterion) -> String {
    let context = criterion.context.as_ref().map(code).unwrap_or_default();
    let time = criterion.time.map(|days| format!("{}/{}", days.first, days.last)).unwrap_or_default();
    let value = criterion.value.as_ref().map(filter).unwrap_or_default();
    let codes = set(criterion.codes.iter().map(code));
    let parts = [context, codes, value, set(criterion.attributes.iter().map(attribute)), time];
    parts.iter().map(|part| format!("{}:{part}", part.len())).collect()
}

fn attribute(attribute: &Attribute) -> String {
    let what = match &attribute.filter {
        AttributeFilter::Value(value) => filter(value),
        AttributeFilter::Reference(criteria) => format!("->{}", set(criteria.iter().map(criterion))),
    };
    format!("{}={what}", code(&attribute.code))
}

fn filter(filter: &Filter) -> String {
    match filter {
        Filter::Concept(concepts) => set(concepts.iter().map(code)),
        Filter::Quantity { bounds, unit } => format!("{bounds:?} {unit:?}"),
    }
}

fn code(code: &TermCode) -> String {
    format!("{}:{}|{}", code.system.len(), code.system, code.code)
}

#[cfg(test)]
mod tests {
    use super::{Fingerprint, NoiseKey, Obfuscation, hmac_of};
    use crate::ccdl::Definition;

    const KEY: NoiseKey = NoiseKey::new([7; 32]);

    fn question(number: u64) -> Fingerprint {
        Fingerprint(super::hmac(&[1; 32], &[&number.to_be_bytes()]))
    }

    #[test]
    fn the_code_is_that_of_an_independent_implementation() {
        // Python: hmac.new(bytes([7]) * 32, b"what", "sha256").hexdigest()
        let code: String = hmac_of(&[7; 32], b"what").iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(code, "1ed637384978236a2db232a575ba8e745637bb02f8fc2231fe98b3bd59ded3c3");
    }

    #[test]
    fn share_a3_a_repeated_question_has_the_same_answer_and_another_key_another() {
        let obfuscation = Obfuscation { round_to: 1, ..Obfuscation::default() };
        let told: Vec<u64> = (0..40).map(|_| obfuscation.tell(&KEY, question(1), 1000)).collect();
        assert!(told.iter().all(|number| *number == told[0]));
        let with = |key: u8| {
            (0..50)
                .map(|number| obfuscation.tell(&NoiseKey::new([key; 32]), question(number), 1000))
                .collect::<Vec<_>>()
        };
        assert_ne!(with(1), with(2));
    }

    #[test]
    fn share_a4_small_counts_are_told_as_none() {
        for count in 0..5 {
            for number in 0..200 {
                assert_eq!(Obfuscation::default().tell(&KEY, question(number), count), 0);
            }
        }
    }

    #[test]
    fn told_counts_are_rounded_and_near() {
        for number in 0..2_000 {
            let told = Obfuscation::default().tell(&KEY, question(number), 437);
            assert_eq!(told % 10, 0);
            assert!(told.abs_diff(437) < 60, "{told}");
        }
    }

    #[test]
    fn the_noise_has_the_distribution_that_is_promised() {
        let obfuscation = Obfuscation { round_to: 1, ..Obfuscation::default() };
        let noise: Vec<f64> = (0..20_000).map(|number| obfuscation.noise(&KEY, question(number), 1000)).collect();
        let share = |beyond: f64| noise.iter().filter(|noise| noise.abs() > beyond).count() as f64 / noise.len() as f64;
        let mean = noise.iter().sum::<f64>() / noise.len() as f64;
        // Scale 2: beyond x lies e^(-x/2).
        assert!(mean.abs() < 0.1, "{mean}");
        assert!((share(5.0) - 0.0821).abs() < 0.01, "{}", share(5.0));
        assert!((share(2.0) - 0.3679).abs() < 0.015, "{}", share(2.0));
    }

    #[test]
    fn how_a_question_is_written_does_not_matter_and_what_it_asks_does() {
        let criterion = |code: &str, more: &str| format!(r#"{{"termCodes":[{{"system":"s","code":"{code}"{more}}}]}}"#);
        let ask = |groups: &str| {
            Definition::parse(format!(r#"{{"inclusionCriteria":{groups}}}"#).as_bytes()).unwrap().fingerprint()
        };
        let (a, b) = (criterion("a", ""), criterion("b", ""));
        let named = criterion("a", r#","display":"A","version":"2""#);
        let same = ask(&format!("[[{a},{b}],[{a}]]"));
        assert_eq!(same, ask(&format!("[[{named}],[{b},{a},{b}]]")));
        for other in [format!("[[{a}],[{b}]]"), format!("[[{a},{b}]]"), format!("[[{a},{b}],[{b}]]")] {
            assert_ne!(same, ask(&other), "{other}");
        }
    }
}

//! Generated families: what makes linkage hard in life and is missing in FEBRL.
//!
//! Households share family name and address; siblings have like names, some are twins, some children carry a parent's
//! name. The second list holds some of the same persons with what happens to records (typing mistakes, moves, marriages,
//! missing numbers), and in place of others their closest relatives. The same seed gives the same people.

use std::collections::HashSet;

use linkage::{Field, Person};

use super::Case;

const GIVEN: [&str; 60] = [
    "Anna",
    "Hanna",
    "Hannah",
    "Johanna",
    "Lena",
    "Lina",
    "Laura",
    "Lara",
    "Sarah",
    "Sara",
    "Marie",
    "Maria",
    "Marlene",
    "Katharina",
    "Katrin",
    "Julia",
    "Juliane",
    "Sophie",
    "Sofia",
    "Emma",
    "Emilia",
    "Clara",
    "Klara",
    "Mia",
    "Nina",
    "Petra",
    "Ursula",
    "Renate",
    "Monika",
    "Ingrid",
    "Peter",
    "Hans",
    "Johannes",
    "Jonas",
    "Jonathan",
    "Lukas",
    "Luca",
    "Leon",
    "Leonard",
    "Paul",
    "Felix",
    "Max",
    "Maximilian",
    "Moritz",
    "Michael",
    "Thomas",
    "Tobias",
    "Stefan",
    "Stephan",
    "Andreas",
    "Matthias",
    "Matteo",
    "Jan",
    "Jannis",
    "Niklas",
    "Nico",
    "Karl",
    "Wolfgang",
    "Heinz",
    "Günther",
];

const FAMILY: [&str; 60] = [
    "Müller",
    "Schmidt",
    "Schmitt",
    "Schmitz",
    "Schneider",
    "Fischer",
    "Weber",
    "Meyer",
    "Meier",
    "Maier",
    "Wagner",
    "Becker",
    "Schulz",
    "Schulze",
    "Hoffmann",
    "Hofmann",
    "Schäfer",
    "Koch",
    "Bauer",
    "Richter",
    "Klein",
    "Wolf",
    "Schröder",
    "Neumann",
    "Schwarz",
    "Zimmermann",
    "Braun",
    "Krüger",
    "Hartmann",
    "Lange",
    "Werner",
    "Krause",
    "Lehmann",
    "Köhler",
    "Maurer",
    "Herrmann",
    "König",
    "Walter",
    "Mayer",
    "Huber",
    "Kaiser",
    "Fuchs",
    "Peters",
    "Lang",
    "Scholz",
    "Möller",
    "Weiß",
    "Jung",
    "Hahn",
    "Schubert",
    "Vogel",
    "Friedrich",
    "Keller",
    "Günther",
    "Frank",
    "Berger",
    "Winkler",
    "Roth",
    "Beck",
    "Lorenz",
];

const STREETS: [&str; 24] = [
    "Hauptstraße",
    "Bahnhofstraße",
    "Gartenstraße",
    "Schulstraße",
    "Bergstraße",
    "Dorfstraße",
    "Lindenweg",
    "Birkenweg",
    "Kirchgasse",
    "Mühlweg",
    "Am Markt",
    "Ringstraße",
    "Goethestraße",
    "Schillerstraße",
    "Mozartstraße",
    "Waldweg",
    "Wiesenweg",
    "Rosenweg",
    "Talstraße",
    "Parkallee",
    "Neckarufer",
    "Rheinstraße",
    "Burgweg",
    "Amselweg",
];

const CITIES: [(&str, u64); 12] = [
    ("Heidelberg", 69_115),
    ("Mannheim", 68_159),
    ("Frankfurt am Main", 60_311),
    ("München", 80_331),
    ("Köln", 50_667),
    ("Leipzig", 4_103),
    ("Jena", 7_743),
    ("Göttingen", 37_073),
    ("Lübeck", 23_552),
    ("Würzburg", 97_070),
    ("Ulm", 89_073),
    ("Halle (Saale)", 6_108),
];

/// Numbers that follow from a seed (SplitMix64).
struct Chance(u64);

/// What is known of a person before anything happens to it.
#[derive(Clone)]
struct Known {
    given: String,
    family: String,
    birth: (u64, u64, u64),
    sex: &'static str,
    street: String,
    postal: String,
    city: String,
    insurance: Option<String>,
}

/// Two lists of `count` persons each.
pub(super) fn generate(seed: u64, count: usize) -> Case {
    let mut chance = Chance(seed.wrapping_mul(0x9e37_79b9).wrapping_add(17));
    let (mut first, mut second, mut truth) = (Vec::new(), Vec::new(), HashSet::new());
    while first.len() < count || second.len() < count {
        let family = chance.family();
        for (place, known) in family.iter().enumerate() {
            let at_second = chance.percent(50);
            if first.len() < count {
                if at_second && second.len() < count {
                    truth.insert((first.len() as u32, second.len() as u32));
                    second.push(chance.later(known).person());
                } else if let Some(relative) = family.get(place + 1).filter(|_| second.len() < count) {
                    // The relative is a patient of the second site only.
                    if chance.percent(30) {
                        second.push(chance.later(relative).person());
                        first.push(known.person());
                        break;
                    }
                }
                first.push(known.person());
            } else if second.len() < count {
                second.push(chance.later(known).person());
            }
        }
    }
    Case { first, second, truth, is_one_list: false }
}

// === impl Known ===

impl Known {
    fn person(&self) -> Person {
        let (year, month, day) = self.birth;
        let person = Person::new()
            .with(Field::GivenName, self.given.as_str())
            .with(Field::FamilyName, self.family.as_str())
            .with(Field::BirthDate, format!("{year:04}-{month:02}-{day:02}"))
            .with(Field::Sex, self.sex)
            .with(Field::Street, self.street.as_str())
            .with(Field::PostalCode, self.postal.as_str())
            .with(Field::City, self.city.as_str())
            .with(Field::Country, "DE");
        match &self.insurance {
            Some(number) => person.with(Field::InsuranceNumber, number.as_str()),
            None => person,
        }
    }
}

// === impl Chance ===

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    fn of<'a>(&mut self, texts: &[&'a str]) -> &'a str {
        // Some names are frequent: the smaller of two throws.
        let place = self.below(texts.len() as u64).min(self.below(texts.len() as u64)) as usize;
        texts.get(place).copied().unwrap_or_default()
    }

    /// A name of the lists, mostly with an ending, so that there are thousands of family names.
    fn family_name(&mut self) -> String {
        let name = self.of(&FAMILY);
        let endings = ["", "", "", "mann", "er", "ert", "ing", "sen", "bach", "hofer", "-Lang", "-Roth"];
        let ending = endings.get(self.below(endings.len() as u64) as usize).copied().unwrap_or_default();
        format!("{name}{ending}")
    }

    fn given_name(&mut self) -> String {
        let name = self.of(&GIVEN).to_owned();
        if self.percent(15) { format!("{name} {}", self.of(&GIVEN)) } else { name }
    }

    fn insurance(&mut self) -> String {
        format!("{}{:09}", char::from(b'A' + self.below(26) as u8), self.below(1_000_000_000))
    }

    fn move_to(&mut self, known: &mut Known) {
        let (city, postal) = CITIES.get(self.below(CITIES.len() as u64) as usize).copied().unwrap_or(("Ulm", 89_073));
        known.city = city.to_owned();
        known.postal = format!("{:05}", postal + self.below(40));
        known.street = format!("{} {}", self.of(&STREETS), 1 + self.below(120));
    }

    /// One to four persons of one household.
    fn family(&mut self) -> Vec<Known> {
        let mut head = Known {
            given: self.given_name(),
            family: self.family_name(),
            birth: (1935 + self.below(60), 1 + self.below(12), 1 + self.below(28)),
            sex: if self.percent(50) { "male" } else { "female" },
            street: String::new(),
            postal: String::new(),
            city: String::new(),
            insurance: Some(self.insurance()),
        };
        self.move_to(&mut head);
        let mut family = vec![head.clone()];
        for _ in 0..self.below(4) {
            let mut child = head.clone();
            child.given = if self.percent(3) { head.given.clone() } else { self.given_name() };
            // Brothers and sisters are called alike, not the same.
            while family.iter().skip(1).any(|sibling| sibling.given == child.given) {
                child.given = self.given_name();
            }
            child.birth = (head.birth.0 + 20 + self.below(20), 1 + self.below(12), 1 + self.below(28));
            child.sex = if self.percent(50) { "male" } else { "female" };
            child.insurance = Some(self.insurance());
            // Twins of the child before, often with like names.
            if let Some(sibling) = family.get(1).filter(|_| self.percent(10)) {
                child.birth = sibling.birth;
            }
            family.push(child);
        }
        family
    }

    /// The record of the person at another site, years later.
    fn later(&mut self, known: &Known) -> Known {
        let mut later = known.clone();
        if self.percent(15) {
            self.move_to(&mut later);
        }
        if later.sex == "female" && self.percent(4) {
            later.family = self.family_name();
        }
        if self.percent(25) {
            later.insurance = None;
        }
        if self.percent(10) {
            later.given = later.given.split(' ').next().unwrap_or_default().to_owned();
        }
        if self.percent(2) {
            later.birth = (later.birth.0, later.birth.2.min(12), later.birth.1);
        } else if self.percent(5) {
            later.birth.2 = 1 + self.below(28);
        }
        if self.percent(2) {
            std::mem::swap(&mut later.given, &mut later.family);
        }
        if self.percent(2) {
            later.given = String::new();
        }
        // Half of the records were written with care.
        if self.percent(50) {
            let mistakes = 1 + self.below(4);
            (0..mistakes).for_each(|_| self.mistake(&mut later));
        }
        later
    }

    /// One slip of whoever wrote the record.
    fn mistake(&mut self, known: &mut Known) {
        match self.below(6) {
            0 => known.given = self.mistyped(&known.given),
            1 => known.family = self.mistyped(&known.family),
            2 => known.street = self.mistyped(&known.street),
            3 => known.city = self.mistyped(&known.city),
            4 => known.postal = self.mistyped(&known.postal),
            _ => known.insurance = known.insurance.as_deref().map(|number| self.mistyped(number)),
        }
    }

    fn mistyped(&mut self, text: &str) -> String {
        let mut letters: Vec<char> = text.chars().collect();
        if letters.is_empty() {
            return String::new();
        }
        let place = self.below(letters.len() as u64) as usize;
        let letter = char::from(b'a' + self.below(26) as u8);
        match self.below(4) {
            0 => letters.insert(place, letter),
            1 if letters.len() > 2 => {
                letters.remove(place);
            }
            2 if place + 1 < letters.len() => letters.swap(place, place + 1),
            _ => {
                if let Some(there) = letters.get_mut(place) {
                    *there = letter;
                }
            }
        }
        letters.into_iter().collect()
    }
}

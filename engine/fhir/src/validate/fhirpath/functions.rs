//! The functions of FHIRPath that invariants use.

use std::borrow::Cow;

use super::evaluate::{Evaluator, Frame, boolean, items_equal, truth};
use super::node::{Collection, Item};
use super::{Ast, EvaluationError};

macro_rules! functions {
    ($($name:ident $text:literal $least:literal ..= $most:literal)*) => {
        /// A function that is known.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Function {
            $($name,)*
        }

        impl Function {
            /// The function with this name that takes so many arguments.
            pub(super) fn named(name: &str, arguments: usize) -> Option<Self> {
                match name {
                    $($text if ($least..=$most).contains(&arguments) => Some(Self::$name),)*
                    _ => None,
                }
            }
        }
    };
}

functions! {
    All "all" 1..=1
    AllFalse "allFalse" 0..=0
    AllTrue "allTrue" 0..=0
    AnyFalse "anyFalse" 0..=0
    AnyTrue "anyTrue" 0..=0
    Children "children" 0..=0
    Combine "combine" 1..=1
    Contains "contains" 1..=1
    Count "count" 0..=0
    Descendants "descendants" 0..=0
    Distinct "distinct" 0..=0
    Empty "empty" 0..=0
    EndsWith "endsWith" 1..=1
    Exclude "exclude" 1..=1
    Exists "exists" 0..=1
    Extension "extension" 1..=1
    First "first" 0..=0
    HasValue "hasValue" 0..=0
    Iif "iif" 2..=3
    IndexOf "indexOf" 1..=1
    Intersect "intersect" 1..=1
    IsDistinct "isDistinct" 0..=0
    Last "last" 0..=0
    Length "length" 0..=0
    Lower "lower" 0..=0
    Matches "matches" 1..=1
    Not "not" 0..=0
    ReplaceMatches "replaceMatches" 2..=2
    Select "select" 1..=1
    Single "single" 0..=0
    Skip "skip" 1..=1
    StartsWith "startsWith" 1..=1
    SubsetOf "subsetOf" 1..=1
    Substring "substring" 1..=2
    SupersetOf "supersetOf" 1..=1
    Tail "tail" 0..=0
    Take "take" 1..=1
    ToInteger "toInteger" 0..=0
    ToText "toString" 0..=0
    Trace "trace" 1..=2
    Upper "upper" 0..=0
    Where "where" 1..=1
}

/// Applies the function to `input`.
pub(super) fn call<'a>(
    evaluator: &mut Evaluator<'a>,
    function: Function,
    input: Collection<'a>,
    arguments: &'a [Ast],
    regex: Option<&regex::Regex>,
    frame: &Frame<'a>,
) -> Result<Collection<'a>, EvaluationError> {
    use Function as F;
    evaluator.spend(input.len())?;
    let mut call = Call { evaluator, arguments, frame };
    match function {
        F::Empty => Ok(boolean(input.is_empty())),
        F::Exists if arguments.is_empty() => Ok(boolean(!input.is_empty())),
        F::Exists => call.filter(input).map(|kept| boolean(!kept.is_empty())),
        F::Where => call.filter(input),
        F::All => {
            let all = input.len();
            call.filter(input).map(|kept| boolean(kept.len() == all))
        }
        F::Select => call.select(input),
        F::Not => Ok(truth(&input).map(|value| Item::Boolean(!value)).into_iter().collect()),
        F::AllTrue => Ok(boolean(input.iter().all(|item| item.boolean() == Some(true)))),
        F::AllFalse => Ok(boolean(input.iter().all(|item| item.boolean() == Some(false)))),
        F::AnyTrue => Ok(boolean(input.iter().any(|item| item.boolean() == Some(true)))),
        F::AnyFalse => Ok(boolean(input.iter().any(|item| item.boolean() == Some(false)))),
        F::Count => Ok(vec![Item::count(input.len())]),
        F::First => Ok(input.into_iter().take(1).collect()),
        F::Last => Ok(input.into_iter().last().into_iter().collect()),
        F::Tail => Ok(input.into_iter().skip(1).collect()),
        F::Single if input.len() > 1 => Err(EvaluationError::Unsupported("single() of several".to_owned())),
        F::Single => Ok(input),
        F::Skip => call.number(0).map(|count| input.into_iter().skip(count.unwrap_or(0)).collect()),
        F::Take => call.number(0).map(|count| input.into_iter().take(count.unwrap_or(0)).collect()),
        F::Distinct => call.evaluator.distinct(input),
        F::IsDistinct => {
            let all = input.len();
            call.evaluator.distinct(input).map(|kept| boolean(kept.len() == all))
        }
        F::Combine => {
            let mut all = input;
            all.extend(call.collection(0)?);
            Ok(all)
        }
        F::Intersect => call.compare(input, |found| found),
        F::Exclude => call.compare(input, |found| !found),
        F::SubsetOf => {
            let all = input.len();
            call.compare(input, |found| found).map(|kept| boolean(kept.len() == all))
        }
        F::SupersetOf => {
            let other = call.collection(0)?;
            call.evaluator.spend(input.len().saturating_mul(other.len()))?;
            Ok(boolean(other.iter().all(|item| input.iter().any(|own| items_equal(own, item)))))
        }
        F::Children => call.children(&input),
        F::Descendants => call.descendants(&input),
        F::HasValue => {
            Ok(boolean(matches!(input.as_slice(), [only] if only.node().is_none_or(|node| node.has_value()))))
        }
        F::Extension => call.extension(&input),
        F::Iif => call.iif(&input),
        F::Trace => Ok(input),
        F::Matches => Ok(text_of(&input)
            .zip(regex)
            .map(|(text, regex)| Item::Boolean(regex.is_match(text)))
            .into_iter()
            .collect()),
        F::ReplaceMatches => {
            let replacement = call.text(1)?;
            Ok(text_of(&input)
                .zip(regex)
                .zip(replacement)
                .map(|((text, regex), with)| {
                    Item::Text(Cow::Owned(regex.replace_all(text, regex::NoExpand(&with)).into_owned()))
                })
                .into_iter()
                .collect())
        }
        F::StartsWith => call.test(&input, |text, other| text.starts_with(other)),
        F::EndsWith => call.test(&input, |text, other| text.ends_with(other)),
        F::Contains => call.test(&input, |text, other| text.contains(other)),
        F::IndexOf => {
            let other = call.text(0)?;
            Ok(text_of(&input)
                .zip(other)
                .map(|(text, other)| {
                    let index = text.find(&other).and_then(|at| text.get(..at)).map(|before| before.chars().count());
                    Item::Number(index.map_or(Cow::Borrowed("-1"), |index| Cow::Owned(index.to_string())))
                })
                .into_iter()
                .collect())
        }
        F::Substring => call.substring(&input),
        F::Length => Ok(text_of(&input).map(|text| Item::count(text.chars().count())).into_iter().collect()),
        F::Lower => Ok(text_of(&input).map(|text| owned(text.to_lowercase())).into_iter().collect()),
        F::Upper => Ok(text_of(&input).map(|text| owned(text.to_uppercase())).into_iter().collect()),
        F::ToInteger => {
            let digits = text_of(&input).or_else(|| input.first().and_then(Item::number));
            let integer = digits.and_then(|digits| digits.parse::<i64>().ok());
            Ok(integer.map(|integer| Item::Number(Cow::Owned(integer.to_string()))).into_iter().collect())
        }
        F::ToText => Ok(input
            .first()
            .and_then(|item| {
                item.text()
                    .or_else(|| item.number())
                    .map(str::to_owned)
                    .or_else(|| item.boolean().map(|b| b.to_string()))
            })
            .map(owned)
            .into_iter()
            .collect()),
    }
}

fn owned<'a>(text: String) -> Item<'a> {
    Item::Text(Cow::Owned(text))
}

fn text_of<'i>(input: &'i Collection<'_>) -> Option<&'i str> {
    match input.as_slice() {
        [only] => only.text(),
        _ => None,
    }
}

struct Call<'c, 'a> {
    evaluator: &'c mut Evaluator<'a>,
    arguments: &'a [Ast],
    frame: &'c Frame<'a>,
}

impl<'a> Call<'_, 'a> {
    /// The argument, evaluated where the function stands.
    fn collection(&mut self, argument: usize) -> Result<Collection<'a>, EvaluationError> {
        match self.arguments.get(argument) {
            Some(argument) => self.evaluator.evaluate(argument, self.frame),
            None => Ok(Collection::new()),
        }
    }

    fn text(&mut self, argument: usize) -> Result<Option<String>, EvaluationError> {
        Ok(text_of(&self.collection(argument)?).map(str::to_owned))
    }

    fn number(&mut self, argument: usize) -> Result<Option<usize>, EvaluationError> {
        Ok(self.collection(argument)?.first().and_then(Item::number).and_then(|text| text.parse().ok()))
    }

    /// The argument, evaluated on one item of the input.
    fn on(&mut self, index: usize, item: &Item<'a>) -> Result<Collection<'a>, EvaluationError> {
        match self.arguments.first() {
            Some(argument) => self.evaluator.evaluate(argument, &Frame { this: item.clone(), index }),
            None => Ok(Collection::new()),
        }
    }

    fn filter(&mut self, input: Collection<'a>) -> Result<Collection<'a>, EvaluationError> {
        let mut kept = Collection::new();
        for (index, item) in input.into_iter().enumerate() {
            if truth(&self.on(index, &item)?) == Some(true) {
                kept.push(item);
            }
        }
        Ok(kept)
    }

    fn select(&mut self, input: Collection<'a>) -> Result<Collection<'a>, EvaluationError> {
        let mut selected = Collection::new();
        for (index, item) in input.into_iter().enumerate() {
            selected.extend(self.on(index, &item)?);
        }
        Ok(selected)
    }

    /// The items of the input whose presence in the argument is wanted.
    fn compare(&mut self, input: Collection<'a>, wanted: fn(bool) -> bool) -> Result<Collection<'a>, EvaluationError> {
        let other = self.collection(0)?;
        self.evaluator.spend(input.len().saturating_mul(other.len()))?;
        Ok(input.into_iter().filter(|item| wanted(other.iter().any(|found| items_equal(found, item)))).collect())
    }

    fn children(&mut self, input: &Collection<'a>) -> Result<Collection<'a>, EvaluationError> {
        let mut found = Collection::new();
        for node in input.iter().filter_map(Item::node) {
            found.extend(node.children().into_iter().map(Item::Node));
        }
        self.evaluator.spend(found.len())?;
        Ok(found)
    }

    fn descendants(&mut self, input: &Collection<'a>) -> Result<Collection<'a>, EvaluationError> {
        let mut found = Collection::new();
        let mut level = self.children(input)?;
        while !level.is_empty() {
            let next = self.children(&level)?;
            found.append(&mut level);
            level = next;
        }
        Ok(found)
    }

    fn extension(&mut self, input: &Collection<'a>) -> Result<Collection<'a>, EvaluationError> {
        let Some(url) = self.text(0)? else { return Ok(Collection::new()) };
        let nodes = input.iter().filter_map(Item::node).flat_map(|node| node.members("extension"));
        Ok(nodes.filter(|node| node.value.str("url") == Some(&url)).map(Item::Node).collect())
    }

    fn iif(&mut self, input: &Collection<'a>) -> Result<Collection<'a>, EvaluationError> {
        let frame = input.first().map_or_else(|| self.frame.clone(), |this| Frame { this: this.clone(), index: 0 });
        let chosen = match self.arguments.first() {
            Some(condition) => usize::from(truth(&self.evaluator.evaluate(condition, &frame)?) != Some(true)) + 1,
            None => return Ok(Collection::new()),
        };
        match self.arguments.get(chosen) {
            Some(branch) => self.evaluator.evaluate(branch, &frame),
            None => Ok(Collection::new()),
        }
    }

    fn test(
        &mut self,
        input: &Collection<'a>,
        accept: fn(&str, &str) -> bool,
    ) -> Result<Collection<'a>, EvaluationError> {
        let other = self.text(0)?;
        Ok(text_of(input).zip(other).map(|(text, other)| Item::Boolean(accept(text, &other))).into_iter().collect())
    }

    fn substring(&mut self, input: &Collection<'a>) -> Result<Collection<'a>, EvaluationError> {
        let start = self.number(0)?;
        let length = self.number(1)?;
        let Some((text, start)) = text_of(input).zip(start) else { return Ok(Collection::new()) };
        let part: String = text.chars().skip(start).take(length.unwrap_or(usize::MAX)).collect();
        Ok(if start < text.chars().count() { vec![owned(part)] } else { Vec::new() })
    }
}

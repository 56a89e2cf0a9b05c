//! Slicing: which slice an element belongs to, and what holds for slices.

use super::elements::item_is;
use super::fhirpath::{Collection, Node};
use super::profile::{CompiledProfile, Constraints, Criterion, Rules, Slice, Slicing};
use super::terminology::Membership;
use super::{DEFAULT_SLICE, IssueCode, Validator, equality};

impl<'a> Validator<'a> {
    /// Checks the slices of the elements of one name.
    pub(super) fn slices(
        &mut self,
        name: &str,
        elements: &[Node<'a>],
        is_list: bool,
        constraints: &Constraints,
        profile: &CompiledProfile,
    ) {
        let Some(slicing) = &constraints.slicing else { return };
        let mut counts = vec![0_usize; constraints.slices.len()];
        let mut last = 0;
        let mut has_unmatched = false;
        for (index, element) in elements.iter().enumerate() {
            let before = self.findings.enter(name, is_list.then_some(index));
            match self.slice_of(*element, slicing, &constraints.slices) {
                Some((position, slice)) => {
                    if let Some(count) = counts.get_mut(position) {
                        *count += 1;
                    }
                    if has_unmatched && slicing.rules == Rules::OpenAtEnd {
                        let text = format!(
                            "slice {} must come before elements of no slice (profile {})",
                            slice.name,
                            profile.canonical()
                        );
                        self.findings.error(IssueCode::Structure, text);
                    }
                    if slicing.is_ordered && position < last {
                        let text = format!("slice {} is out of order (profile {})", slice.name, profile.canonical());
                        self.findings.error(IssueCode::Structure, text);
                    }
                    last = last.max(position);
                    self.element(*element, &slice.constraints, profile);
                }
                None => {
                    has_unmatched = true;
                    if slicing.rules == Rules::Closed {
                        let text = format!("belongs to no slice of profile {}", profile.canonical());
                        self.findings.error(IssueCode::Structure, text);
                    }
                }
            }
            self.findings.leave(before);
        }
        let before = self.findings.enter(name, None);
        for (slice, count) in constraints.slices.iter().zip(counts) {
            self.count(count, &slice.constraints, &slice.name, profile);
        }
        self.findings.leave(before);
    }

    fn slice_of<'s>(
        &mut self,
        element: Node<'a>,
        slicing: &Slicing,
        slices: &'s [Slice],
    ) -> Option<(usize, &'s Slice)> {
        let mut found = Vec::with_capacity(slicing.discriminators.len());
        for discriminator in &slicing.discriminators {
            // An expression that does not compile has been reported with the profile.
            let value =
                match discriminator.expression.as_ref().map(|expression| expression.evaluate(self.scope(element))) {
                    Ok(Ok(value)) => Some(value),
                    Ok(Err(error)) => {
                        self.findings
                            .error(IssueCode::NotSupported, format!("slicing by {}: {error}", discriminator.path));
                        None
                    }
                    Err(_) => None,
                };
            found.push(value);
        }
        let is_member = |slice: &Slice| {
            let mut decides = false;
            let fits = slice.criteria.iter().zip(&found).all(|(criterion, value)| {
                decides |= !matches!(criterion, Criterion::Any);
                value.as_ref().is_some_and(|value| criterion.fits(value, element))
            });
            decides && fits
        };
        let named = slices.iter().enumerate().find(|(_, slice)| slice.name != DEFAULT_SLICE && is_member(slice));
        named.or_else(|| slices.iter().enumerate().find(|(_, slice)| slice.name == DEFAULT_SLICE))
    }
}

impl Criterion {
    /// Whether the values at the discriminator are those of the slice. Several values are no value that can be equal.
    fn fits(&self, values: &Collection<'_>, element: Node<'_>) -> bool {
        match self {
            Self::Any => true,
            Self::Present => !values.is_empty(),
            Self::Absent => values.is_empty(),
            Self::Fixed(wanted) => matches!(values.as_slice(), [only] if item_is(only, wanted)),
            Self::Pattern(wanted) => {
                !values.is_empty()
                    && values.iter().any(|item| {
                        item_is(item, wanted) || item.node().is_some_and(|node| equality::fits(node.value, wanted))
                    })
            }
            Self::Member(codes) => values.iter().any(|item| {
                let coded = item.node().map(|node| node.value);
                let code = item.text().or_else(|| coded.and_then(|coding| coding.str("code")));
                let system = coded.and_then(|coding| coding.str("system"));
                code.is_some_and(|code| codes.membership(system, None, code) == Membership::Member)
            }),
            Self::Types(types) => {
                let known = values.first().and_then(|item| item.node()).unwrap_or(element).type_name;
                known.is_some_and(|known| types.iter().any(|type_| type_.eq_ignore_ascii_case(known)))
            }
        }
    }
}

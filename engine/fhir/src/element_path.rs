//! Where an ElementDefinition belongs: the steps from the root of its type, from `id` and `path`.
//!
//! The ids of published profiles are not always right, and may be missing; the path always decides which elements are
//! meant, the id only which slices. Used by the compiler of profiles and by the generator of snapshots, so that both put an
//! element in the same place.

use std::collections::HashMap;

use crate::Object;

/// One step from an element to its child, and into a slice of it.
pub(crate) struct Step {
    pub(crate) name: String,
    pub(crate) slice: Option<String>,
}

/// The slices that elements without a usable id belong to: the last named ones on their path.
#[derive(Default)]
pub(crate) struct Place {
    slices: HashMap<String, String>,
}

impl Place {
    /// The steps from the root to the element; the root itself has none.
    pub(crate) fn steps(&mut self, element: &Object) -> Option<Vec<Step>> {
        let path = element.str("path").filter(|path| !path.is_empty())?;
        let slice_name = element.str("sliceName");
        let steps = match element.str("id").and_then(|id| by_id(id, path)) {
            Some(mut steps) => {
                // The id decides; a slice name without slice in the id still makes a slice.
                if let (Some(last), Some(name)) = (steps.last_mut(), slice_name) {
                    last.slice.get_or_insert_with(|| name.to_owned());
                }
                steps
            }
            None => self.by_path(path, slice_name),
        };
        self.remember(path, &steps);
        Some(steps)
    }

    fn by_path(&self, path: &str, slice_name: Option<&str>) -> Vec<Step> {
        let mut prefix = String::new();
        let mut steps = Vec::new();
        let last = path.matches('.').count();
        for (index, name) in path.split('.').enumerate() {
            if index > 0 {
                prefix.push('.');
            }
            prefix.push_str(name);
            if index == 0 {
                continue;
            }
            let slice = if index == last { slice_name } else { self.slices.get(&prefix).map(String::as_str) };
            steps.push(Step { name: name.to_owned(), slice: slice.map(str::to_owned) });
        }
        steps
    }

    /// An element ends the slices of its own path and of everything below.
    fn remember(&mut self, path: &str, steps: &[Step]) {
        self.slices
            .retain(|known, _| known != path && !known.strip_prefix(path).is_some_and(|below| below.starts_with('.')));
        if let Some(slice) = steps.last().and_then(|step| step.slice.as_ref()) {
            self.slices.insert(path.to_owned(), slice.clone());
        }
    }
}

/// The steps that the id says, if the id and the path agree.
fn by_id(id: &str, path: &str) -> Option<Vec<Step>> {
    let mut names = path.split('.');
    let mut steps = Vec::new();
    for (index, part) in id.split('.').enumerate() {
        let (name, slice) = part.split_once(':').map_or((part, None), |(name, slice)| (name, Some(slice)));
        if names.next() != Some(name) {
            return None;
        }
        if index > 0 {
            steps.push(Step { name: name.to_owned(), slice: slice.map(str::to_owned) });
        }
    }
    names.next().is_none().then_some(steps)
}

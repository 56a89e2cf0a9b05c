//! Joining Prometheus texts of several processes into one.
//!
//! A metric family must stand together and have one `# TYPE`, so samples are regrouped by family; each gets the label
//! `process` unless it has one.

use std::collections::BTreeMap;
use std::fmt::Write as _;

#[derive(Default)]
struct Family<'t> {
    comments: Vec<&'t str>,
    samples: Vec<String>,
}

/// Joins the texts; each comes with the name of its process.
pub(super) fn merge(texts: &[(&str, &str)]) -> String {
    let mut families: BTreeMap<&str, Family<'_>> = BTreeMap::new();
    for (process, text) in texts {
        // Samples of histograms and summaries have suffixed names; the comments before them name the family.
        let mut current: Option<&str> = None;
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            if let Some(comment) = line.strip_prefix("# ") {
                let Some(name) = comment.split_whitespace().nth(1) else { continue };
                current = Some(name);
                let family = families.entry(name).or_default();
                if !family.comments.contains(&line) {
                    family.comments.push(line);
                }
                continue;
            }
            let name = line.split(['{', ' ']).next().unwrap_or_default();
            let family = match current {
                Some(family) if name == family || is_part_of(name, family) => family,
                _ => name,
            };
            families.entry(family).or_default().samples.push(label(line, process));
        }
    }
    let mut merged = String::new();
    for family in families.values() {
        for line in family.comments.iter().copied().chain(family.samples.iter().map(String::as_str)) {
            let _ = writeln!(merged, "{line}");
        }
    }
    merged
}

fn is_part_of(name: &str, family: &str) -> bool {
    name.strip_prefix(family).is_some_and(|suffix| matches!(suffix, "_bucket" | "_sum" | "_count" | "_total"))
}

fn label(sample: &str, process: &str) -> String {
    if sample.contains("process=\"") {
        return sample.to_owned();
    }
    match sample.split_once('{') {
        Some((name, rest)) if rest.starts_with('}') => format!("{name}{{process=\"{process}\"{rest}"),
        Some((name, rest)) => format!("{name}{{process=\"{process}\",{rest}"),
        None => match sample.split_once(' ') {
            Some((name, value)) => format!("{name}{{process=\"{process}\"}} {value}"),
            None => sample.to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_stand_together_and_samples_carry_their_process() {
        let gateway = "# TYPE a counter\na 1\n# TYPE h histogram\nh_bucket{le=\"1\"} 2\nh_sum 3\nh_count 2\n";
        let engine = "# TYPE a counter\na{x=\"y\"} 5\na{process=\"own\"} 6\nz{} 7\n";
        let merged = merge(&[("gateway", gateway), ("engine", engine)]);
        let expected = "# TYPE a counter\na{process=\"gateway\"} 1\na{process=\"engine\",x=\"y\"} 5\na{process=\"own\"} 6\n\
            # TYPE h histogram\nh_bucket{process=\"gateway\",le=\"1\"} 2\nh_sum{process=\"gateway\"} 3\nh_count{process=\"gateway\"} 2\n\
            z{process=\"engine\"} 7\n";
        assert_eq!(merged, expected);
    }
}

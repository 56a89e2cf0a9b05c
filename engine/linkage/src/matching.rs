//! From pairs to persons: one-to-one between two lists, clusters over many sites, duplicates within one.
//!
//! All of it is greedy, best pair first, ties by place in the lists, so that the outcome does not depend on anything
//! that is not in the input.

use std::collections::{BTreeMap, HashSet};

use crate::compare::{CompareError, Effort, Pair, compare, compare_within};
use crate::filter::Filters;
use crate::limits;
use crate::parameters::Similarity;

/// A record of a site.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Member {
    /// Place of the site in the list of lists.
    pub site: u32,
    /// Place of the record in the list of the site.
    pub record: u32,
}

/// The records of one person, at most one of each site, in the order of the sites.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// At least one.
    pub members: Vec<Member>,
}

/// From pairs, most alike first, those in which each record occurs once.
#[must_use]
pub fn one_to_one(pairs: &[Pair]) -> Vec<Pair> {
    let (mut first, mut second) = (HashSet::new(), HashSet::new());
    let is_free = |pair: &&Pair| {
        let is_free = !first.contains(&pair.first) && !second.contains(&pair.second);
        if is_free {
            first.insert(pair.first);
            second.insert(pair.second);
        }
        is_free
    };
    pairs.iter().filter(is_free).copied().collect()
}

/// The pairs of one list that are the same person registered twice.
pub fn duplicates(list: &Filters, effort: Effort<'_>) -> Result<Vec<Pair>, CompareError> {
    compare_within(list, effort)
}

/// The persons of all sites. Every record is in exactly one cluster; two records are in one cluster only if they are of
/// different sites and every two of its members are alike enough (complete linkage): a chain of near matches does not
/// join strangers.
pub fn clusters(sites: &[Filters], effort: Effort<'_>) -> Result<Vec<Cluster>, CompareError> {
    let mut edges: Vec<(Similarity, Member, Member)> = Vec::new();
    for (site, first) in sites.iter().enumerate().take(limits::SITES) {
        for (other, second) in sites.iter().enumerate().take(limits::SITES).skip(site + 1) {
            let member = |site: usize, record: u32| Member { site: site as u32, record };
            let pairs = compare(first, second, effort)?;
            edges.extend(
                pairs.iter().map(|pair| (pair.similarity, member(site, pair.first), member(other, pair.second))),
            );
        }
    }
    edges.sort_unstable_by_key(|(similarity, first, second)| (std::cmp::Reverse(*similarity), *first, *second));
    Ok(Merging::new(sites, effort.threshold).run(&edges))
}

/// Clusters while they grow.
struct Merging<'f> {
    sites: &'f [Filters],
    threshold: Similarity,
    /// Which cluster a record is in; records that are alone are not in it.
    place: BTreeMap<Member, usize>,
    clusters: Vec<Vec<Member>>,
}

// === impl Merging ===

impl<'f> Merging<'f> {
    const fn new(sites: &'f [Filters], threshold: Similarity) -> Self {
        Self { sites, threshold, place: BTreeMap::new(), clusters: Vec::new() }
    }

    fn run(mut self, edges: &[(Similarity, Member, Member)]) -> Vec<Cluster> {
        for (_, first, second) in edges {
            let (first, second) = (self.cluster_of(*first), self.cluster_of(*second));
            if first != second && self.fit(first, second) {
                self.merge(first, second);
            }
        }
        let mut clusters: Vec<Cluster> = Vec::new();
        for mut members in self.clusters {
            if !members.is_empty() {
                members.sort_unstable();
                clusters.push(Cluster { members });
            }
        }
        for (site, filters) in self.sites.iter().enumerate() {
            let members = (0..filters.len() as u32).map(|record| Member { site: site as u32, record });
            let alone = members.filter(|member| !self.place.contains_key(member));
            clusters.extend(alone.map(|member| Cluster { members: vec![member] }));
        }
        clusters.sort_unstable_by(|one, other| one.members.cmp(&other.members));
        clusters
    }

    fn cluster_of(&mut self, member: Member) -> usize {
        *self.place.entry(member).or_insert_with(|| {
            self.clusters.push(vec![member]);
            self.clusters.len() - 1
        })
    }

    fn members(&self, cluster: usize) -> &[Member] {
        self.clusters.get(cluster).map_or(&[], Vec::as_slice)
    }

    fn fit(&self, first: usize, second: usize) -> bool {
        let (first, second) = (self.members(first), self.members(second));
        first.iter().all(|one| {
            second.iter().all(|other| one.site != other.site && self.similarity(*one, *other) >= self.threshold)
        })
    }

    fn similarity(&self, one: Member, other: Member) -> Similarity {
        let lists = (self.sites.get(one.site as usize), self.sites.get(other.site as usize));
        let (Some(first), Some(second)) = lists else { return Similarity::millionths(0) };
        first.similarity(one.record as usize, second, other.record as usize)
    }

    fn merge(&mut self, first: usize, second: usize) {
        let moved = self.clusters.get_mut(second).map(std::mem::take).unwrap_or_default();
        for member in &moved {
            self.place.insert(*member, first);
        }
        if let Some(cluster) = self.clusters.get_mut(first) {
            cluster.extend(moved);
        }
    }
}

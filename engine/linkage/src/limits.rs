//! Bounds of record linkage, each with its reason.

/// Characters of one identifying value that are read. Longer ones carry nothing that tells persons apart, and every
/// further token fills the filter until it resembles all others.
pub const VALUE_CHARACTERS: usize = 80;

/// Records of one list. Two lists of this size take half a gigabyte; a network with more persons links by year of birth.
pub const RECORDS: usize = 1_000_000;

/// Sites of one linkage.
pub const SITES: usize = 64;

/// Comparisons up to which all pairs are looked at; longer lists are blocked first.
pub const FULL_COMPARISONS: u64 = 400_000_000;

/// Comparisons that a blocked linkage may take before it gives up: filters that share their blocks in such numbers were
/// not made from persons.
pub const BLOCKED_COMPARISONS: u64 = 20_000_000_000;

/// Pairs above the threshold for every record, on average. Twins, families and repeated registrations stay far below;
/// more means that the filters do not tell persons apart, and the list of pairs must not grow without end.
pub const PAIRS_PER_RECORD: usize = 32;

/// Pairs that are always allowed, so that short lists are not measured by the average.
pub const PAIRS_ALWAYS: usize = 10_000;

/// Threads of one comparison.
pub const THREADS: usize = 64;

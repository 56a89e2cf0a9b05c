//! Bounds of data sharing, each with its reason.

/// Bytes of plaintext at which a part of a delivery is full: small enough that a node holds one in several forms in memory
/// (sealed, plain, as trees of resources), large enough that a data set of a large study has thousands of them, not millions.
pub(super) const PART_BYTES: usize = 1 << 20;

/// Bytes of a part that is accepted: a full one and the longest resource after it, below what the client reads.
pub(super) const LARGEST_PART: u64 = 48 << 20;

/// Parts that wait for being sealed while the next are made.
pub(super) const PARTS_AHEAD: usize = 2;

/// Bytes of an extraction definition: it is kept with the instance from approval to delivery, so that what is sent is what
/// was approved.
pub(super) const DEFINITION_BYTES: usize = 1 << 20;

/// Attempts at a step after which what would pass counts as failure; one below the model's retry cycle, so that the step
/// ends with a code that partners are told.
pub(super) const ATTEMPTS: u32 = 18;

/// The same where one partner of several does not answer: the others wait meanwhile.
pub(super) const PARTNER_ATTEMPTS: u32 = 8;

/// Characters of a project's identifier and of a decision.
pub(super) const TEXT: usize = 200;

/// Characters of a list that is shown to who approves.
pub(super) const SHOWN: usize = 4_000;

/// Hours that the data management site waits until the portal has taken a data set without who has withdrawn: longer than
/// repetitions of a message take, short enough that the site which has told of it learns of a failure soon.
pub(super) const REVISION_HOURS: i64 = 12;

/// Hours that the trusted third party waits for the data management site.
pub(super) const ORDER_HOURS: i64 = 24;

/// Hours that the site waits for the trusted third party.
pub(super) const NOTICE_HOURS: i64 = 36;

/// Days beyond the approvals that an answer to a re-identification is waited for.
pub(super) const ANSWER_DAYS: i64 = 1;

/// Days after which a site deletes who was found: enough to look the patient up, too few for a second list of patients.
pub(super) const IDENTITY_DAYS: i64 = 7;

/// The longest time that a deadline, a transfer or a retention may take: ten years, the longest usual retention.
pub(super) const LONGEST_DAYS: i64 = 3_660;

//! Every bound of this crate in one place, each with its reason.
//!
//! A model comes from a plug-in and an expression from a model; variables come from partners. None of them may make the
//! engine use unbounded memory, stack or time.

/// Largest BPMN file. The largest model known in the field (B.2.0 of the interchange suite, with diagram) has 300 KiB.
pub const MODEL_BYTES: usize = 8 * 1024 * 1024;

/// Nesting of XML elements. Models in the field stay below 15; recursion in the reader follows this depth.
pub const XML_DEPTH: usize = 64;

/// XML elements in one file, diagram included; bounds memory at about a hundred times a large model.
pub const XML_ELEMENTS: usize = 200_000;

/// Attributes of one XML element.
pub const XML_ATTRIBUTES: usize = 256;

/// Errors reported for one file; more would only hide the first ones.
pub const MODEL_ERRORS: usize = 200;

/// Length of one expression text in bytes.
pub const EXPRESSION_BYTES: usize = 16 * 1024;

/// Nesting of an expression (parentheses, operators, calls): the parser and evaluator recurse to this depth.
pub const EXPRESSION_DEPTH: usize = 64;

/// Nodes visited while one expression is evaluated. There are no loops in the language, so this only backs up the other two.
pub const EXPRESSION_STEPS: usize = 20_000;

/// Size of a string that an expression may build.
pub const EXPRESSION_RESULT_BYTES: usize = 1024 * 1024;

/// Operations (enter, leave, take a flow, ...) in one command. A model that loops without ever waiting ends here with an
/// error instead of hanging the engine; 10 000 multi-instance branches with a few elements each still fit.
pub const OPERATIONS_PER_COMMAND: usize = 500_000;

/// Tokens of one instance at a time.
pub const TOKENS: usize = 50_000;

/// Elements of a collection that a multi-instance activity iterates over.
pub const MULTI_INSTANCE: usize = 20_000;

/// Variable writes that one step, listener or message may bring.
pub const VARIABLE_WRITES: usize = 10_000;

/// Longest variable name in bytes.
pub const VARIABLE_NAME_BYTES: usize = 1024;

/// Furthest a timer may lie in the future: longer periods are mistakes and overflow calendars.
pub const TIMER_YEARS: i32 = 100;

/// Entries of a retry cycle and attempts in it.
pub const RETRIES: u32 = 100;

/// Missed occurrences of a timer cycle that are stepped over one by one; beyond, the cycle goes on from the present.
pub const TIMER_SKIPPED: u32 = 100_000;

/// Nesting of lists and maps in an input or output parameter; the reader recurses to this depth.
pub const PARAMETER_DEPTH: usize = 16;

/// Entries of one process's list of completed activities that could be compensated. A loop over a compensable activity
/// would otherwise grow the instance without bound.
pub const COMPENSATIONS: usize = 10_000;

/// Instances of a standard loop.
pub const LOOPS: usize = 1_000_000;

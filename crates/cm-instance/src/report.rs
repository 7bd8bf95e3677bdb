//! How a run ended.

use cm_types::Sha256Digest;
use serde::{Deserialize, Serialize};

use crate::{GuestPath, Rights};

/// Most refused accesses that a report lists; later ones are only counted.
pub const DENIED_MAX: usize = 32;

/// What is known about a run once it is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecutionReport {
    /// How it ended.
    pub outcome: Outcome,
    /// Fuel burnt, when fuel was counted.
    pub fuel: Option<u64>,
    /// How long it ran, in milliseconds.
    pub wall_ms: u64,
    /// The most linear memory it had at once, in bytes.
    pub memory_peak: u64,
    /// The first accesses that were refused, at most [`DENIED_MAX`]; a program may live with a refusal.
    #[serde(default)]
    pub denied: Vec<DeniedAccess>,
    /// How many accesses were refused in all.
    #[serde(default)]
    pub denied_count: u64,
    /// The programs that ran, when a pipeline did; the rest is about all of them together.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<StepReport>,
}

impl ExecutionReport {
    /// A report about something that ended before any instruction ran.
    pub fn before_start(outcome: Outcome) -> Self {
        Self {
            outcome,
            fuel: None,
            wall_ms: 0,
            memory_peak: 0,
            denied: Vec::new(),
            denied_count: 0,
            steps: Vec::new(),
        }
    }

    /// Adds what is known about the next program of a pipeline, whose outcome becomes that of the whole.
    pub fn add_step(&mut self, program: GuestPath, step: ExecutionReport) {
        self.outcome = step.outcome.clone();
        self.fuel = self
            .fuel
            .zip(step.fuel)
            .map(|(so_far, fuel)| so_far.saturating_add(fuel))
            .or(if self.steps.is_empty() { step.fuel } else { None });
        self.wall_ms = self.wall_ms.saturating_add(step.wall_ms);
        self.memory_peak = self.memory_peak.max(step.memory_peak);
        let room = DENIED_MAX.saturating_sub(self.denied.len());
        self.denied.extend(step.denied.into_iter().take(room));
        self.denied_count = self.denied_count.saturating_add(step.denied_count);
        let (outcome, wall_ms, memory_peak) = (step.outcome, step.wall_ms, step.memory_peak);
        self.steps.push(StepReport { program, outcome, wall_ms, memory_peak });
    }

    /// Whether the run did what it was meant to.
    pub fn succeeded(&self) -> bool {
        self.outcome == Outcome::Completed
    }
}

/// One program that a pipeline ran.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepReport {
    /// The program.
    pub program: GuestPath,
    /// How it ended.
    pub outcome: Outcome,
    /// How long it ran, in milliseconds.
    pub wall_ms: u64,
    /// The most linear memory it had at once, in bytes.
    pub memory_peak: u64,
}

/// One access that the policy did not allow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeniedAccess {
    /// The file.
    pub path: GuestPath,
    /// The rights that were missing.
    pub right: Rights,
    /// The WASI call.
    pub call: String,
}

/// The ways for a run to end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Outcome {
    /// The program returned, or exited with code 0.
    Completed,
    /// The program exited with another code.
    Exit {
        /// The code.
        code: u32,
    },
    /// The program did what WebAssembly forbids.
    Trap {
        /// Which rule it broke.
        trap: TrapKind,
        /// The engine's words for it.
        message: String,
    },
    /// The program failed after an access had been refused to it, or the caller may not execute it.
    MissingRight {
        /// The file.
        path: GuestPath,
        /// The rights that were missing.
        right: Rights,
        /// The WASI call; `execute` when the program was not started.
        call: String,
    },
    /// The program or one of its inputs is not the one that the policy names.
    HashMismatch {
        /// The file.
        path: GuestPath,
        /// What the policy says.
        expected: Sha256Digest,
        /// What was there.
        found: Sha256Digest,
    },
    /// A limit ended the run.
    LimitExceeded {
        /// Which one.
        which: Limit,
    },
    /// Somebody ended the run.
    Cancelled,
    /// There is no such program.
    NotFound,
    /// The program's bytes are no WebAssembly module that can run here.
    InvalidModule {
        /// The engine's words for it.
        message: String,
    },
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Completed => f.write_str("completed"),
            Self::Exit { code } => write!(f, "exited with code {code}"),
            Self::Trap { message, .. } => write!(f, "trapped: {message}"),
            Self::MissingRight { path, right, call } => write!(f, "{call} on {path} lacks {right}"),
            Self::HashMismatch { path, expected, found } => {
                write!(f, "{path} has the hash {found}, the policy demands {expected}")
            }
            Self::LimitExceeded { which } => write!(f, "exceeded the limit on {which}"),
            Self::Cancelled => f.write_str("cancelled"),
            Self::NotFound => f.write_str("no such program"),
            Self::InvalidModule { message } => write!(f, "not a module that can run here: {message}"),
        }
    }
}

/// What can run out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Limit {
    /// The time until the deadline, or the fuel.
    Time,
    /// Linear memory and tables.
    Memory,
    /// The bytes and entries of the file system.
    Storage,
    /// One file's size.
    Output,
}

impl std::fmt::Display for Limit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Time => "time",
            Self::Memory => "memory",
            Self::Storage => "storage",
            Self::Output => "output",
        })
    }
}

/// The rules of WebAssembly that a program can break while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TrapKind {
    /// It executed `unreachable`, as a panic does.
    Unreachable,
    /// It reached outside of its memory or a table.
    OutOfBounds,
    /// It called too deeply.
    StackOverflow,
    /// Integer division by zero, overflow, or a conversion without a result.
    Arithmetic,
    /// It called through an empty table entry, or one of another type.
    BadCall,
    /// Anything else.
    Other,
}

//! What can be said about a policy.

use crate::{FileName, GuestPath};

/// One thing that may not have been meant. What it displays is for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Suspicion {
    /// The instance may be debugged.
    Debug,
    /// Programs may read a clock.
    Clock,
    /// No limit on memory is given.
    NoMemoryLimit,
    /// Rights are given to a loader of programs, who is not needed.
    LoaderRights,
    /// Nothing says what may run the policy.
    NoMeasurement,
    /// A suite of TLS 1.2 is named.
    OldCiphersuite,
    /// A validity is over.
    Ended {
        /// What is meant, in words.
        what: String,
    },
    /// A validity ends soon.
    EndsSoon {
        /// What is meant, in words.
        what: String,
        /// Whole days that are left.
        days: u64,
    },
    /// A validity has not begun.
    NotYet {
        /// What is meant, in words.
        what: String,
    },
    /// A certificate ends before the instance does.
    EndsBeforeInstance,
    /// Two certificates name one subject.
    SameSubject {
        /// The subject.
        subject: String,
        /// The other holder, in words.
        other: String,
    },
    /// An entry holds no right.
    GrantsNothing {
        /// The file, as the policy names it.
        file: FileName,
    },
    /// An entry reaches every file that no other names.
    Everything {
        /// Who has the rights, in words.
        who: String,
    },
    /// Rights serve no request.
    NoUse {
        /// Who has the rights, in words.
        who: String,
        /// The file, as the policy names it.
        file: FileName,
    },
    /// Writing is granted without what a client needs for it.
    WriteWithoutSeek {
        /// Who has the rights, in words.
        who: String,
        /// The file, as the policy names it.
        file: FileName,
    },
    /// A file may be used and never opened.
    NeverOpened {
        /// Who has the rights, in words.
        who: String,
        /// The file, as the policy names it.
        file: FileName,
    },
    /// No program touches the file.
    Unreached {
        /// Who has the rights, in words.
        who: String,
        /// The file, as the policy names it.
        file: FileName,
    },
    /// Somebody may write what no hash vouches for.
    WithoutHash {
        /// Who has the rights, in words.
        who: String,
        /// The file, as the policy names it.
        file: FileName,
    },
    /// More than one may write a file.
    SeveralWriters {
        /// All who may, in words.
        who: Vec<String>,
        /// The file, as the policy names it.
        file: FileName,
    },
    /// Somebody may read what another provides.
    InputReadBy {
        /// Who has the rights, in words.
        who: String,
        /// Who provides it, in words.
        provider: String,
        /// The file, as the policy names it.
        file: FileName,
    },
    /// A program reads what nobody may write.
    NobodyProvides {
        /// The program, in words.
        program: String,
        /// The file, as the policy names it.
        file: FileName,
    },
    /// A program writes what nobody may read.
    NobodyReceives {
        /// The program, in words.
        program: String,
        /// The file, as the policy names it.
        file: FileName,
    },
    /// Everybody may read what a program writes.
    EverybodyReceives {
        /// The program, in words.
        program: String,
        /// The file, as the policy names it.
        file: FileName,
    },
    /// Somebody may replace a program that has no hash.
    WritesProgram {
        /// Who has the rights, in words.
        who: String,
        /// The file, as the policy names it.
        file: FileName,
    },
    /// Nobody may start it.
    NobodyExecutes {
        /// What is meant, in words.
        what: String,
    },
    /// A pipeline asks for a file that it may not see.
    CannotAsk {
        /// The path.
        path: GuestPath,
    },
    /// A pipeline names a program that it may not execute.
    CannotExecute {
        /// The program.
        program: GuestPath,
    },
}

impl Suspicion {
    /// A word for it that does not change, for scripts.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Clock => "clock",
            Self::NoMemoryLimit => "no-memory-limit",
            Self::LoaderRights => "loader-rights",
            Self::NoMeasurement => "no-measurement",
            Self::OldCiphersuite => "old-ciphersuite",
            Self::Ended { .. } => "expired",
            Self::EndsSoon { .. } => "expires-soon",
            Self::NotYet { .. } => "not-yet-valid",
            Self::EndsBeforeInstance => "expires-before-instance",
            Self::SameSubject { .. } => "same-subject",
            Self::GrantsNothing { .. } => "grants-nothing",
            Self::Everything { .. } => "every-file",
            Self::NoUse { .. } => "no-use",
            Self::WriteWithoutSeek { .. } => "write-without-seek",
            Self::NeverOpened { .. } => "never-opened",
            Self::Unreached { .. } => "unreached",
            Self::WithoutHash { .. } => "write-without-hash",
            Self::SeveralWriters { .. } => "several-writers",
            Self::InputReadBy { .. } => "input-readable",
            Self::NobodyProvides { .. } => "nobody-provides",
            Self::NobodyReceives { .. } => "nobody-receives",
            Self::EverybodyReceives { .. } => "everybody-receives",
            Self::WritesProgram { .. } => "writes-program",
            Self::NobodyExecutes { .. } => "nobody-executes",
            Self::CannotAsk { .. } => "cannot-ask",
            Self::CannotExecute { .. } => "cannot-execute",
        }
    }
}

impl std::fmt::Display for Suspicion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Debug => f.write_str("the instance may be debugged: reports tell names that only programs know"),
            Self::Clock => f.write_str("programs may read a clock, by which they can measure each other and tell the time to others"),
            Self::NoMemoryLimit => f.write_str("no limit on memory is given; each program gets the default"),
            Self::LoaderRights => f.write_str("these rights of whoever loads programs grant nothing here: instances are given programs by their hashes"),
            Self::NoMeasurement => f.write_str("no measurement is given: nobody can tell from the policy what runs it"),
            Self::OldCiphersuite => f.write_str("the name of a suite of TLS 1.2: read as the suite of TLS 1.3 with the same cipher unless TLS 1.2 was asked for"),
            Self::Ended { what } => write!(f, "{what} has ended"),
            Self::EndsSoon { what, days } => write!(f, "{what} ends in {days} days"),
            Self::NotYet { what } => write!(f, "{what} does not hold yet"),
            Self::EndsBeforeInstance => f.write_str("the certificate ends before the instance does"),
            Self::SameSubject { subject, other } => {
                write!(f, "names the same subject as {other}: {subject}; only their bytes tell them apart")
            }
            Self::GrantsNothing { file } => write!(f, "grants nothing on {file}"),
            Self::Everything { who } => write!(f, "{who} has rights on every file that no other entry names"),
            Self::NoUse { who, file } => {
                write!(f, "the rights of {who} on {file} serve no request: they neither read, write nor execute")
            }
            Self::WriteWithoutSeek { who, file } => {
                write!(f, "{who} cannot write {file}: a client needs FD_SEEK besides FD_WRITE")
            }
            Self::NeverOpened { who, file } => {
                write!(f, "{who} cannot open {file}: it lacks PATH_OPEN, so that its other rights serve nothing")
            }
            Self::Unreached { who, file } => write!(f, "{who} has rights on {file}, which no program reads or writes"),
            Self::WithoutHash { who, file } => {
                write!(f, "{who} may write {file} and no hash says which bytes: the programs get what {who} sends")
            }
            Self::SeveralWriters { who, file } => {
                write!(f, "{} may all write {file}, and the last one decides", who.join(", "))
            }
            Self::InputReadBy { who, provider, file } => {
                write!(f, "{who} may read {file}, which {provider} provides")
            }
            Self::NobodyProvides { program, file } => {
                write!(f, "{program} reads {file}, which nobody may write and which comes with no function")
            }
            Self::NobodyReceives { program, file } => write!(f, "{program} writes {file}, which nobody may read"),
            Self::EverybodyReceives { program, file } => {
                write!(f, "{program} writes {file}, which every identity may read")
            }
            Self::WritesProgram { who, file } => {
                write!(f, "{who} may write the program {file}; it then runs no more unless it has its hash")
            }
            Self::NobodyExecutes { what } => write!(f, "no identity may execute {what}"),
            Self::CannotAsk { path } => {
                write!(f, "the pipeline asks whether {path} exists and has no right to know, so it fails there")
            }
            Self::CannotExecute { program } => {
                write!(f, "the pipeline lacks FILE_EXECUTE on {program}, so nobody can start it")
            }
        }
    }
}

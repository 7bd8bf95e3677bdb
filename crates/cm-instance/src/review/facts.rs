//! The four documents seen alike.

use cm_types::Timestamp;

use super::Ability;
use crate::policy::{
    Certificate, Ciphersuite, FileRight, Identity, PipelineEntry, PolicyDocument, Program, StreamEntry,
};
use crate::{FileName, Rights};

/// Somebody who has rights.
pub(super) struct Holder<'a> {
    /// As it is called in sentences.
    pub(super) who: String,
    /// Where its rights are in the document.
    pub(super) path: String,
    pub(super) rights: &'a [FileRight],
}

impl Holder<'_> {
    /// Whether it has one of these rights on something that the name means too.
    pub(super) fn has(&self, wanted: Rights, file: &FileName) -> bool {
        self.rights.iter().any(|right| right.rights.intersects(wanted) && right.file_name.overlaps(file))
    }
}

/// What a document says; what it does not say is empty.
pub(super) struct Facts<'a> {
    pub(super) identities: Vec<Holder<'a>>,
    pub(super) certificates: Vec<(String, &'a Certificate)>,
    pub(super) programs: Vec<Holder<'a>>,
    pub(super) program_files: Vec<&'a FileName>,
    pub(super) pipelines: &'a [PipelineEntry],
    /// Files whose bytes are fixed, programs left out.
    pub(super) pinned: Vec<&'a FileName>,
    pub(super) streams: Vec<&'a FileRight>,
    /// Whether the document says who may speak to an instance.
    pub(super) has_identities: bool,
    /// Whether the document says what runs.
    pub(super) has_programs: bool,
    pub(super) debug: bool,
    pub(super) enable_clock: bool,
    pub(super) max_memory_mib: Option<u32>,
    pub(super) ciphersuite: Option<Ciphersuite>,
    pub(super) expiry: Option<Timestamp>,
}

impl<'a> Facts<'a> {
    pub(super) fn of(document: &'a PolicyDocument) -> Self {
        match document {
            PolicyDocument::Program(policy) => Self {
                pipelines: &policy.pipelines,
                pinned: policy.data_files.iter().map(|file| &file.data_file).collect(),
                debug: policy.debug.unwrap_or(false),
                enable_clock: policy.enable_clock.unwrap_or(false),
                max_memory_mib: policy.max_memory_mib,
                ..Self::blank().with_programs(&policy.programs)
            },
            PolicyDocument::User(policy) => {
                let entries = policy.identities.iter().map(|entry| (&entry.certificate, &entry.file_rights));
                Self::blank().with_identities(entries.zip(0..))
            }
            PolicyDocument::Vaas(policy) => Self {
                pipelines: &policy.pipelines,
                pinned: policy.file_hashes.iter().map(|hash| &hash.file_path).collect(),
                debug: policy.debug,
                enable_clock: policy.enable_clock,
                max_memory_mib: policy.max_memory_mib,
                ciphersuite: Some(policy.ciphersuite),
                expiry: policy.enclave_cert_expiry.map(|expiry| expiry.to_timestamp()),
                ..Self::blank().with_programs(&policy.programs).with_identities(numbered(&policy.identities))
            },
            PolicyDocument::Full(policy) => Self {
                pipelines: &policy.pipelines,
                pinned: policy.file_hashes.iter().map(|hash| &hash.file_path).collect(),
                streams: policy.std_streams_table.iter().map(StreamEntry::file_right).collect(),
                debug: policy.debug,
                enable_clock: policy.enable_clock,
                max_memory_mib: policy.max_memory_mib,
                ciphersuite: Some(policy.ciphersuite),
                expiry: Some(policy.enclave_cert_expiry.to_timestamp()),
                ..Self::blank().with_programs(&policy.programs).with_identities(numbered(&policy.identities))
            },
        }
    }

    fn blank() -> Self {
        Self {
            identities: Vec::new(),
            certificates: Vec::new(),
            programs: Vec::new(),
            program_files: Vec::new(),
            pipelines: &[],
            pinned: Vec::new(),
            streams: Vec::new(),
            has_identities: false,
            has_programs: false,
            debug: false,
            enable_clock: false,
            max_memory_mib: None,
            ciphersuite: None,
            expiry: None,
        }
    }

    fn with_programs(mut self, programs: &'a [Program]) -> Self {
        self.has_programs = true;
        self.program_files = programs.iter().map(|program| &program.program_file_name).collect();
        let holder = |(at, program): (usize, &'a Program)| Holder {
            who: format!("program {}", program.program_file_name),
            path: format!("programs[{at}].file_rights"),
            rights: &program.file_rights,
        };
        self.programs = programs.iter().enumerate().map(holder).collect();
        self
    }

    fn with_identities(
        mut self,
        identities: impl Iterator<Item = ((&'a Certificate, &'a Vec<FileRight>), u64)>,
    ) -> Self {
        self.has_identities = true;
        for (at, ((certificate, rights), id)) in identities.enumerate() {
            self.certificates.push((format!("identities[{at}].certificate"), certificate));
            let (who, path) = (format!("identity {id}"), format!("identities[{at}].file_rights"));
            self.identities.push(Holder { who, path, rights });
        }
        self
    }

    pub(super) fn pipeline_holders(&self) -> Vec<Holder<'a>> {
        let holder = |(at, entry): (usize, &'a PipelineEntry)| Holder {
            who: format!("pipeline {}", entry.name),
            path: format!("pipelines[{at}].file_rights"),
            rights: &entry.file_rights,
        };
        self.pipelines.iter().enumerate().map(holder).collect()
    }

    /// Whether the name is that of a standard stream.
    pub(super) fn is_stream(&self, file: &FileName) -> bool {
        let standard = ["/stdin", "/stdout", "/stderr"].contains(&file.path().as_str());
        standard || self.streams.iter().any(|stream| stream.file_name == *file)
    }

    /// Whether any right of the document is the one to execute, which then decides.
    pub(super) fn knows_execute(&self) -> bool {
        let pipelines = self.pipeline_holders();
        let mut all = self.identities.iter().chain(&self.programs).chain(&pipelines);
        all.any(|holder| holder.rights.iter().any(|right| right.rights.contains(Rights::FILE_EXECUTE)))
    }

    /// Whether an identity may execute a program, as [`crate::RightsTable::may_execute`] has it.
    pub(super) fn may_execute(&self, identity: &Holder<'_>, program: usize) -> bool {
        if self.knows_execute() {
            return identity.has(Rights::FILE_EXECUTE, self.program_files[program]);
        }
        let written = self.programs[program].rights.iter().map(|right| (&right.file_name, right.rights));
        let streams = self.streams.iter().map(|right| (&right.file_name, right.rights));
        let mut written = written.chain(streams).filter(|(_, rights)| rights.contains(Rights::FD_WRITE));
        written.any(|(file, _)| identity.has(Rights::FD_READ, file))
    }

    /// Everybody's rights, in the order of the document.
    pub(super) fn abilities(&self) -> Vec<Ability> {
        let mut abilities = Vec::new();
        let pipelines = self.pipeline_holders();
        for (at, holder) in self.identities.iter().enumerate() {
            let subject = cm_crypto::cert::subject(self.certificates[at].1.der()).unwrap_or_default();
            let who =
                if subject.is_empty() { holder.who.clone() } else { format!("{} ({subject})", holder.who) };
            add(&mut abilities, &who, holder.rights.iter());
        }
        for holder in self.programs.iter().chain(&pipelines) {
            add(&mut abilities, &holder.who, holder.rights.iter());
        }
        add(&mut abilities, "every program", self.streams.iter().copied());
        abilities
    }
}

fn add<'a>(abilities: &mut Vec<Ability>, who: &str, rights: impl Iterator<Item = &'a FileRight>) {
    abilities.extend(rights.map(|right| Ability {
        who: who.to_owned(),
        file: right.file_name.to_string(),
        rights: right.rights,
    }));
}

fn numbered(identities: &[Identity]) -> impl Iterator<Item = ((&Certificate, &Vec<FileRight>), u64)> {
    identities.iter().map(|identity| ((&identity.certificate, &identity.file_rights), identity.id))
}

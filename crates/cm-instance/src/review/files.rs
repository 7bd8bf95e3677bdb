//! Files: what comes from whom and goes to whom.

use super::facts::{Facts, Holder};
use super::{Findings, Suspicion};
use crate::policy::FileRight;
use crate::{FileName, Rights};

pub(super) fn review(facts: &Facts<'_>, findings: &mut Findings) {
    for identity in &facts.identities {
        for (at, right) in identity.rights.iter().enumerate() {
            entry(identity, right, &format!("{}[{at}]", identity.path), findings);
            of_identity(facts, identity, right, &format!("{}[{at}]", identity.path), findings);
        }
    }
    for (number, program) in facts.programs.iter().enumerate() {
        for (at, right) in program.rights.iter().enumerate() {
            entry(program, right, &format!("{}[{at}]", program.path), findings);
            of_program(facts, number, right, &format!("{}[{at}]", program.path), findings);
        }
        let piped = |entry: &crate::policy::PipelineEntry| {
            entry.pipeline.programs().contains(&facts.program_files[number].path())
        };
        let executed = facts.identities.iter().any(|identity| facts.may_execute(identity, number));
        if facts.has_identities && !executed && !facts.pipelines.iter().any(piped) {
            let what = program.who.clone();
            findings.warn(format!("programs[{number}]"), Suspicion::NobodyExecutes { what });
        }
    }
    inputs(facts, findings);
}

/// What holds for every list of rights.
fn entry(holder: &Holder<'_>, right: &FileRight, path: &str, findings: &mut Findings) {
    if right.rights.is_empty() {
        findings.warn(path, Suspicion::GrantsNothing { file: right.file_name.clone() });
    } else if right.file_name.path().is_root() && right.file_name.is_subtree() {
        findings.warn(path, Suspicion::Everything { who: holder.who.clone() });
    }
}

fn of_identity(
    facts: &Facts<'_>,
    identity: &Holder<'_>,
    right: &FileRight,
    path: &str,
    findings: &mut Findings,
) {
    let (who, file) = (identity.who.clone(), right.file_name.clone());
    if right.rights.is_empty() {
        return;
    }
    let writes = right.rights.contains(Rights::FD_WRITE);
    if !right.rights.intersects(Rights::FD_READ | Rights::FD_WRITE | Rights::FILE_EXECUTE) {
        findings.warn(path, Suspicion::NoUse { who, file });
        return;
    }
    if writes && !right.rights.contains(Rights::FD_SEEK) {
        findings.warn(path, Suspicion::WriteWithoutSeek { who, file });
        return;
    }
    if !facts.has_programs {
        return;
    }
    let is_program = facts.program_files.iter().any(|program| program.overlaps(&file));
    let is_pinned = facts.pinned.iter().any(|pinned| pinned.overlaps(&file));
    let used = facts.programs.iter().any(|program| program.has(Rights::ALL, &file))
        || facts
            .pipelines
            .iter()
            .flat_map(|entry| entry.pipeline.conditions())
            .any(|asked| asked == file.path() || (file.is_subtree() && file.path().covers(asked)));
    if !is_program && !is_pinned && !used && !facts.is_stream(&file) {
        findings.warn(path, Suspicion::Unreached { who, file });
    } else if writes && !is_program && !is_pinned {
        findings.note(path, Suspicion::WithoutHash { who, file });
    }
}

fn of_program(facts: &Facts<'_>, number: usize, right: &FileRight, path: &str, findings: &mut Findings) {
    let own = &facts.programs[number];
    let (program, file) = (own.who.clone(), right.file_name.clone());
    if right.rights.is_empty() {
        return;
    }
    if right.rights.contains(Rights::FD_WRITE)
        && facts.program_files.iter().any(|other| other.overlaps(&file))
    {
        findings.warn(path, Suspicion::WritesProgram { who: program, file });
        return;
    }
    if facts.is_stream(&file) {
        return;
    }
    if !right.rights.contains(Rights::PATH_OPEN) {
        findings.warn(path, Suspicion::NeverOpened { who: program, file });
        return;
    }
    if !facts.has_identities {
        return;
    }
    let (reads, writes) = (right.rights.contains(Rights::FD_READ), right.rights.contains(Rights::FD_WRITE));
    let others = || facts.programs.iter().enumerate().filter(|(at, _)| *at != number).map(|(_, other)| other);
    let somebody = |wanted| {
        facts.identities.iter().any(|identity| identity.has(wanted, &file))
            || others().any(|other| other.has(wanted, &file))
    };
    // What a program both reads and writes is its own affair.
    if reads && !writes && !somebody(Rights::FD_WRITE) && !comes_along(facts, &file) {
        findings.warn(path, Suspicion::NobodyProvides { program: program.clone(), file: file.clone() });
    }
    if writes && !reads && !somebody(Rights::FD_READ) {
        findings.warn(path, Suspicion::NobodyReceives { program: program.clone(), file: file.clone() });
    }
    let everybody = facts.identities.iter().all(|identity| identity.has(Rights::FD_READ, &file));
    if writes && facts.identities.len() > 1 && everybody {
        findings.warn(path, Suspicion::EverybodyReceives { program, file });
    }
}

/// Whether the file, or one below it, comes with the function.
fn comes_along(facts: &Facts<'_>, file: &FileName) -> bool {
    facts.pinned.iter().chain(&facts.program_files).any(|known| known.overlaps(file))
}

/// Inputs that several provide, or that others than their providers read.
fn inputs(facts: &Facts<'_>, findings: &mut Findings) {
    let mut seen: Vec<&FileName> = Vec::new();
    for program in &facts.programs {
        for right in program.rights.iter().filter(|right| right.rights.contains(Rights::FD_READ)) {
            let file = &right.file_name;
            let written = facts.programs.iter().any(|other| other.has(Rights::FD_WRITE, file));
            if seen.contains(&file) || written || comes_along(facts, file) {
                continue;
            }
            seen.push(file);
            let writes = |identity: &&Holder<'_>| identity.has(Rights::FD_WRITE, file);
            let providers: Vec<&Holder<'_>> = facts.identities.iter().filter(writes).collect();
            if providers.len() > 1 {
                let who = providers.iter().map(|provider| provider.who.clone()).collect();
                findings.note("identities", Suspicion::SeveralWriters { who, file: file.clone() });
            }
            for reader in facts.identities.iter().filter(|identity| identity.has(Rights::FD_READ, file)) {
                if let Some(provider) = providers.iter().find(|provider| provider.who != reader.who) {
                    let (who, provider) = (reader.who.clone(), provider.who.clone());
                    let suspicion = Suspicion::InputReadBy { who, provider, file: file.clone() };
                    findings.warn(&reader.path, suspicion);
                }
            }
        }
    }
}

//! Pipelines: whether they can begin, and get to their end.

use super::facts::Facts;
use super::{Findings, Suspicion};
use crate::{GuestPath, Rights};

pub(super) fn review(facts: &Facts<'_>, findings: &mut Findings) {
    let number = |program: &GuestPath| facts.program_files.iter().position(|file| file.path() == program);
    for (at, entry) in facts.pipelines.iter().enumerate() {
        let grants: crate::Grants =
            entry.file_rights.iter().map(|right| (&right.file_name, right.rights)).collect();
        let telling = Rights::PATH_OPEN | Rights::PATH_FILESTAT_GET | Rights::FD_READ;
        for asked in entry.pipeline.conditions() {
            if !grants.rights_on(asked).intersects(telling) {
                let suspicion = Suspicion::CannotAsk { path: asked.clone() };
                findings.warn(format!("pipelines[{at}].file_rights"), suspicion);
            }
        }
        let programs = entry.pipeline.programs();
        if facts.knows_execute() {
            for program in &programs {
                if !grants.rights_on(program).contains(Rights::FILE_EXECUTE) {
                    let suspicion = Suspicion::CannotExecute { program: (*program).clone() };
                    findings.warn(format!("pipelines[{at}].file_rights"), suspicion);
                }
            }
        }
        let all = |identity: &super::facts::Holder<'_>| {
            programs
                .iter()
                .all(|program| number(program).is_some_and(|number| facts.may_execute(identity, number)))
        };
        if facts.has_identities && !facts.identities.iter().any(all) {
            let what = format!("every program of pipeline {}", entry.name);
            findings.warn(format!("pipelines[{at}]"), Suspicion::NobodyExecutes { what });
        }
        for (index, right) in entry.file_rights.iter().enumerate() {
            if right.rights.is_empty() {
                let suspicion = Suspicion::GrantsNothing { file: right.file_name.clone() };
                findings.warn(format!("pipelines[{at}].file_rights[{index}]"), suspicion);
            }
        }
    }
}

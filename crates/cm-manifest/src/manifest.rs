//! A file as a whole.

use std::collections::{BTreeMap, HashSet};

use cm_types::{ResourceId, ResourceKind};

use crate::declared::Declared;
use crate::position::Position;
use crate::problem::{Problem, Problems, Reason, Refused};
use crate::reader::Reader;
use crate::{links, tree};

/// Longest file that is read, in bytes: 4 MiB.
pub const FILE_LEN_MAX: usize = 4 * 1024 * 1024;

/// Where the fields of one resource stand, by path (`spec.resources.cpu`, `labels.env`).
pub(crate) type Places = BTreeMap<String, Position>;

/// What a file declares.
#[derive(Clone, Debug)]
pub struct Manifest {
    resources: Vec<Declared>,
    places: Vec<Places>,
    /// Roles that embedded policies name.
    named_roles: Vec<(ResourceId, Position)>,
    warnings: Vec<Problem>,
}

impl Manifest {
    /// Reads a file of at most [`FILE_LEN_MAX`] bytes. An empty one declares nothing.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with the file. Behind an error of YAML itself nothing can be judged.
    pub fn parse(bytes: &[u8]) -> Result<Self, Refused> {
        let mut problems = Problems::default();
        let text = text_of(bytes, &mut problems);
        let documents = tree::documents(text, &mut problems);
        let mut reader = Reader::new(problems);
        for document in &documents {
            reader.document(document);
        }
        let (read, mut problems) = reader.finish();
        let mut resources = read.resources;
        let mut places = read.places;
        let mut warnings = read.warnings;
        links::apply(&read.listed, &mut resources, &mut places, &mut problems, &mut warnings);
        if !problems.is_empty() {
            let (problems, omitted) = problems.finish();
            return Err(Refused { problems, omitted });
        }
        Ok(Self { resources, places, named_roles: read.named_roles, warnings: warnings.finish().0 })
    }

    /// What is declared, in the order of the file; a parent comes before what is nested in it.
    pub fn resources(&self) -> &[Declared] {
        &self.resources
    }

    /// Takes over what is declared.
    pub fn into_resources(self) -> Vec<Declared> {
        self.resources
    }

    /// What was read but has no effect, by position: at most [`crate::PROBLEMS_MAX`].
    pub fn warnings(&self) -> &[Problem] {
        &self.warnings
    }

    /// Where a field of the resource at `index` of [`Manifest::resources`] stands: `id`, `name`, `labels.env`,
    /// `spec.resources.cpu`, `spec.roles[1]`; `spec.` may be left out. For what does not stand in the file, the
    /// nearest part around it. `None` when there is no such resource.
    pub fn locate(&self, index: usize, path: &str) -> Option<Position> {
        let places = self.places.get(index)?;
        let found = nearest_place(places, path).or_else(|| nearest_place(places, &format!("spec.{path}")));
        Some(found.unwrap_or_else(|| self.resources[index].at))
    }

    /// The roles that policies embedded in other resources name although the file does not declare them, each once,
    /// where it is first named.
    pub fn undeclared_roles(&self) -> Vec<(ResourceId, Position)> {
        let roles = self.resources.iter().filter(|resource| resource.kind == ResourceKind::Role);
        let mut known: HashSet<&str> = roles.map(|role| role.id.as_str()).collect();
        let mut named: Vec<_> = self.named_roles.iter().collect();
        named.sort_by_key(|(_, at)| *at);
        named.into_iter().filter(|(role, _)| known.insert(role.as_str())).cloned().collect()
    }
}

/// The text of a file; what precedes an error when it is none.
fn text_of<'b>(bytes: &'b [u8], problems: &mut Problems) -> &'b str {
    if bytes.len() > FILE_LEN_MAX {
        problems.add(Position::START, Reason::TooLong { max: FILE_LEN_MAX });
        return "";
    }
    std::str::from_utf8(bytes).unwrap_or_else(|error| {
        let valid = std::str::from_utf8(&bytes[..error.valid_up_to()]).expect("valid up to there");
        let line_start = valid.rfind('\n').map_or(0, |at| at + 1);
        let line = valid.matches('\n').count() + 1;
        let column = valid[line_start..].chars().count() + 1;
        problems.add(Position { line, column }, Reason::Encoding);
        ""
    })
}

/// The place of the path, or of its longest beginning that has one.
fn nearest_place(places: &Places, path: &str) -> Option<Position> {
    let mut path = path;
    loop {
        if let Some(at) = places.get(path) {
            return Some(*at);
        }
        path = &path[..path.rfind(['.', '['])?];
    }
}

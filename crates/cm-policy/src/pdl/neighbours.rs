//! Which statements can speak of the same request as another, found without looking at every pair.

use std::collections::HashMap;

use super::glob::{Glob, reaches};
use super::syntax::{Document, Rule, Who};

/// The statements of a document by whom they are for, and by what the names begin with that they speak of.
pub(super) struct Neighbours<'a> {
    document: &'a Document,
    by_who: HashMap<&'a Who, Vec<usize>>,
    /// Under `None` those that may speak of names with any beginning.
    by_head: HashMap<Option<&'a str>, Vec<usize>>,
}

impl<'a> Neighbours<'a> {
    pub(super) fn new(document: &'a Document) -> Self {
        let (mut by_who, mut by_head) = (HashMap::<_, Vec<usize>>::new(), HashMap::<_, Vec<usize>>::new());
        for (place, statement) in document.statements.iter().enumerate() {
            for who in &statement.rule.who {
                by_who.entry(who).or_default().push(place);
            }
            for head in heads(&statement.rule) {
                by_head.entry(head).or_default().push(place);
            }
        }
        Self { document, by_who, by_head }
    }

    /// The places of all statements but this that may speak of what this one speaks of, in their order.
    pub(super) fn of(&self, place: usize) -> Vec<usize> {
        let rule = &self.document.statements[place].rule;
        let is_for_many = rule.who.iter().any(|who| matches!(who, Who::Anyone | Who::Authenticated));
        let many = [&Who::Anyone, &Who::Authenticated];
        let by_who = (!is_for_many).then(|| union(&self.by_who, rule.who.iter().chain(many)));
        let is_of_any = heads(rule).any(|head| head.is_none());
        let by_head = (!is_of_any).then(|| union(&self.by_head, heads(rule).chain([None])));
        let mut found = match (by_who, by_head) {
            (Some(one), Some(other)) if one.len() <= other.len() => one,
            (_, Some(found)) | (Some(found), None) => found,
            (None, None) => (0..self.document.statements.len()).collect(),
        };
        found.sort_unstable();
        found.dedup();
        found.retain(|other| *other != place);
        found
    }
}

/// What the names begin with that a rule speaks of; `None` where they may begin with anything.
fn heads(rule: &Rule) -> impl Iterator<Item = Option<&str>> {
    rule.what.iter().flat_map(reaches).map(|reach| Glob::head(reach.pattern))
}

fn union<K: std::hash::Hash + Eq>(
    lists: &HashMap<K, Vec<usize>>,
    keys: impl Iterator<Item = K>,
) -> Vec<usize> {
    keys.filter_map(|key| lists.get(&key)).flatten().copied().collect()
}

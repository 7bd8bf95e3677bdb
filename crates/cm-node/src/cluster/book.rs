//! Who the members are, by the newest that is known.
//!
//! Usually that is what this node's own log says. A node that was away lacks what happened meanwhile, and whoever leads now may be
//! somebody of whom it has never heard: so it asks those whom it knows. What they say counts for as long as their log is ahead of
//! this node's own.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use cm_net::{Contact, Directory};
use cm_quorum::{Index, MemberId, Members, Status, Term};
use cm_types::PeerId;
use tokio::sync::watch;

use super::{from_text, peer_of};

/// How far a log is, as elections compare them.
type Extent = (Term, Index);

/// Members, and how far the log is that says so.
#[derive(Clone, Debug, Default)]
struct Known {
    extent: Extent,
    members: BTreeMap<MemberId, Contact>,
}

/// The members that this node knows of. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Book(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    pages: Mutex<Pages>,
    directory: watch::Sender<Arc<Directory>>,
}

#[derive(Debug, Default)]
struct Pages {
    own: Known,
    told: Known,
}

impl Book {
    /// With the members that were known last.
    pub(super) fn new(members: &[(MemberId, Contact)]) -> Self {
        let own = Known { extent: (0, 0), members: members.iter().cloned().collect() };
        let book = Self(Arc::new(Inner {
            pages: Mutex::new(Pages { own, told: Known::default() }),
            directory: watch::Sender::default(),
        }));
        book.publish();
        book
    }

    /// The members with their contacts, as links want them.
    pub(super) fn directory(&self) -> watch::Receiver<Arc<Directory>> {
        self.0.directory.subscribe()
    }

    /// This node's own log says so.
    pub(super) fn learn(&self, status: &Status) {
        let members = contacts(&status.members);
        // A log that has not begun names nobody; what is known from elsewhere is better.
        if members.is_empty() {
            return;
        }
        self.pages().own = Known { extent: (status.term, status.last), members };
        self.publish();
    }

    /// A member's log says so.
    pub(super) fn hear(&self, extent: Extent, members: BTreeMap<MemberId, Contact>) {
        let newer = {
            let mut pages = self.pages();
            let newer = extent > pages.own.extent && extent > pages.told.extent && !members.is_empty();
            if newer {
                pages.told = Known { extent, members };
            }
            newer
        };
        if newer {
            self.publish();
        }
    }

    fn pages(&self) -> std::sync::MutexGuard<'_, Pages> {
        self.0.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self) {
        let (own, all) = {
            let pages = self.pages();
            let own = pages.own.members.clone();
            let mut all = own.clone();
            if pages.told.extent > pages.own.extent {
                all.extend(pages.told.members.clone());
            }
            (own, all)
        };
        let directory = |members: BTreeMap<MemberId, Contact>| {
            let named: Vec<(PeerId, Contact)> =
                members.into_iter().map(|(id, contact)| (peer_of(id), contact)).collect();
            Directory::new(named)
        };
        match directory(all).or_else(|_| directory(own)) {
            Ok(directory) => {
                self.0.directory.send_if_modified(|known| {
                    let changed = **known != directory;
                    *known = Arc::new(directory);
                    changed
                });
            }
            Err(error) => tracing::error!(%error, "members of the network cannot be reached"),
        }
    }
}

/// The members whose contacts can be used.
pub(super) fn contacts(members: &Members) -> BTreeMap<MemberId, Contact> {
    members.iter().filter_map(|(id, member)| Some((id, from_text(&member.contact)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contact(at: u8) -> Contact {
        let key = cm_net::PeerKey(cm_types::Sha256Digest::from_bytes([at; 32]));
        Contact { key, address: format!("host-{at}:7070") }
    }

    fn status(last: Index, ids: &[u8]) -> Status {
        let members = ids.iter().fold(Members::new(), |members, id| {
            members.with_voter(MemberId((*id).into()), &super::super::to_text(&contact(*id)))
        });
        Status { leader: None, term: 1, last, commit: last, applied: last, version: last, members }
    }

    fn names(book: &Book) -> usize {
        book.directory().borrow().contacts().len()
    }

    #[test]
    fn what_others_say_counts_while_they_are_ahead() {
        let book = Book::new(&[(MemberId(1), contact(1)), (MemberId(2), contact(2))]);
        assert_eq!(names(&book), 2);
        book.hear((1, 9), [(MemberId(3), contact(3))].into());
        assert_eq!(names(&book), 3, "those who are known are not forgotten for it");
        book.learn(&status(5, &[1, 2]));
        assert_eq!(names(&book), 3, "its own log is still behind");
        book.learn(&status(9, &[1, 3]));
        assert_eq!(names(&book), 2);
        book.hear((1, 8), [(MemberId(4), contact(4))].into());
        assert_eq!(names(&book), 2, "who is behind is not believed");
        book.hear((1, 12), [(MemberId(5), contact(1))].into());
        assert_eq!(names(&book), 2, "a key is one member's");
    }
}

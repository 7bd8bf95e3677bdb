//! Answers that go wrong, where a test wants them to.

use std::sync::{Arc, Mutex};

use super::suite::Fault;

/// What shall go wrong.
#[derive(Clone, Default)]
pub(super) struct Faults(Arc<Mutex<Option<(String, Fault)>>>);

impl Faults {
    /// The next request of this kind goes wrong, such as `POST pods`.
    pub(super) fn set(&self, request: &str, fault: Fault) {
        *self.0.lock().unwrap() = Some((request.to_owned(), fault));
    }

    /// Whether the fault has happened.
    pub(super) fn is_spent(&self) -> bool {
        self.0.lock().unwrap().is_none()
    }

    /// What shall go wrong with a request. It happens once.
    pub(super) fn take(&self, request: &str) -> Option<Fault> {
        let mut set = self.0.lock().unwrap();
        let fault = set.as_ref().filter(|(wanted, _)| wanted == request).map(|(_, fault)| *fault);
        if fault.is_some() {
            *set = None;
        }
        fault
    }
}

//! Who may write at once: so many in all, and no one of them in the place of everybody else.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use cm_policy::{ActionKind, Permit};
use cm_types::{PrincipalId, TenantId};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::ObjectError;

/// Places for those who write.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    all: Arc<Semaphore>,
    max: usize,
    taken: Arc<Mutex<HashMap<Writer, usize>>>,
}

/// Whom places are counted for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Writer {
    Tenant(TenantId),
    Principal(TenantId, Option<PrincipalId>),
}

/// One of the places, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    places: Places,
    writers: [Writer; 2],
    _one: OwnedSemaphorePermit,
}

impl Places {
    pub(crate) fn new(max: usize) -> Self {
        Self { all: Arc::new(Semaphore::new(max)), max, taken: Arc::default() }
    }

    /// Takes a place, if there is one and neither the principal has half of them nor its tenant three quarters.
    ///
    /// # Errors
    /// [`ObjectError::Busy`].
    pub(crate) fn take<A: ActionKind>(&self, permit: &Permit<A>) -> Result<Place, ObjectError> {
        let (tenant, principal) = (permit.tenant().clone(), permit.principal().cloned());
        let writers = [Writer::Tenant(tenant.clone()), Writer::Principal(tenant, principal)];
        let _one = self.all.clone().try_acquire_owned().map_err(|_| ObjectError::Busy)?;
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let has = |writer: &Writer| taken.get(writer).copied().unwrap_or_default();
        if writers.iter().any(|writer| has(writer) >= self.share(writer)) {
            return Err(ObjectError::Busy);
        }
        for writer in &writers {
            *taken.entry(writer.clone()).or_default() += 1;
        }
        Ok(Place { places: self.clone(), writers, _one })
    }

    fn share(&self, writer: &Writer) -> usize {
        match writer {
            Writer::Tenant(_) => (self.max * 3).div_ceil(4),
            Writer::Principal(..) => self.max.div_ceil(2),
        }
    }

    /// How many are free.
    #[cfg(test)]
    pub(crate) fn free(&self) -> usize {
        self.all.available_permits()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        for writer in &self.writers {
            match taken.get_mut(writer) {
                Some(count) if *count > 1 => *count -= 1,
                _ => _ = taken.remove(writer),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use cm_policy::Update;

    use super::*;
    use crate::tests::permit;

    #[test]
    fn one_principal_leaves_half_of_the_places_to_others() {
        let places = Places::new(8);
        let one = permit::<Update>("scans", "k");
        let held: Vec<Place> = (0..4).map(|_| places.take(&one).unwrap()).collect();
        assert!(matches!(places.take(&one), Err(ObjectError::Busy)));
        assert_eq!(places.free(), 4, "what was refused took nothing");
        drop(held);
        assert!(places.take(&one).is_ok() && places.taken.lock().unwrap().is_empty());
        let single = Places::new(1);
        let place = single.take(&one).unwrap();
        assert!(single.take(&one).is_err());
        drop(place);
        assert!(single.take(&one).is_ok());
    }
}

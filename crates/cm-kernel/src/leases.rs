//! Claims that end by themselves: work of which only one node may do it.
//!
//! A lease is a row in the catalogue's database, taken in a transaction, so that of all nodes one holds it. It ends at a
//! time on the wall clock unless its holder renews it; nodes whose clocks differ by nearly as much as leases last would
//! take them from each other, so leases should last many times longer than clocks differ. Whoever holds a lease must
//! stop before it ends. Where that cannot be promised, its **token** helps: it rises with every change of hands, so that what
//! it guards can refuse an older one.

use std::sync::Arc;
use std::time::Duration;

use cm_db::{Db, DbError, Direction, KeyRange, ReadTx, Row, Table, WriteTx};
use cm_runtime::Clock;
use cm_types::Timestamp;
use serde::{Deserialize, Serialize};

use crate::KernelError;
use crate::node_id::NodeId;

/// The tables of the leases.
pub(crate) const TABLES: &[&str] = &[Rows::NAME, Tokens::NAME];
/// Longest name of a lease, in bytes; what is longer is cut off there.
pub const NAME_LEN_MAX: usize = 512;
/// Leases that have ended and are removed with each claim, so that they cannot pile up.
const SWEEP_LEN: usize = 4;

struct Rows;

impl Table for Rows {
    const NAME: &'static str = "leases";
    type Key = String;
    type Row = Held;
}

/// Who holds a lease, and until when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Held {
    holder: NodeId,
    token: u64,
    expires_at: Timestamp,
}

impl Row for Held {}

/// The last token that was given.
struct Tokens;

impl Table for Tokens {
    const NAME: &'static str = "lease_tokens";
    type Key = ();
    type Row = Token;
}

#[derive(Serialize, Deserialize)]
struct Token {
    last: u64,
}

impl Row for Token {}

/// A lease that this node holds, or held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    name: String,
    token: u64,
    expires_at: Timestamp,
}

impl Lease {
    /// What it is on.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Rises with every change of hands, across all leases.
    pub fn token(&self) -> u64 {
        self.token
    }

    /// When it ends unless it is renewed.
    pub fn expires_at(&self) -> Timestamp {
        self.expires_at
    }
}

/// Takes, renews and gives back leases in the name of this node.
#[derive(Clone)]
pub struct Leases {
    db: Db,
    node: NodeId,
    clock: Arc<dyn Clock>,
}

impl Leases {
    pub(crate) fn new(db: Db, node: NodeId, clock: Arc<dyn Clock>) -> Self {
        Self { db, node, clock }
    }

    /// Takes the lease if nobody holds it; `None` if somebody does, be it this node: whoever has it renews it. A node
    /// that was restarted takes what it held before at once, with [`Leases::take_over`].
    pub async fn acquire(&self, name: &str, lasts: Duration) -> Result<Option<Lease>, KernelError> {
        self.take(name, lasts, false).await
    }

    /// As [`Leases::acquire`], but also takes a lease that this node holds already. For a start, when nobody else of
    /// this node can be at work.
    pub async fn take_over(&self, name: &str, lasts: Duration) -> Result<Option<Lease>, KernelError> {
        self.take(name, lasts, true).await
    }

    async fn take(&self, name: &str, lasts: Duration, over: bool) -> Result<Option<Lease>, KernelError> {
        let (name, holder, clock) = (shortened(name), self.node.clone(), self.clock.clone());
        let taken = self.db.write(move |tx| {
            // Within the transaction, hence after waiting for whoever wrote before.
            let now = Timestamp::from(clock.now());
            sweep(tx, &name, now)?;
            if let Some(held) = tx.get::<Rows>(&name)?
                && held.expires_at > now
                && !(over && held.holder == holder)
            {
                return Ok(None);
            }
            let token = tx.get::<Tokens>(&())?.map_or(0, |token| token.last) + 1;
            let expires_at = after(&*clock, lasts);
            tx.put::<Tokens>(&(), &Token { last: token })?;
            tx.put::<Rows>(&name, &Held { holder, token, expires_at })?;
            Ok::<_, DbError>(Some(Lease { name, token, expires_at }))
        });
        Ok(taken.await?)
    }

    /// Lets a held lease last so long from now on. `None` if it has ended meanwhile and somebody else may have it: stop
    /// what it was for.
    pub async fn renew(&self, lease: &Lease, lasts: Duration) -> Result<Option<Lease>, KernelError> {
        let (lease, clock) = (lease.clone(), self.clock.clone());
        let renewed = self.db.write(move |tx| {
            let now = Timestamp::from(clock.now());
            let held = tx.get::<Rows>(&lease.name)?;
            let Some(held) = held.filter(|held| held.token == lease.token && held.expires_at > now) else {
                return Ok(None);
            };
            let expires_at = after(&*clock, lasts);
            tx.put::<Rows>(&lease.name, &Held { expires_at, ..held })?;
            Ok::<_, DbError>(Some(Lease { expires_at, ..lease }))
        });
        Ok(renewed.await?)
    }

    /// Gives a lease back. Nothing happens if it is somebody else's by now.
    pub async fn release(&self, lease: Lease) -> Result<(), KernelError> {
        let released = self.db.write(move |tx| {
            if tx.get::<Rows>(&lease.name)?.is_some_and(|held| held.token == lease.token) {
                tx.delete::<Rows>(&lease.name)?;
            }
            Ok::<_, DbError>(())
        });
        Ok(released.await?)
    }

    /// Who holds the lease at present.
    pub async fn holder(&self, name: &str) -> Result<Option<NodeId>, KernelError> {
        let (name, now) = (shortened(name), Timestamp::from(self.clock.now()));
        let held: Result<_, DbError> = self.db.read(move |tx| tx.get::<Rows>(&name)).await;
        Ok(held?.filter(|held| held.expires_at > now).map(|held| held.holder))
    }
}

/// Whether somebody holds the lease, as of this transaction.
pub(crate) fn is_held(tx: &ReadTx<'_>, name: &str, now: Timestamp) -> Result<bool, DbError> {
    Ok(tx.get::<Rows>(&shortened(name))?.is_some_and(|held| held.expires_at > now))
}

/// Removes a few leases that have ended, those after the name, and round again.
fn sweep(tx: &mut WriteTx<'_>, name: &String, now: Timestamp) -> Result<(), DbError> {
    let mut seen = tx.range::<Rows>(KeyRange::all().after(name), Direction::Forward, SWEEP_LEN)?;
    if seen.len() < SWEEP_LEN {
        seen.extend(tx.range::<Rows>(KeyRange::of(..name.clone()), Direction::Forward, SWEEP_LEN)?);
    }
    for (name, _) in seen.into_iter().filter(|(_, held)| held.expires_at <= now) {
        tx.delete::<Rows>(&name)?;
    }
    Ok(())
}

fn shortened(name: &str) -> String {
    name[..name.floor_char_boundary(NAME_LEN_MAX)].to_owned()
}

fn after(clock: &dyn Clock, lasts: Duration) -> Timestamp {
    Timestamp::from(clock.now() + lasts)
}

#[cfg(test)]
mod tests;

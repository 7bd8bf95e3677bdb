//! What applications declare about resources of their own ([`cm_policy::declared`]): kept here, decided there.
//!
//! Whatever belongs to one model of a tenant is read as a whole, changed as a whole by one pure step, and what differs
//! afterwards is written, with an event, in the same transaction. Who may change a model is decided as everything is: by a
//! permit for the kind that stands for it, [`Model::KIND`].

use std::collections::{BTreeMap, BTreeSet};

use cm_db::{DbError, KeyPrefix, ReadTx, Row, Table, WriteTx};
use cm_events::{EventVerb, NewEvent};
use cm_policy::declared::DeclarationError;
use cm_policy::declared::attributes::Policies;
use cm_policy::declared::grants::Lists;
use cm_policy::declared::graph::Graph;
use cm_policy::declared::roles::Roles;
use cm_policy::{List, Permit, Update};
use cm_types::{PrincipalId, ResourceKind, TenantId, Timestamp};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Kernel, KernelError, OpContext};

mod event_policies;
#[cfg(test)]
mod tests;

/// The tables of this module.
pub(crate) const TABLES: &[&str] = &[Declared::NAME];

/// Most records of one model of one tenant. A model is read as a whole: some ten milliseconds at this size.
pub const RECORDS_MAX: usize = 10_000;
/// Longest record of a model, in bytes as it is kept.
pub const RECORD_BYTES_MAX: usize = 16 << 10;
/// Longest record that is a list of users, the members of a group or of a scope, in bytes as it is kept.
pub const MEMBERS_BYTES_MAX: usize = 1 << 20;
/// Most bytes of all records of one model of one tenant.
pub const MODEL_BYTES_MAX: usize = 8 << 20;

/// By tenant, family and id.
struct Declared;

impl Table for Declared {
    const NAME: &'static str = "app_declarations";
    type Key = (TenantId, String, String);
    type Row = Declaration;
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
struct Declaration(Value);

impl Row for Declaration {}

/// The records of a model: by family and id.
pub type Records = BTreeMap<(&'static str, String), Value>;

/// What is read, decided about and changed as a whole.
pub trait Model: Default + Send + 'static {
    /// What permits are asked for about it.
    const KIND: ResourceKind;
    /// What it is called in events.
    const NAME: &'static str;
    /// The families of its records.
    const FAMILIES: &'static [&'static str];

    /// The model of these records. One that does not fit is left out: it permits nothing.
    fn of(records: Records) -> Self;

    /// Its records.
    fn records(&self) -> Records;
}

fn parts<T: DeserializeOwned>(records: &mut Records, family: &'static str) -> BTreeMap<String, T> {
    let ids: Vec<String> =
        records.keys().filter(|(other, _)| *other == family).map(|(_, id)| id.clone()).collect();
    let part = |id: String| {
        let value = records.remove(&(family, id.clone()))?;
        Some((id, serde_json::from_value(value).ok()?))
    };
    ids.into_iter().filter_map(part).collect()
}

fn put<T: Serialize>(records: &mut Records, family: &'static str, all: &BTreeMap<String, T>) {
    for (id, one) in all {
        let value = serde_json::to_value(one).expect("declarations are maps, lists, texts and numbers");
        records.insert((family, id.clone()), value);
    }
}

impl Model for Roles {
    const KIND: ResourceKind = ResourceKind::Role;
    const NAME: &'static str = "roles";
    const FAMILIES: &'static [&'static str] = &["role", "held"];

    fn of(mut records: Records) -> Self {
        Self { roles: parts(&mut records, "role"), held: parts(&mut records, "held") }
    }

    fn records(&self) -> Records {
        let mut records = Records::new();
        put(&mut records, "role", &self.roles);
        put(&mut records, "held", &self.held);
        records
    }
}

impl Model for Lists {
    const KIND: ResourceKind = ResourceKind::SecurityPolicy;
    const NAME: &'static str = "grants";
    const FAMILIES: &'static [&'static str] = &["resource", "group"];

    fn of(mut records: Records) -> Self {
        Self { resources: parts(&mut records, "resource"), groups: parts(&mut records, "group") }
    }

    fn records(&self) -> Records {
        let mut records = Records::new();
        put(&mut records, "resource", &self.resources);
        put(&mut records, "group", &self.groups);
        records
    }
}

impl Model for Policies {
    const KIND: ResourceKind = ResourceKind::SecurityPolicy;
    const NAME: &'static str = "attributes";
    const FAMILIES: &'static [&'static str] = &["policy"];

    fn of(mut records: Records) -> Self {
        Self { policies: parts(&mut records, "policy") }
    }

    fn records(&self) -> Records {
        let mut records = Records::new();
        put(&mut records, "policy", &self.policies);
        records
    }
}

impl Model for Graph {
    const KIND: ResourceKind = ResourceKind::SecurityPolicy;
    const NAME: &'static str = "graph";
    const FAMILIES: &'static [&'static str] = &["node", "association"];

    fn of(mut records: Records) -> Self {
        Self { nodes: parts(&mut records, "node"), associations: parts(&mut records, "association") }
    }

    fn records(&self) -> Records {
        let mut records = Records::new();
        put(&mut records, "node", &self.nodes);
        put(&mut records, "association", &self.associations);
        records
    }
}

/// The scopes of an application: what its users may log in for, and until when.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scopes {
    /// The users of each scope. Names are in upper case.
    pub users: BTreeMap<String, BTreeSet<String>>,
    /// When the licence of a user for a scope ends, by `USER/SCOPE`.
    pub licences: BTreeMap<String, Timestamp>,
}

impl Scopes {
    /// What a scope is called, however it is written.
    pub fn name(text: &str) -> String {
        text.trim().to_uppercase()
    }

    /// Makes a scope.
    ///
    /// # Errors
    /// One that exists, a name that is no text.
    pub fn create(&mut self, scope: &str) -> Result<(), DeclarationError> {
        let name = Self::name(scope);
        let in_form = !name.is_empty() && name.len() <= 128 && !name.contains(['/', '\0', '\n', '\r']);
        if !in_form {
            return Err(DeclarationError::Invalid {
                field: "name",
                rule: "expected 1 to 128 bytes without /",
            });
        }
        if self.users.contains_key(&name) {
            return Err(DeclarationError::Exists { what: "scope", id: name });
        }
        self.users.insert(name, BTreeSet::new());
        Ok(())
    }

    /// Removes a scope with its licences.
    ///
    /// # Errors
    /// An unknown scope.
    pub fn remove(&mut self, scope: &str) -> Result<(), DeclarationError> {
        let name = Self::name(scope);
        self.users.remove(&name).ok_or_else(|| unknown(&name))?;
        self.licences.retain(|key, _| key.rsplit_once('/').is_none_or(|(_, scope)| scope != name));
        Ok(())
    }

    /// Lets a user log in for a scope.
    ///
    /// # Errors
    /// An unknown scope.
    pub fn assign(&mut self, user: &str, scope: &str) -> Result<(), DeclarationError> {
        let name = Self::name(scope);
        self.users.get_mut(&name).ok_or_else(|| unknown(&name))?.insert(user.to_owned());
        Ok(())
    }

    /// Stops to let a user log in for a scope.
    ///
    /// # Errors
    /// An unknown scope, one that the user does not have.
    pub fn unassign(&mut self, user: &str, scope: &str) -> Result<(), DeclarationError> {
        let name = Self::name(scope);
        let taken = self.users.get_mut(&name).ok_or_else(|| unknown(&name))?.remove(user);
        self.licences.remove(&format!("{user}/{name}"));
        match taken {
            true => Ok(()),
            false => Err(DeclarationError::NotFound { what: "assignment", id: format!("{user}/{name}") }),
        }
    }

    /// Gives a user a licence for a scope. Unless `force`, one that holds stays as it is.
    ///
    /// # Errors
    /// An unknown scope, one that the user does not have.
    pub fn license(
        &mut self,
        user: &str,
        scope: &str,
        until: Timestamp,
        (now, force): (Timestamp, bool),
    ) -> Result<Timestamp, DeclarationError> {
        let name = Self::name(scope);
        if !self.users.get(&name).ok_or_else(|| unknown(&name))?.contains(user) {
            return Err(DeclarationError::NotFound { what: "assignment", id: format!("{user}/{name}") });
        }
        let end = self.licences.entry(format!("{user}/{name}")).or_insert(until);
        if force || *end <= now {
            *end = until;
        }
        Ok(*end)
    }

    /// Takes a licence away. It ends and stays, for who never got one has the scope without end.
    ///
    /// # Errors
    /// One that is not there, or over.
    pub fn unlicense(&mut self, user: &str, scope: &str, now: Timestamp) -> Result<(), DeclarationError> {
        let key = format!("{user}/{}", Self::name(scope));
        match self.licences.get_mut(&key) {
            Some(end) if *end > now => {
                *end = now;
                Ok(())
            }
            _ => Err(DeclarationError::NotFound { what: "licence", id: key }),
        }
    }

    /// Whether a user may log in for a scope now: it has the scope, and its licence, if it ever got one, holds.
    pub fn admits(&self, user: &str, scope: &str, now: Timestamp) -> bool {
        let name = Self::name(scope);
        let has = self.users.get(&name).is_some_and(|users| users.contains(user));
        has && self.licences.get(&format!("{user}/{name}")).is_none_or(|end| *end > now)
    }

    /// Forgets a user.
    pub fn forget(&mut self, user: &str) {
        for users in self.users.values_mut() {
            users.remove(user);
        }
        self.licences.retain(|key, _| key.rsplit_once('/').is_none_or(|(holder, _)| holder != user));
    }
}

fn unknown(scope: &str) -> DeclarationError {
    DeclarationError::NotFound { what: "scope", id: scope.to_owned() }
}

impl Model for Scopes {
    const KIND: ResourceKind = ResourceKind::Role;
    const NAME: &'static str = "scopes";
    const FAMILIES: &'static [&'static str] = &["scope", "licence"];

    fn of(mut records: Records) -> Self {
        Self { users: parts(&mut records, "scope"), licences: parts(&mut records, "licence") }
    }

    fn records(&self) -> Records {
        let mut records = Records::new();
        put(&mut records, "scope", &self.users);
        put(&mut records, "licence", &self.licences);
        records
    }
}

impl Kernel {
    /// Whether a user may log in for a scope now.
    pub async fn scope_admits(
        &self,
        tenant: &TenantId,
        user: &str,
        scope: &str,
    ) -> Result<bool, KernelError> {
        let (tenant, user, scope, now) = (tenant.clone(), user.to_owned(), scope.to_owned(), self.now());
        self.db()
            .read(move |tx| Ok(Scopes::of(records_of::<Scopes>(tx, &tenant)?).admits(&user, &scope, now)))
            .await
    }

    /// Lets a user log in for a scope. The user must exist in the transaction that says so, lest whoever gets the name later
    /// has the scope.
    ///
    /// # Errors
    /// An unknown user, an unknown scope.
    pub async fn assign_scope(
        &self,
        op: &OpContext,
        permit: &Permit<Update>,
        (user, scope): (&str, &str),
    ) -> Result<(), KernelError> {
        demand_kind(permit.covers_collection(permit.tenant(), Scopes::KIND))?;
        let (identity, events) = (self.identity().clone(), self.events().clone());
        let (op, tenant) = (op.clone(), permit.tenant().clone());
        let (user, scope) = (user.to_owned(), Scopes::name(scope));
        self.db()
            .write(move |tx| {
                let known = match PrincipalId::parse(&*user) {
                    Ok(id) => identity.get_principal(tx, &tenant, &id)?,
                    Err(_) => None,
                };
                if known.is_none() {
                    return Err(DeclarationError::NotFound { what: "user", id: user }.into());
                }
                change_within::<Scopes, ()>(tx, &tenant, |scopes| scopes.assign(&user, &scope))?;
                let told = ("scope.assigned", format!("{user}/{scope}"));
                events.append(tx, changed::<Scopes>(tenant, &op, told))?;
                Ok(())
            })
            .await
    }

    /// Gives up a licence of who showed the live token of a session. Nobody else is asked.
    pub async fn give_up_licence(
        &self,
        op: &OpContext,
        live: &cm_identity::LiveSession,
        scope: &str,
    ) -> Result<(), KernelError> {
        let (events, request) = (self.events().clone(), op.request.clone());
        let (principal, scope, now) = (live.principal.clone(), Scopes::name(scope), self.now());
        self.db()
            .write(move |tx| {
                let id = principal.id.as_str();
                change_within::<Scopes, ()>(tx, &principal.tenant, |scopes| {
                    scopes.unlicense(id, &scope, now)
                })?;
                let mut event =
                    NewEvent::new(principal.tenant.clone(), EventVerb::fixed("declaration.changed"));
                event.actor = Some(principal.id.clone());
                event.request = Some(request);
                event.facts.insert("model".to_owned(), Scopes::NAME.into());
                event.facts.insert("what".to_owned(), "licence.given-up".into());
                event.facts.insert("id".to_owned(), format!("{id}/{scope}").into());
                events.append(tx, event)?;
                Ok(())
            })
            .await
    }

    /// Asks something of a model of the permit's tenant.
    pub async fn ask_declared<M: Model, T: Send + 'static>(
        &self,
        permit: &Permit<List>,
        ask: impl FnOnce(&M) -> T + Send + 'static,
    ) -> Result<T, KernelError> {
        demand_kind(permit.covers_collection(permit.tenant(), M::KIND))?;
        let tenant = permit.tenant().clone();
        self.db().read(move |tx| Ok(ask(&M::of(records_of::<M>(tx, &tenant)?)))).await
    }

    /// Changes a model of the permit's tenant. `what` says in the event what was done, to which id: `declaration.changed`.
    ///
    /// # Errors
    /// What the change itself refuses; more than [`RECORDS_MAX`] records, [`RECORD_BYTES_MAX`] or [`MODEL_BYTES_MAX`].
    pub async fn change_declared<M: Model, T: Send + 'static>(
        &self,
        op: &OpContext,
        permit: &Permit<Update>,
        (what, id): (&'static str, String),
        change: impl FnOnce(&mut M) -> Result<T, DeclarationError> + Send + 'static,
    ) -> Result<T, KernelError> {
        demand_kind(permit.covers_collection(permit.tenant(), M::KIND))?;
        let (events, tenant, op) = (self.events().clone(), permit.tenant().clone(), op.clone());
        self.db()
            .write(move |tx| {
                let outcome = change_within(tx, &tenant, change)?;
                events.append(tx, changed::<M>(tenant, &op, (what, id)))?;
                Ok(outcome)
            })
            .await
    }
}

fn changed<M: Model>(tenant: TenantId, op: &OpContext, (what, id): (&'static str, String)) -> NewEvent {
    let mut event = NewEvent::new(tenant, EventVerb::fixed("declaration.changed"));
    event.actor = op.principal().cloned();
    event.request = Some(op.request.clone());
    event.facts.insert("model".to_owned(), M::NAME.into());
    event.facts.insert("what".to_owned(), what.into());
    event.facts.insert("id".to_owned(), id.into());
    event
}

/// Changes a model in somebody else's transaction, which tells of it.
pub(crate) fn change_within<M: Model, T>(
    tx: &mut WriteTx<'_>,
    tenant: &TenantId,
    change: impl FnOnce(&mut M) -> Result<T, DeclarationError>,
) -> Result<T, KernelError> {
    let before = records_of::<M>(tx, tenant)?;
    let mut model = M::of(before.clone());
    let outcome = change(&mut model)?;
    write_difference::<M>(tx, tenant, &before, &model.records())?;
    Ok(outcome)
}

/// Forgets a user in all models.
pub(crate) fn forget_user(tx: &mut WriteTx<'_>, tenant: &TenantId, user: &str) -> Result<(), KernelError> {
    change_within::<Scopes, ()>(tx, tenant, |scopes| {
        scopes.forget(user);
        Ok(())
    })?;
    change_within::<Lists, ()>(tx, tenant, |lists| {
        lists.forget(user);
        Ok(())
    })?;
    change_within::<Roles, ()>(tx, tenant, |roles| {
        roles.held.remove(user);
        Ok(())
    })
}

/// The permit must be about the kind that stands for the model: a mistake of the caller otherwise.
fn demand_kind(covers: bool) -> Result<(), KernelError> {
    match covers {
        true => Ok(()),
        false => Err(cm_identity::IdentityError::WrongPermit.into()),
    }
}

fn records_of<M: Model>(tx: &ReadTx<'_>, tenant: &TenantId) -> Result<Records, DbError> {
    let mut records = Records::new();
    for family in M::FAMILIES {
        let prefix = KeyPrefix::new().part(tenant).part(&(*family).to_owned());
        for ((_, _, id), Declaration(value)) in tx.prefix::<Declared>(&prefix, None, RECORDS_MAX)? {
            records.insert((*family, id), value);
        }
    }
    Ok(records)
}

/// Refuses what makes a record or a model longer than it may be. What was too long already may get shorter.
fn demand_size(before: &Records, after: &Records) -> Result<(), KernelError> {
    let mut all = 0;
    for (key, value) in after {
        let len = bytes_of(key, value);
        all += len;
        let max = if matches!(key.0, "scope" | "group") { MEMBERS_BYTES_MAX } else { RECORD_BYTES_MAX };
        if len > max && before.get(key).is_none_or(|earlier| bytes_of(key, earlier) < len) {
            let (what, id) = (key.0, key.1.chars().take(128).collect());
            return Err(DeclarationError::TooLong { what, id, max }.into());
        }
    }
    let grows = || all > before.iter().map(|(key, value)| bytes_of(key, value)).sum();
    match all > MODEL_BYTES_MAX && grows() {
        true => Err(DeclarationError::NoRoom { max: MODEL_BYTES_MAX }.into()),
        false => Ok(()),
    }
}

/// How long a record is, written as JSON, with its id.
fn bytes_of((_, id): &(&'static str, String), value: &Value) -> usize {
    /// Counts what is written to it.
    struct Counted(usize);

    impl std::io::Write for Counted {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    let mut counted = Counted(id.len());
    serde_json::to_writer(&mut counted, value).expect("counting never fails, and JSON can be written");
    counted.0
}

fn write_difference<M: Model>(
    tx: &mut WriteTx<'_>,
    tenant: &TenantId,
    before: &Records,
    after: &Records,
) -> Result<(), KernelError> {
    for family in M::FAMILIES {
        if after.keys().filter(|(other, _)| other == family).count() > RECORDS_MAX {
            let rule = "the account holds as many declarations of this kind as it may";
            return Err(DeclarationError::Invalid { field: "account", rule }.into());
        }
    }
    demand_size(before, after)?;
    let place = |(family, id): &(&'static str, String)| (tenant.clone(), (*family).to_owned(), id.clone());
    for (key, value) in after {
        if before.get(key) != Some(value) {
            tx.put::<Declared>(&place(key), &Declaration(value.clone()))?;
        }
    }
    for key in before.keys().filter(|key| !after.contains_key(*key)) {
        tx.delete::<Declared>(&place(key))?;
    }
    Ok(())
}

/// Removes all that applications of a tenant declared.
pub(crate) fn forget(tx: &mut WriteTx<'_>, tenant: &TenantId) -> Result<(), DbError> {
    let prefix = KeyPrefix::new().part(tenant);
    loop {
        let found = tx.prefix::<Declared>(&prefix, None, RECORDS_MAX)?;
        if found.is_empty() {
            return Ok(());
        }
        for (key, _) in found {
            tx.delete::<Declared>(&key)?;
        }
    }
}

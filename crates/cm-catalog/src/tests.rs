//! The catalogue over both engines of the database.

mod cascade;
mod changes;
mod dependents;
mod integrity;
mod listing;
mod methods;
mod open;
mod policies;
mod random;
mod support;

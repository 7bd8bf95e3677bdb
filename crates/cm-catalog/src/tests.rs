//! The catalogue over both engines of the database.

mod cascade;
mod integrity;
mod listing;
mod methods;
mod random;
mod support;

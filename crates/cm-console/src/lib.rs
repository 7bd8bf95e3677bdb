//! The web console: pages for people, who look at a node and change what they may.
//!
//! It is a client of the public API like any other. The pages are plain ES modules in `assets/`, built into the program and served as they
//! are written; no step builds them, and nothing comes from another site. In the browser they ask `/console/api/v1`, which is the API itself, in the same process and with
//! every check of its own; `relay` only puts the session's token where the API expects it. The console knows no engine and decides nothing.
//!
//! **Sessions.** Pages keep no credential. `session` exchanges a password, an API key or a token for a short-lived token and puts it into a cookie
//! that scripts cannot read and that other sites' requests do not carry. The API never sees a cookie, so it cannot be made to act by one.
//!
//! **Changes** need a header that no other site's page can add, and an origin that is the console's own (`guard`).
//!
//! **Markup.** Pages are built from nodes and texts; the policy of the page (`assets::POLICY`) forbids scripts and styles within the markup, and, where browsers know Trusted
//! Types, making markup from text at all. What an object or a record holds is text, whatever it looks like.
//!
//! Reading order: `routes`, `assets`, `session`, `guard`, `relay`.

mod assets;
mod guard;
mod relay;
mod routes;
mod session;

pub use assets::POLICY;
pub use guard::{HEADER, require_own};
pub use routes::{PREFIX, alone, beside};
pub use session::COOKIE;

//! Endpoints: servers that a node starts, watches and stops for those who declared them.
//!
//! An endpoint is a catalogue record; deploying it makes a server of it. Its state goes
//! `cold → warming → warm → draining → cold`, and every step is one transaction of the kernel: status, history and the
//! row that limits are counted by. What happens in between happens to a server: a [`Launcher`] starts it, and a task of
//! its own (`life`) watches it from then on. Whoever asks for a deployment is answered before anything is launched; a
//! launcher that is slow or dead costs nobody anything but its own endpoint.
//!
//! Nothing stays half deployed. A record that says `warming` has either a task behind it, or the process that made it so
//! is gone; then the next start of the node makes it cold. Ports are held by their listening sockets from before the
//! record names them until the server is gone, so that no two endpoints of a node ever have the same.
//!
//! Reading order: [`endpoints`] (the service), `life` (from launch to end), [`launcher`] (the seam, and the launcher of
//! processes), [`control`] (what node and server say to each other), `ports`, `news`, `presence`
//! (several nodes on one catalogue).

pub mod control;
pub mod endpoints;
mod error;
pub mod launcher;
mod life;
mod news;
mod ports;
mod presence;

#[cfg(test)]
mod tests;

pub use endpoints::{Endpoints, EndpointsConfig};
pub use error::EndpointError;
pub use launcher::{Ended, LaunchError, LaunchSpec, Launched, Launcher, ProcessLauncher};
pub use news::{FunctionStatus, Moment, News};

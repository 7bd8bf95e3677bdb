//! `with-postgres COMMAND [ARGUMENTS]`: runs the command with a PostgreSQL server for tests, and stops it afterwards.

use std::process::{Command, ExitCode};

use cm_testkit::postgres::{Server, VARIABLE};

#[allow(clippy::print_stderr, reason = "a program says why it failed")]
fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let Some(program) = arguments.next() else {
        eprintln!("usage: with-postgres COMMAND [ARGUMENTS]");
        return ExitCode::from(2);
    };
    let server = Server::start();
    let status = Command::new(&program).args(arguments).env(VARIABLE, server.url()).status();
    drop(server);
    match status {
        Ok(status) => {
            status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from)
        }
        Err(error) => {
            eprintln!("error: cannot start {}: {error}", program.to_string_lossy());
            ExitCode::FAILURE
        }
    }
}

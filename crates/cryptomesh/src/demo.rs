//! `cryptomesh demo`: the main job, end to end, for real.
//!
//! Three parties who do not trust each other, and an operator whom none of them trusts, on a node that is started
//! in a temporary directory as a process of its own. Every step goes through the public API, with the same client
//! that the commands use; nothing is staged.

mod dataset;
mod mesh;
mod operator;
mod refusals;
mod story;
mod video;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use cm_cli::{Connection, Format, Outcome, UsageError, output};

/// `cryptomesh demo`
#[derive(Args)]
pub(crate) struct DemoArgs {
    /// Your own numbers: a CSV file whose first two numeric columns are x and y [default: speed and stopping
    /// distance of 50 cars, 1920]. Not with `--scenario video`.
    #[arg(long, value_name = "FILE.csv")]
    input: Option<PathBuf>,
    /// Which story.
    #[arg(long, value_enum, default_value_t = Scenario::Regression)]
    scenario: Scenario,
    /// Keep the node's data directory and say where it is.
    #[arg(long)]
    keep: bool,
}

/// Which story is told.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Scenario {
    /// Three parties fit a line to data that only one of them knows.
    Regression,
    /// A video that nobody may see is searched for motion, by the earlier project's services.
    Video,
}

/// Numbers the steps as they happen.
pub(crate) struct Narrator<'a> {
    connection: &'a Connection,
    step: u32,
}

impl Narrator<'_> {
    /// Starts the node, which takes a moment.
    async fn start(&self) -> anyhow::Result<mesh::Mesh> {
        output::note(self.connection, "starting a node in a temporary directory ...");
        mesh::Mesh::start().await
    }

    fn chapter(&mut self, title: &str) {
        output::note(self.connection, &format!("\n{title}"));
    }

    fn step(&mut self, text: &str) {
        self.step += 1;
        let head = format!("  {:>2}.", self.step);
        let indent = head.len() + 2;
        output::note(self.connection, &output::hanging(&head, [text.to_owned()], indent, output::width()));
    }
}

/// Runs the demonstration. Exits with 0 only if everything that should work worked and everything that should be
/// refused was refused.
pub(crate) async fn run(args: DemoArgs, connection: &Connection) -> Outcome {
    if args.scenario == Scenario::Video {
        if args.input.is_some() {
            let what = "--input is for the scenario `regression`; the scenario `video` brings its own video";
            return Err(UsageError(what.to_owned()).into());
        }
        return video::run(args.keep, connection).await;
    }
    let data = dataset::Points::load(args.input.as_deref())?;
    let mut narrator = Narrator { connection, step: 0 };
    let mesh = narrator.start().await?;
    let told = story::tell(&mesh, &data, &mut narrator).await;
    // The node is stopped whether or not the story ended well.
    let finished = match told {
        Ok(ending) => operator::search(&mesh, &data, &ending, &mut narrator).await.map(|()| ending),
        Err(error) => Err(error),
    };
    if let Err(error) = &finished {
        output::note(connection, &format!("\nlast lines of the node's log:\n{}", mesh.log_tail(20)));
        output::note(connection, &format!("\nthe demonstration failed: {error:#}"));
    }
    let stopped = mesh.stop(args.keep).await;
    let ending = finished?;
    if let Some(kept) = stopped? {
        output::note(connection, &format!("\nthe node's data directory is kept in {}", kept.display()));
    }
    narrator.chapter("Result, read by the receiver alone");
    let (slope, intercept, points) = (ending.slope, ending.intercept, data.len());
    match connection.output {
        Format::Json | Format::Yaml => {
            let result = serde_json::json!({ "slope": slope, "intercept": intercept, "points": points });
            output::document_of(connection, &result);
        }
        Format::Table => output::line(&format!("y = {intercept} + {slope} x   ({points} points)")),
    }
    Ok(ExitCode::SUCCESS)
}

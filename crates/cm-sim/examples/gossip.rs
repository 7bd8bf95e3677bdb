//! Networks of thousands of nodes that share threats: `cargo run --release -p cm-sim --example gossip -- [NODES…]`.

use std::process::ExitCode;

use cm_sim::gossip::{Report, Settings, run};

fn main() -> ExitCode {
    let sizes: Result<Vec<usize>, _> = std::env::args().skip(1).map(|text| text.parse()).collect();
    let Ok(sizes) = sizes else {
        eprintln!("expected numbers of nodes");
        return ExitCode::from(2);
    };
    let sizes = if sizes.is_empty() { vec![1000] } else { sizes };
    line(
        "| nodes | what | reached | p50 | p99 | last | duplicates | bytes a node and event | forgeries a node |",
    );
    line("| --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    for nodes in sizes {
        let calm = Settings { nodes, ..Settings::default() };
        let rows = [
            ("calm", calm.clone()),
            ("10 % hostile", Settings { hostile_percent: 10, ..calm.clone() }),
            ("30 % hostile", Settings { hostile_percent: 30, ..calm.clone() }),
            ("20 % leave and return", Settings { churn_percent: 20, ..calm.clone() }),
            ("parted for a third", Settings { parted: true, ..calm.clone() }),
        ];
        for (what, settings) in rows {
            let Report {
                reached_permille,
                delay_p50,
                delay_p99,
                delay_max,
                duplicates,
                bytes_per_event,
                forgeries,
            } = run(&settings);
            line(&format!(
                "| {nodes} | {what} | {:.1} % | {} ms | {} ms | {} ms | {duplicates:.2} | {bytes_per_event:.0} | {forgeries:.1} |",
                reached_permille as f64 / 10.0,
                delay_p50.as_millis(),
                delay_p99.as_millis(),
                delay_max.as_millis(),
            ));
        }
    }
    ExitCode::SUCCESS
}

#[allow(clippy::print_stdout, reason = "printing is what this program is for")]
fn line(text: &str) {
    println!("{text}");
}

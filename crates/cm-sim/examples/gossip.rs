//! Networks of thousands of nodes that share threats, calm and under attack: `cargo run --release -p cm-sim --example gossip -- [SEED [DIRECTORY [NODES…]]]`.
//!
//! Writes tables and a drawing into the directory, as `threat-gossip.md` and `threat-gossip.svg`; without one it prints the tables.

use std::fmt::Write as _;
use std::path::PathBuf;

use cm_sim::gossip::reputation::{self, Collusion};
use cm_sim::gossip::{Attack, Report, Settings, plot, run};

/// Why the arguments are refused.
const USAGE: &str = "expected [SEED [DIRECTORY [NODES…]]]";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let seed = arguments.next().map_or(Ok(1), |text| text.parse::<u64>()).map_err(|_| USAGE)?;
    let directory = arguments.next().map(PathBuf::from);
    let sizes: Vec<usize> =
        arguments.map(|text| text.parse()).collect::<Result<_, _>>().map_err(|_| USAGE)?;
    let sizes = if sizes.is_empty() { vec![1000] } else { sizes };
    let mut page = opening(seed, directory.is_some());
    let mut drawn = Vec::new();
    page.push_str(
        "| nodes | what | reached | aimed at | p50 | p99 | last | duplicates | bytes a node and event | forgeries a node | honest silenced | hostile links silenced |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    for (number, nodes) in sizes.iter().enumerate() {
        for (what, settings) in scenarios(*nodes, seed, number == 0) {
            let begun = std::time::Instant::now();
            let report = run(&settings);
            say(&format!("{nodes} nodes, {what}: {:.1?}", begun.elapsed()));
            row(&mut page, *nodes, &what, &report);
            // More lines than these could not be told apart.
            if number == 0 && [0, 30].contains(&settings.hostile_percent) {
                drawn.push((what, report.reached_within));
            }
        }
    }
    page.push_str(LEGEND);
    collusions(&mut page, seed);
    let Some(directory) = directory else {
        line(&page);
        return Ok(());
    };
    page.push_str("\n![How soon events are everywhere](threat-gossip.svg)\n");
    std::fs::write(directory.join("threat-gossip.md"), page)?;
    let title = format!("Share of (honest node, event) pairs that were reached, {} nodes", sizes[0]);
    std::fs::write(directory.join("threat-gossip.svg"), plot(&title, &drawn))?;
    Ok(())
}

const LEGEND: &str = "
*Reached* is the share of (honest node, event) pairs; *aimed at* is the same of what the attack is aimed at: nodes that are eclipsed, events that are censored. The times are
from publishing to arrival. *Duplicates* are copies of an event that a node got besides the first. *Silenced* is a link whose events are not looked at any more.

Hostile nodes never pass events on, except when they censor. *Forge*: five forgeries a second each, and announcements of what there is not. *Flood*: two hundred and fifty. *Frame*: forgeries in the name
of the event that is published next. *Pretend to be many*: in five times as many places as others. *Eclipse*: all their links go to one honest node of fifty, which has two of its own. *Censor*: one
event of five is kept back whenever it is asked for, and everything else done well, so that nobody is to blame. Of the larger network, no flood is simulated.
";

fn opening(seed: u64, of_the_guide: bool) -> String {
    match of_the_guide {
        false => format!("seed {seed}\n\n"),
        true => format!(
            "# Threat intelligence under attack, simulated\n\n\
             Written by `cargo xtask sim gossip --seed {seed}`; the same seed gives the same page.\n\n\
             Each node runs the product's state machine of version 2 and the product's ledger of links. Links take 5 to 100 ms; sixty events are published half a second apart, after five seconds. What the\n\
             simulator leaves out: bandwidth, the time that verifying takes (a forgery costs some 20 µs), and that operators choose whom they link to, so that hostile nodes cannot link to whom they like.\n\n\
             ## Spreading\n\n"
        ),
    }
}

/// The runs for a size: all of them for the first. A flood of ten thousand nodes takes most of an hour, and shows what one of a
/// thousand does: what is cut off is a link.
fn scenarios(nodes: usize, seed: u64, all: bool) -> Vec<(String, Settings)> {
    let calm = Settings { nodes, seed, ..Settings::default() };
    let mut runs = vec![("calm".to_owned(), calm.clone())];
    for percent in [10, 20, 30] {
        for attack in Attack::ALL {
            let is_run = match all {
                true => percent == 30 || percent == 10 || attack == Attack::Forge,
                false => percent == 30 && attack != Attack::Flood,
            };
            if is_run {
                let settings = Settings { hostile_percent: percent, attack, ..calm.clone() };
                runs.push((format!("{percent} % {}", attack.name()), settings));
            }
        }
    }
    runs.push(("20 % leave and return".to_owned(), Settings { churn_percent: 20, ..calm.clone() }));
    runs.push(("parted for a third".to_owned(), Settings { parted: true, ..calm }));
    runs
}

fn row(page: &mut String, nodes: usize, what: &str, report: &Report) {
    let _ = writeln!(
        page,
        "| {nodes} | {what} | {:.1} % | {:.1} % | {} ms | {} ms | {} ms | {:.2} | {:.0} | {:.1} | {} | {:.0} % |",
        report.reached_permille as f64 / 10.0,
        report.aimed_at_permille as f64 / 10.0,
        report.delay_p50.as_millis(),
        report.delay_p99.as_millis(),
        report.delay_max.as_millis(),
        report.duplicates,
        report.bytes_per_event,
        report.forgeries,
        report.honest_silenced,
        report.hostile_silenced_permille as f64 / 10.0,
    );
}

fn collusions(page: &mut String, seed: u64) {
    page.push_str(
        "\n## Believing\n\n\
         A hundred reporters for sixty days, four of them anchors. Twenty threats a day, of which an anchor sees three of ten and an honest reporter one of ten. Colluding reporters all tell of the same five\n\
         addresses a day where nothing is. What is believed (a confidence of 50) and false, the operator dismisses the day after.\n\n\
         | colluding | how | honest weight | colluding weight, most ever | and at the end | threats believed | lies believed | days deceived |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    for percent in [10, 20, 30] {
        for collusion in Collusion::ALL {
            let settings = reputation::Settings {
                reporters: 100,
                anchors: 4,
                colluding_percent: percent,
                collusion,
                days: 60,
                seed,
            };
            let report = reputation::run(&settings);
            let _ = writeln!(
                page,
                "| {percent} % | {} | {:.2} | {:.2} | {:.2} | {:.1} % | {} of {} | {} |",
                collusion.name(),
                report.honest_weight,
                report.colluding_weight_most,
                report.colluding_weight,
                report.believed_permille as f64 / 10.0,
                report.lies_believed,
                report.lies,
                report.days_deceived,
            );
        }
    }
    page.push_str(
        "\nWhoever tells the truth for a month is believed afterwards, for some days: no reputation can tell a liar before the first lie. It costs them all that they earned.\n",
    );
}

#[allow(clippy::print_stdout, reason = "printing is what this program is for")]
fn line(text: &str) {
    println!("{text}");
}

#[allow(clippy::print_stderr, reason = "it takes minutes: somebody may wait")]
fn say(text: &str) {
    eprintln!("{text}");
}

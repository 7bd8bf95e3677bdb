//! Networks of version 2 of the threat protocol: thousands of nodes that run the product's own state machine.
//!
//! Links have delays of their own. Some nodes are hostile ([`Attack`]): they take part in meshes, withhold what they should pass on, announce what
//! they do not have, and send forgeries, which cost their receivers a signature and go no further. What that does to their links is decided by the
//! product's own ledger. Nodes leave and come back; networks part and heal. Whom to believe is another matter: [`reputation`].

mod plot;
pub mod reputation;
mod world;

pub use plot::plot;
pub use world::{Attack, Report, STEPS, Settings, run, step_delay};

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn events_reach_all_honest_nodes_and_runs_repeat() {
        let settings = Settings { nodes: 200, hostile_percent: 20, ..Settings::default() };
        let one = run(&settings);
        assert_eq!(one.reached_permille, 1000, "{one:?}");
        assert!(one.duplicates <= 2.0, "{one:?}");
        assert!(one.delay_p50 < Duration::from_secs(1), "{one:?}");
        assert_eq!(run(&settings), one, "a seed decides everything");
        assert_ne!(run(&Settings { seed: 2, ..settings }), one);
    }

    #[test]
    fn no_attack_keeps_events_from_honest_nodes_or_parts_them() {
        for attack in Attack::ALL {
            let report = run(&Settings { nodes: 150, hostile_percent: 30, attack, ..Settings::default() });
            assert!(report.reached_permille >= 995, "{attack:?}: {report:?}");
            assert!(report.aimed_at_permille >= 990, "{attack:?}: {report:?}");
            assert_eq!(report.honest_silenced, 0, "{attack:?}: {report:?}");
            let forges = attack != Attack::Censor;
            assert_eq!(report.hostile_silenced_permille > 500, forges, "{attack:?}: {report:?}");
        }
    }

    #[test]
    fn partitions_and_churn_are_made_up_for() {
        let settings = Settings { nodes: 150, churn_percent: 20, parted: true, ..Settings::default() };
        let report = run(&settings);
        assert!(report.reached_permille >= 999, "{report:?}");
        assert!(report.delay_p99 > Duration::from_secs(5), "some waited for the network to heal: {report:?}");
    }
}

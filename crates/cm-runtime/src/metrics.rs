//! Metrics in the Prometheus text format, without a listener: the faces serve [`Metrics::render`].
//!
//! Code anywhere records through the `metrics` crate's macros; before [`install`] they do nothing.

use std::sync::OnceLock;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

/// Upper bounds of the histogram buckets, in seconds, from a cached read to a confidential run.
const BUCKETS_SECONDS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0, 120.0];

static INSTALLED: OnceLock<Metrics> = OnceLock::new();

/// Renders what was recorded. Clones share the same recorder.
#[derive(Clone, Debug)]
pub struct Metrics(PrometheusHandle);

/// Installs the process's recorder, once; later calls return the same one.
///
/// If the process already has a foreign recorder, it stays, a warning is logged and what is rendered
/// here remains empty: metrics never keep a node from starting.
pub fn install() -> Metrics {
    INSTALLED
        .get_or_init(|| {
            let builder = PrometheusBuilder::new()
                .set_buckets(&BUCKETS_SECONDS)
                .expect("the bucket list is a constant that is not empty");
            let recorder = builder.build_recorder();
            let handle = recorder.handle();
            if let Err(error) = metrics::set_global_recorder(recorder) {
                tracing::warn!(%error, "metrics are not recorded here");
            }
            Metrics(handle)
        })
        .clone()
}

impl Metrics {
    /// All metrics in the Prometheus text format. Takes time linear in the number of series; also does
    /// the recorder's upkeep, so it wants to be called now and then (a scrape is enough).
    pub fn render(&self) -> String {
        self.0.run_upkeep();
        self.0.render()
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_is_recorded_is_rendered_by_every_handle() {
        let first = super::install();
        let second = super::install();
        metrics::counter!("cm_test_total", "kind" => "x").increment(3);
        metrics::histogram!("cm_test_seconds").record(0.003);
        for rendered in [first.render(), second.render()] {
            assert!(rendered.contains("cm_test_total{kind=\"x\"} 3"), "{rendered}");
            assert!(rendered.contains("cm_test_seconds_bucket{le=\"0.005\"} 1"), "{rendered}");
        }
    }
}

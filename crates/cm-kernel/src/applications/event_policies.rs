//! Policies of events, as records.

use cm_policy::declared::events::EventPolicies;
use cm_types::ResourceKind;

use super::{Model, Records, parts, put};

impl Model for EventPolicies {
    const KIND: ResourceKind = ResourceKind::SecurityPolicy;
    const NAME: &'static str = "events";
    const FAMILIES: &'static [&'static str] = &["event-policy"];

    fn of(mut records: Records) -> Self {
        Self { policies: parts(&mut records, "event-policy") }
    }

    fn records(&self) -> Records {
        let mut records = Records::new();
        put(&mut records, "event-policy", &self.policies);
        records
    }
}

//! How far something may be passed on: the Traffic Light Protocol (FIRST, TLP 2.0) in STIX.

use serde_json::{Value, json};

/// The extension by which STIX carries TLP 2.0 (OASIS CTI, `stix-common-objects`).
const TLP_2: &str = "extension-definition--60a3c5c5-0d10-413e-aab3-9e08dde9e88d";

/// A marking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marking {
    /// For everybody.
    Clear,
    /// For the community.
    Green,
    /// For organisations that need it, and their clients.
    Amber,
    /// For the organisation alone.
    AmberStrict,
    /// For nobody else.
    Red,
}

impl Marking {
    /// All, from the widest.
    pub const ALL: [Marking; 5] =
        [Marking::Clear, Marking::Green, Marking::Amber, Marking::AmberStrict, Marking::Red];

    /// The id of its definition. Four are those of STIX 2.1, section 7.2.1.4; that of `AmberStrict` is of TLP 2.0, which STIX had not yet.
    pub fn id(self) -> &'static str {
        match self {
            Marking::Clear => "marking-definition--613f2e26-407d-48c7-9eca-b8e91df99dc9",
            Marking::Green => "marking-definition--34098fce-860f-48ae-8e50-ebd3cc5e41da",
            Marking::Amber => "marking-definition--f88d31f6-486f-44da-b317-01333bde0b82",
            Marking::AmberStrict => "marking-definition--939a9414-2ddd-4d32-a0cd-375ea402b003",
            Marking::Red => "marking-definition--5e57c739-391a-4eb3-b6be-7d15ca92d5ed",
        }
    }

    /// The tag of MISP's taxonomy.
    pub fn tag(self) -> &'static str {
        match self {
            Marking::Clear => "tlp:clear",
            Marking::Green => "tlp:green",
            Marking::Amber => "tlp:amber",
            Marking::AmberStrict => "tlp:amber+strict",
            Marking::Red => "tlp:red",
        }
    }

    /// The marking of that id, of either version of TLP.
    pub fn of_id(id: &str) -> Option<Marking> {
        let found = Marking::ALL.into_iter().find(|marking| marking.id() == id);
        found.or(match id {
            "marking-definition--94868c89-83c2-464b-929b-a1a8aa3c8487" => Some(Marking::Clear),
            "marking-definition--bab4a63c-aed9-4cf5-a766-dfca5abac2bb" => Some(Marking::Green),
            "marking-definition--55d920b0-5e8b-4f79-9ee9-91f868d9b421" => Some(Marking::Amber),
            "marking-definition--e828b379-4e03-4974-9ac4-e53a884c97c1" => Some(Marking::Red),
            _ => None,
        })
    }

    /// The marking of a tag; `tlp:white` is what `tlp:clear` was called.
    pub fn of_tag(tag: &str) -> Option<Marking> {
        let tag = tag.to_ascii_lowercase();
        match tag.as_str() {
            "tlp:white" => Some(Marking::Clear),
            tag => Marking::ALL.into_iter().find(|marking| marking.tag() == tag),
        }
    }

    /// The definition, for bundles: readers know those of STIX itself.
    pub(crate) fn definition(self) -> Option<Value> {
        (self == Marking::AmberStrict).then(|| {
            json!({
                "type": "marking-definition", "spec_version": "2.1", "id": self.id(), "created": "2022-10-01T00:00:00.000Z", "name": "TLP:AMBER+STRICT",
                "extensions": { TLP_2: { "extension_type": "property-extension", "tlp_2_0": "amber+strict" } },
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markings_are_found_by_their_ids_and_tags() {
        for marking in Marking::ALL {
            assert_eq!(Marking::of_id(marking.id()), Some(marking));
            assert_eq!(Marking::of_tag(&marking.tag().to_uppercase()), Some(marking));
        }
        assert_eq!(
            Marking::of_id("marking-definition--55d920b0-5e8b-4f79-9ee9-91f868d9b421"),
            Some(Marking::Amber)
        );
        assert_eq!(Marking::of_tag("tlp:white"), Some(Marking::Clear));
        assert_eq!(Marking::of_tag("tlp:pink"), None);
    }
}

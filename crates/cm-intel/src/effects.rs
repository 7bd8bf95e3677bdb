//! What follows from indicators, for other tools: sets of addresses to block, and rules to look for them.

use std::fmt::Write as _;
use std::net::IpAddr;

use cm_kernel::policy::{List, Permit};
use cm_types::{PageLimit, Timestamp};
use uuid::Uuid;

use crate::{Indicator, Intel, IntelError};

/// Indicators in one file at most.
const EXPORTED_MAX: usize = 100_000;

/// The form of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// An address a line.
    Plain,
    /// A table with two sets for `nft -f`, whose elements expire as the indicators do.
    Nftables,
    /// A Sigma rule that finds connections from the addresses.
    Sigma,
}

/// The text names no form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no form of export, expected plain, nftables or sigma")]
pub struct UnknownFormat(pub String);

impl std::str::FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(text: &str) -> Result<Self, UnknownFormat> {
        match text {
            "plain" => Ok(Format::Plain),
            "nftables" => Ok(Format::Nftables),
            "sigma" => Ok(Format::Sigma),
            other => Err(UnknownFormat(other.to_owned())),
        }
    }
}

/// Writes the indicators that are addresses, of at least this confidence and not marked red.
///
/// # Errors
/// When the database fails.
pub async fn export(
    intel: &Intel,
    permit: &Permit<List>,
    format: Format,
    confidence_min: u8,
) -> Result<String, IntelError> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = intel.indicators(permit, after, PageLimit::MAX).await?;
        let wanted = |indicator: &Indicator| {
            indicator.confidence >= confidence_min
                && indicator.tlp.for_export()
                && indicator.address.is_some()
        };
        found.extend(page.items.into_iter().filter(wanted));
        after = page.next.map(|next| next.0);
        if after.is_none() || found.len() >= EXPORTED_MAX {
            break;
        }
    }
    found.truncate(EXPORTED_MAX);
    let addresses = found.iter().filter_map(|indicator| Some((indicator.address?, indicator.expires)));
    let addresses: Vec<(IpAddr, Timestamp)> = addresses.collect();
    Ok(match format {
        Format::Plain => addresses.iter().map(|(address, _)| format!("{address}\n")).collect(),
        Format::Nftables => nftables(&addresses, intel.kernel().now()),
        Format::Sigma => sigma(&addresses, intel.kernel().now()),
    })
}

/// Addresses only, which have been parsed: nothing that a reporter wrote gets into a file that a firewall reads.
fn nftables(addresses: &[(IpAddr, Timestamp)], now: Timestamp) -> String {
    let mut text = String::from("# nft -f: the sets are filled anew each time.\ntable inet cryptomesh {\n");
    for (name, kind) in [("threats4", "ipv4_addr"), ("threats6", "ipv6_addr")] {
        let _ = write!(text, "\tset {name} {{\n\t\ttype {kind}\n\t\tflags timeout\n\t}}\n");
    }
    text.push_str("}\n");
    for (name, is_v4) in [("threats4", true), ("threats6", false)] {
        let _ = writeln!(text, "flush set inet cryptomesh {name}");
        for (address, expires) in addresses.iter().filter(|(address, _)| address.is_ipv4() == is_v4) {
            let seconds = expires.since(now).as_secs().max(1);
            let _ = writeln!(text, "add element inet cryptomesh {name} {{ {address} timeout {seconds}s }}");
        }
    }
    text
}

fn sigma(addresses: &[(IpAddr, Timestamp)], now: Timestamp) -> String {
    let date = now.to_string();
    let date = date.split('T').next().unwrap_or_default();
    let list: Vec<String> = addresses.iter().map(|(address, _)| address.to_string()).collect();
    let id = Uuid::new_v4();
    let mut text = format!(
        "title: Connection from a source of threats\nid: {id}\nstatus: experimental\n\
         description: Addresses that reporters of a CryptoMesh network agree on\ndate: {date}\n\
         logsource:\n    category: firewall\ndetection:\n    selection:\n        src_ip:\n"
    );
    // A rule without a value is none; this address is documentation's, and connects to nobody.
    let none = ["192.0.2.0".to_owned()];
    for address in if list.is_empty() { none.iter() } else { list.iter() } {
        let _ = writeln!(text, "            - '{address}'");
    }
    text.push_str("    condition: selection\nfalsepositives:\n    - Addresses that several hosts share\nlevel: medium\n");
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn exports_hold_addresses_and_nothing_else() {
        let now = Timestamp::from_micros(1_800_000_000_000_000);
        let later = now.after(Duration::from_secs(90));
        let addresses = [("198.51.100.7".parse().unwrap(), later), ("2001:db8::1".parse().unwrap(), later)];
        let text = nftables(&addresses, now);
        assert!(text.contains("add element inet cryptomesh threats4 { 198.51.100.7 timeout 90s }"), "{text}");
        assert!(text.contains("add element inet cryptomesh threats6 { 2001:db8::1 timeout 90s }"), "{text}");
        let text = sigma(&addresses, now);
        assert!(
            text.contains("            - '198.51.100.7'\n            - '2001:db8::1'\n    condition"),
            "{text}"
        );
        assert!(sigma(&[], now).contains("192.0.2.0"));
    }
}

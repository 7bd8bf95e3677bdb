//! The makers' certificates that are pinned. Where they come from: `fixtures/README.md`.

/// AWS Nitro Enclaves, root G1. SHA-256 as published:
/// `641a0321a3e244efe456463195d606317ed7cdcc3c1756e09893f3c68f79bb5b`.
pub(crate) const AWS_NITRO: &[u8] = include_bytes!("../roots/aws-nitro.der");

/// Intel SGX Root CA: the root of everything that Intel signs for SGX and TDX.
pub(crate) const INTEL: &[u8] = include_bytes!("../roots/intel-sgx.der");

/// A line of AMD's processors: its root key (ARK) and the key that signs chips' keys (ASK).
pub(crate) struct AmdProduct {
    pub(crate) name: &'static str,
    pub(crate) ark: &'static [u8],
    pub(crate) ask: &'static [u8],
}

/// The lines whose reports have the layout that [`crate::snp`] reads.
pub(crate) const AMD: [AmdProduct; 2] = [
    AmdProduct {
        name: "Milan",
        ark: include_bytes!("../roots/amd-ark-milan.der"),
        ask: include_bytes!("../roots/amd-ask-milan.der"),
    },
    AmdProduct {
        name: "Genoa",
        ark: include_bytes!("../roots/amd-ark-genoa.der"),
        ask: include_bytes!("../roots/amd-ask-genoa.der"),
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pinned_certificates_are_the_makers() {
        let fingerprint = |der: &[u8]| cm_crypto::cert::fingerprint(der).to_string();
        for (der, expected) in [
            (AWS_NITRO, "641a0321a3e244efe456463195d606317ed7cdcc3c1756e09893f3c68f79bb5b"),
            (INTEL, "44a0196b2b99f889b8e149e95b807a350e7424964399e885a7cbb8ccfab674d3"),
            (AMD[0].ark, "69d063b45344d26a2e94e1f4210de49ef555308287d4c174445c95639a540bcd"),
            (AMD[1].ark, "4c6598d19c18719c5dfd4a7d335f674e5bfe1d8f800cea2cf270c10d103db2f1"),
        ] {
            assert_eq!(fingerprint(der), expected);
        }
    }
}

//! AWS4-HMAC-SHA256 in headers, for the few requests of this benchmark.

use cm_crypto::digest::sha256;
use cm_crypto::mac::hmac_sha256;
use cm_runtime::{Clock, SystemClock};
use cm_types::Timestamp;

/// A key of S3.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    /// The access key id.
    pub(crate) id: String,
    /// The secret access key.
    pub(crate) secret: String,
    /// The region that signatures are for.
    pub(crate) region: &'static str,
}

impl Key {
    /// The headers that sign a request now: `path` and `query` are escaped, the query is in order, and `digest` is that of
    /// the body in hexadecimal digits.
    pub(crate) fn headers(&self, method: &str, host: &str, path: &str, query: &str, digest: &str) -> String {
        let at = moment();
        let day = &at[..8];
        let signed = "host;x-amz-content-sha256;x-amz-date";
        let canonical = format!(
            "{method}\n{path}\n{query}\nhost:{host}\nx-amz-content-sha256:{digest}\nx-amz-date:{at}\n\n{signed}\n{digest}"
        );
        let scope = format!("{day}/{}/s3/aws4_request", self.region);
        let text = format!("AWS4-HMAC-SHA256\n{at}\n{scope}\n{}", sha256(canonical.as_bytes()));
        let start = format!("AWS4{}", self.secret).into_bytes();
        let key = [day, self.region, "s3", "aws4_request"]
            .iter()
            .fold(start, |key, part| hmac_sha256(&key, part.as_bytes()).to_vec());
        let signature: String =
            hmac_sha256(&key, text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
        format!(
            "x-amz-date: {at}\r\nx-amz-content-sha256: {digest}\r\nauthorization: AWS4-HMAC-SHA256 \
             Credential={}/{scope},SignedHeaders={signed},Signature={signature}\r\n",
            self.id
        )
    }
}

/// Now, as `20260101T000000Z`.
fn moment() -> String {
    let text = Timestamp::from(SystemClock.now()).to_string();
    let digits = text.split('.').next().unwrap_or_default();
    let mut moment: String = digits.chars().filter(|char| char.is_ascii_digit() || *char == 'T').collect();
    moment.push('Z');
    moment
}

//! Results of computations recorded in a ledger of the Ethereum kind, by the JSON-RPC of a node that holds the account.
//!
//! The digest is the whole data of a transaction without value, from the account to itself unless another address is named. The account's key
//! is the ledger node's business: this one asks it to sign (`eth_sendTransaction`). A result counts as recorded once the transaction
//! is in a block, has succeeded, and is found there with the digest in it.
//!
//! Who configures the endpoint chooses whom this node talks to; redirects are not followed, and proxies of the environment not used.

use std::time::Duration;

use cm_mpc::{Anchor, AnchorError, Anchored};
use futures::future::BoxFuture;
use reqwest::Url;
use reqwest::redirect::Policy;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

/// How long the ledger's node may take for one answer.
const ANSWERS_WITHIN: Duration = Duration::from_secs(15);
/// How long a block may take to take the transaction.
const CONFIRMED_WITHIN: Duration = Duration::from_secs(100);
/// How often is asked whether one has.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Longest answer, in bytes.
const ANSWER_LEN_MAX: usize = 256 << 10;
/// Longest refusal that is passed on, in characters.
const REFUSAL_CHARS_MAX: usize = 300;

/// A ledger behind a JSON-RPC endpoint.
pub struct EvmAnchor {
    client: reqwest::Client,
    url: Url,
    from: String,
    to: String,
    confirmed_within: Duration,
}

impl std::fmt::Debug for EvmAnchor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The path of the address often is the secret of an account there.
        f.debug_struct("EvmAnchor").field("host", &self.url.host_str()).finish_non_exhaustive()
    }
}

/// Whether a text is an address of such a ledger: `0x` and forty hexadecimal digits.
pub fn is_address(text: &str) -> bool {
    text.strip_prefix("0x")
        .is_some_and(|digits| digits.len() == 40 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

impl EvmAnchor {
    /// The ledger at this address, as this account; `to` is where transactions go, the account itself without it.
    ///
    /// # Errors
    /// When the client cannot be made, or the address is none of `http` or `https`.
    pub fn new(url: &str, from: String, to: Option<String>) -> Result<Self, AnchorError> {
        let url = Url::parse(url).map_err(|_| AnchorError::Unreachable("its address is none"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(AnchorError::Unreachable("its address begins with neither http nor https"));
        }
        let client =
            reqwest::Client::builder().redirect(Policy::none()).timeout(ANSWERS_WITHIN).no_proxy().build();
        let client = client.map_err(|_| AnchorError::Unreachable("no client can be made"))?;
        let to = to.unwrap_or_else(|| from.clone());
        Ok(Self { client, url, to, from, confirmed_within: CONFIRMED_WITHIN })
    }

    async fn call(&self, method: &str, params: Value) -> Result<Value, AnchorError> {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        // What the library says of an error has the address in it.
        let unreachable = |_| AnchorError::Unreachable("it cannot be reached");
        let mut response =
            self.client.post(self.url.clone()).json(&body).send().await.map_err(unreachable)?;
        let is_answer = response.status().is_success();
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            if bytes.len() + chunk.len() > ANSWER_LEN_MAX {
                return Err(AnchorError::Unreachable("its answer is too long"));
            }
            bytes.extend_from_slice(&chunk);
        }
        let answer: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        if let Some(refusal) = answer.get("error").filter(|error| !error.is_null()) {
            let message = refusal.get("message").and_then(Value::as_str).unwrap_or("without a reason");
            return Err(AnchorError::Refused(message.chars().take(REFUSAL_CHARS_MAX).collect()));
        }
        match answer.get("result") {
            Some(result) if is_answer => Ok(result.clone()),
            _ => Err(AnchorError::Unreachable("its answer is none of JSON-RPC")),
        }
    }

    /// The receipt of a transaction, once it is in a block. A ledger's node that is busy, or refuses to say it just now, says nothing of the transaction: it
    /// is asked again.
    async fn receipt(&self, transaction: &str) -> Result<Value, AnchorError> {
        let until = Instant::now() + self.confirmed_within;
        loop {
            let receipt = self.call("eth_getTransactionReceipt", json!([transaction])).await;
            if let Ok(receipt) = &receipt
                && receipt.is_object()
            {
                return Ok(receipt.clone());
            }
            if Instant::now() >= until {
                let found = self.call("eth_getTransactionByHash", json!([transaction])).await;
                return Err(match (receipt, found) {
                    (Ok(_), Ok(found)) if !found.is_object() => AnchorError::Forgotten,
                    _ => AnchorError::Late(self.confirmed_within),
                });
            }
            sleep(LOOK_EVERY).await;
        }
    }
}

impl Anchor for EvmAnchor {
    fn kind(&self) -> &'static str {
        "evm"
    }

    fn submit<'a>(&'a self, entry: &'a Anchored) -> BoxFuture<'a, Result<Value, AnchorError>> {
        Box::pin(async move {
            let data = data_of(entry);
            let sent = json!([{ "from": self.from, "to": self.to, "value": "0x0", "data": data }]);
            let sent = self.call("eth_sendTransaction", sent).await?;
            let transaction = sent.as_str().filter(|text| is_digest(text));
            let transaction = transaction.ok_or(AnchorError::Unreachable("it named no transaction"))?;
            Ok(json!({ "transaction": transaction, "to": self.to }))
        })
    }

    fn confirm<'a>(
        &'a self,
        entry: &'a Anchored,
        submitted: &'a Value,
    ) -> BoxFuture<'a, Result<Value, AnchorError>> {
        Box::pin(async move {
            let transaction = submitted["transaction"].as_str().filter(|text| is_digest(text));
            let transaction = transaction.ok_or(AnchorError::Forgotten)?;
            // Only what a block says of it is final.
            let receipt = self.receipt(transaction).await?;
            if receipt["status"].as_str() != Some("0x1") {
                return Err(AnchorError::Refused("the transaction failed".to_owned()));
            }
            let found = self.call("eth_getTransactionByHash", json!([transaction])).await;
            let found = found.map_err(|_| AnchorError::Late(self.confirmed_within))?;
            let input = found.get("input").or_else(|| found.get("data")).and_then(Value::as_str);
            if !input.is_some_and(|input| input.eq_ignore_ascii_case(&data_of(entry))) {
                return Err(AnchorError::Unreachable("what it recorded is not the digest"));
            }
            let block =
                receipt["blockNumber"].as_str().map(|block| block.chars().take(66).collect::<String>());
            Ok(json!({ "transaction": transaction, "block": block, "to": submitted["to"] }))
        })
    }
}

fn data_of(entry: &Anchored) -> String {
    format!("0x{}", entry.result_sha256)
}

fn is_digest(text: &str) -> bool {
    text.strip_prefix("0x")
        .is_some_and(|digits| digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests;

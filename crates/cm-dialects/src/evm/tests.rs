//! Against a small ledger that speaks the protocol over a real socket: transactions wait for a block, and blocks come when it is asked.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use cm_types::{Sha256Digest, Timestamp};
use tokio::net::TcpListener;

use super::*;

const ACCOUNT: &str = "0x52908400098527886E0F7030069857D2E4169EE7";

#[derive(Default)]
struct Chain {
    /// By transaction: what was sent, and in which block it is.
    transactions: BTreeMap<String, (Value, Option<u64>)>,
    asked: u64,
    /// Answers of another kind than they should be.
    fault: Option<&'static str>,
}

type Ledger = Arc<Mutex<Chain>>;

async fn answer(State(ledger): State<Ledger>, Json(call): Json<Value>) -> Json<Value> {
    let mut chain = ledger.lock().unwrap();
    let first = call["params"][0].clone();
    let result = match call["method"].as_str().unwrap() {
        "eth_sendTransaction" if first["from"] != ACCOUNT => {
            return Json(
                json!({ "jsonrpc": "2.0", "id": 1, "error": { "code": -32000, "message": "unknown account" } }),
            );
        }
        "eth_sendTransaction" => {
            let name = format!("0x{:064x}", chain.transactions.len() + 1);
            chain.transactions.insert(name.clone(), (first, None));
            json!(name)
        }
        "eth_getTransactionReceipt" => {
            chain.asked += 1;
            let (number, is_failed) = (chain.asked, chain.fault == Some("failed"));
            let is_busy = chain.fault == Some("busy");
            if number == 1 {
                let error = json!({ "code": -32005, "message": "limit exceeded" });
                return Json(json!({ "jsonrpc": "2.0", "id": 1, "error": error }));
            }
            let Some((_, block)) = chain.transactions.get_mut(first.as_str().unwrap()) else {
                return Json(json!({ "jsonrpc": "2.0", "id": 1, "result": null }));
            };
            if number < 3 || is_busy {
                Value::Null
            } else {
                *block = Some(number);
                json!({ "status": if is_failed { "0x0" } else { "0x1" }, "blockNumber": format!("{number:#x}") })
            }
        }
        "eth_getTransactionByHash" => {
            let Some((sent, _)) = chain.transactions.get(first.as_str().unwrap()) else {
                return Json(json!({ "jsonrpc": "2.0", "id": 1, "result": null }));
            };
            let other = json!("0x00");
            json!({ "input": if chain.fault == Some("other") { &other } else { &sent["data"] } })
        }
        other => panic!("{other}"),
    };
    Json(json!({ "jsonrpc": "2.0", "id": 1, "result": result }))
}

async fn ledger(fault: Option<&'static str>) -> (String, Ledger, tokio::task::JoinSet<()>) {
    let chain: Ledger = Arc::new(Mutex::new(Chain { fault, ..Chain::default() }));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/secret", listener.local_addr().unwrap());
    let app = Router::new().route("/secret", post(answer)).with_state(chain.clone());
    let mut serving = tokio::task::JoinSet::new();
    serving.spawn(async move { axum::serve(listener, app).await.unwrap() });
    (url, chain, serving)
}

fn entry() -> Anchored {
    Anchored {
        at: Timestamp::from_micros(1),
        computation: "c".to_owned(),
        run: "r".to_owned(),
        result_sha256: Sha256Digest::from_bytes([0xab; 32]),
        group_key: String::new(),
        signature: String::new(),
    }
}

async fn record(anchor: &EvmAnchor) -> Result<Value, AnchorError> {
    let submitted = anchor.submit(&entry()).await?;
    anchor.confirm(&entry(), &submitted).await
}

#[tokio::test]
async fn what_was_submitted_is_looked_for_again_and_not_sent_again() {
    let (url, chain, _serving) = ledger(Some("busy")).await;
    let mut anchor = EvmAnchor::new(&url, ACCOUNT.to_owned(), None).unwrap();
    anchor.confirmed_within = Duration::ZERO;
    let submitted = anchor.submit(&entry()).await.unwrap();
    let late = anchor.confirm(&entry(), &submitted).await.unwrap_err();
    assert!(matches!(late, AnchorError::Late(_)), "{late}");
    chain.lock().unwrap().fault = None;
    chain.lock().unwrap().asked = 3;
    let place = anchor.confirm(&entry(), &submitted).await.unwrap();
    assert_eq!(
        (&place["transaction"], chain.lock().unwrap().transactions.len()),
        (&submitted["transaction"], 1)
    );
    chain.lock().unwrap().transactions.clear();
    let forgotten = anchor.confirm(&entry(), &submitted).await.unwrap_err();
    assert!(matches!(forgotten, AnchorError::Forgotten), "{forgotten}");
}

#[tokio::test]
async fn a_digest_is_recorded_once_it_is_in_a_block() {
    let (url, chain, _serving) = ledger(None).await;
    let anchor = EvmAnchor::new(&url, ACCOUNT.to_owned(), None).unwrap();
    assert!(!format!("{anchor:?}").contains("secret"));
    let place = record(&anchor).await.unwrap();
    assert_eq!(place["block"], "0x3");
    let chain = chain.lock().unwrap();
    let (sent, _) = &chain.transactions[place["transaction"].as_str().unwrap()];
    assert_eq!(sent["data"], format!("0x{}", "ab".repeat(32)));
    assert_eq!((&sent["to"], &sent["value"]), (&json!(ACCOUNT), &json!("0x0")));
}

#[tokio::test]
async fn what_the_ledger_does_not_record_is_not_said_to_be_recorded() {
    for (fault, account, expected) in [
        (None, "0x0000000000000000000000000000000000000001", "the ledger refused: unknown account"),
        (Some("failed"), ACCOUNT, "the ledger refused: the transaction failed"),
        (Some("other"), ACCOUNT, "what it recorded is not the digest"),
    ] {
        let (url, _, _serving) = ledger(fault).await;
        let anchor = EvmAnchor::new(&url, account.to_owned(), None).unwrap();
        let error = record(&anchor).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let (url, _, serving) = ledger(None).await;
    drop(serving);
    let anchor = EvmAnchor::new(&url, ACCOUNT.to_owned(), None).unwrap();
    let error = record(&anchor).await.unwrap_err().to_string();
    assert!(error.contains("cannot be reached") && !error.contains("/secret"), "{error}");
    assert!(EvmAnchor::new("ftp://x/", ACCOUNT.to_owned(), None).is_err());
    assert!(is_address(ACCOUNT) && !is_address("0x1") && !is_address(&ACCOUNT[2..]));
}

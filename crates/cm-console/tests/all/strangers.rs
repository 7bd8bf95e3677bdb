//! Pages of other sites in the same browser, while somebody is logged in.

use axum::Router;
use axum::response::Html;
use axum::routing::get;
use serde_json::Value;

use crate::api::Served;
use crate::browser::Browser;
use crate::pages::log_in;

/// Serves a page on a port, hence an origin, of its own. Cookies know no ports: the browser takes it for the same site.
async fn stranger() -> String {
    let page =
        Router::new().route("/", get(|| async { Html("<!doctype html><title>stranger</title><p>hello") }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let tasks = cm_runtime::Tasks::new();
    tasks.clone().spawn("stranger", async move {
        cm_http::serve(listener, page, cm_http::ServerLimits::default(), &tasks).await
    });
    format!("http://localhost:{port}/")
}

#[tokio::test]
async fn a_strangers_page_changes_and_reads_nothing() {
    let (served, browser) = (Served::start().await, Browser::start().await);
    log_in(&browser, &served).await;
    let target = served.url("api/v1/functions/f");
    browser.open(&stranger().await).await;
    // As pages ask without the browser asking back, with the cookie where it goes along.
    for attempt in [
        format!(
            "fetch('{target}', {{ method: 'POST', mode: 'no-cors', credentials: 'include', body: 'x' }})"
        ),
        format!("fetch('{target}', {{ method: 'DELETE', credentials: 'include' }})"),
        format!(
            "fetch('{target}', {{ method: 'POST', credentials: 'include', headers: {{ 'X-CryptoMesh-Console': '1' }} }})"
        ),
        format!(
            "fetch('{}', {{ method: 'POST', mode: 'no-cors', credentials: 'include', body: '{{\"token\":\"key\"}}' }})",
            served.url("session")
        ),
        format!("fetch('{}', {{ method: 'DELETE', credentials: 'include' }})", served.url("session")),
    ] {
        let script = format!("return {attempt}.then((answer) => answer.status, () => 'refused')");
        let outcome = browser.run(&script).await;
        assert!(outcome == "refused" || outcome == 0, "{attempt}: {outcome}");
    }
    let read = format!(
        "return fetch('{target}', {{ credentials: 'include' }}).then((answer) => answer.text(), () => 'refused')"
    );
    assert_eq!(browser.run(&read).await, "refused");
    let form = format!(
        "const form = document.createElement('form'); form.method = 'post'; form.enctype = 'text/plain'; form.action = '{target}'; document.body.append(form); form.submit()"
    );
    browser.run(&form).await;
    browser.wait("location.port !== '' && document.body.innerText.includes('forbidden')").await;
    assert!(served.changes.lock().unwrap().is_empty(), "{:?}", served.changes);
    // The session is still there, and its cookie hidden.
    browser.open(&served.url("")).await;
    browser.wait("document.querySelector('.shell main h1')").await;
    assert_eq!(browser.run("return document.cookie").await, "");
    assert_eq!(browser.run("try { document.createElement('p').innerHTML = '<b>x</b>'; return 'made' } catch { return 'refused' }").await, "refused");
}

#[tokio::test]
async fn a_session_that_ends_asks_for_the_login_and_comes_back_to_the_page() {
    let (served, browser) = (Served::start().await, Browser::start().await);
    browser.open(&served.url("#/functions")).await;
    browser.wait("document.querySelector('.login form')").await;
    let wrong = "const field = document.querySelector('input[name=token]'); field.value = 'wrong'; field.form.requestSubmit()";
    browser.run(wrong).await;
    browser.wait("document.querySelector('.login .failure')").await;
    assert_eq!(browser.run("return window.pwned ?? null").await, Value::Null);
    browser.run("const field = document.querySelector('input[name=token]'); field.value = 'key'; field.form.requestSubmit()").await;
    browser.wait("document.querySelector('main h1')?.textContent === 'Functions'").await;
    browser.run("document.querySelector('[aria-label=\"Log out\"]').click()").await;
    browser.wait("document.querySelector('.login form')").await;
    assert_eq!(*served.changes.lock().unwrap(), ["POST auth/logout"]);
}

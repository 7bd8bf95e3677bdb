//! Every page, in both colours and both widths.

use std::path::Path;

use crate::api::{HOSTILE, Served};
use crate::browser::Browser;

/// Widths of a telephone and of a desk.
const WIDTHS: [u32; 2] = [375, 1280];
const SCHEMES: [&str; 2] = ["light", "dark"];

/// Logs in with a key, as a person does.
pub(crate) async fn log_in(browser: &Browser, served: &Served) {
    browser.open(&served.url("")).await;
    browser.wait("document.querySelector('.login form')").await;
    browser
        .run("const field = document.querySelector('input[name=token]'); field.value = 'key'; field.form.requestSubmit()")
        .await;
    browser.wait("document.querySelector('.shell main h1')").await;
    // What the browser notes of the first question, which nobody had answered for lack of a session.
    browser.errors().await;
}

/// The pages, by name, with something that shows that their parts have come.
fn pages() -> Vec<(&'static str, String)> {
    let hostile = percent_encoded(HOSTILE);
    let of = |place: &str| format!("#/{place}/{hostile}");
    vec![
        ("overview", "#/".to_owned()),
        ("catalogue", "#/catalogue".to_owned()),
        ("service", of("catalogue/services")),
        ("active-object", of("catalogue/active-objects")),
        ("functions", "#/functions".to_owned()),
        ("function", of("functions")),
        ("instances", "#/instances".to_owned()),
        ("instance", of("instances")),
        ("buckets", "#/buckets".to_owned()),
        ("bucket", of("buckets")),
        ("object", format!("#/object/{hostile}/{hostile}")),
        ("threats", "#/threats".to_owned()),
        ("threat", "#/threats/7".to_owned()),
        ("report", "#/threats/report".to_owned()),
        ("peers", "#/peers".to_owned()),
        ("reputation", of("reputations")),
        ("audit", "#/audit".to_owned()),
        ("access", "#/access".to_owned()),
        ("principal", of("principals")),
        ("decisions", "#/decisions".to_owned()),
        ("passkeys", "#/passkeys".to_owned()),
        ("missing", "#/nothing/at/all".to_owned()),
    ]
}

fn percent_encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// All of a page's parts have come, and so has what its tabs and folds hide.
async fn settle(browser: &Browser) {
    browser.wait("document.querySelector('main h1') && !document.querySelector('main [aria-busy]')").await;
}

#[tokio::test]
async fn every_page_takes_texts_for_texts_whatever_its_width_and_colours() {
    let (served, browser) = (Served::start().await, Browser::start().await);
    let pictures = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../console");
    std::fs::create_dir_all(&pictures).unwrap();
    log_in(&browser, &served).await;
    for width in WIDTHS {
        for scheme in SCHEMES {
            browser.look(width, scheme).await;
            for (name, place) in pages() {
                browser.open(&served.url(&place)).await;
                settle(&browser).await;
                let what = format!("{name}, {width}, {scheme}");
                // Tabs fetch and draw when they are chosen.
                let tabs = browser
                    .run("return document.querySelectorAll('main [role=tab]').length")
                    .await
                    .as_u64()
                    .unwrap();
                for tab in 0..tabs {
                    browser
                        .run(&format!("document.querySelectorAll('main [role=tab]')[{tab}].click()"))
                        .await;
                    settle(&browser).await;
                }
                browser
                    .run("for (const fold of document.querySelectorAll('main details')) fold.open = true")
                    .await;
                assert_eq!(
                    browser.run("return window.pwned ?? null").await,
                    serde_json::Value::Null,
                    "{what}"
                );
                let made = "return document.querySelectorAll('main img, main script, main [onerror], a[href^=javascript]').length";
                assert_eq!(browser.run(made).await, 0, "{what}");
                let over = browser.run("return document.documentElement.scrollWidth - innerWidth").await;
                assert!(over.as_i64().unwrap() <= 0, "{what}: {over} px too wide");
                let nameless = "return [...document.querySelectorAll('button, a[href], input:not([type=file]), select')].filter((each) => !(each.textContent.trim() || each.getAttribute('aria-label') || each.labels?.length || each.title)).length";
                assert_eq!(
                    browser.run(nameless).await,
                    0,
                    "{what}: something has no name for who does not see it"
                );
                assert_eq!(
                    browser.run("return document.querySelectorAll('main h1').length").await,
                    1,
                    "{what}"
                );
                let dark =
                    browser.run("return getComputedStyle(document.documentElement).backgroundColor").await;
                assert_eq!(dark == "rgb(13, 17, 23)", scheme == "dark", "{what}: {dark}");
                let errors = browser.errors().await;
                assert!(errors.is_empty(), "{what}: {errors:?}");
                browser.run("for (const fold of document.querySelectorAll('main details')) fold.open = false; scrollTo(0, 0)").await;
                std::fs::write(
                    pictures.join(format!("{name}-{scheme}-{width}.png")),
                    browser.picture().await,
                )
                .unwrap();
            }
        }
    }
}

#[tokio::test]
async fn forms_show_what_the_node_answers() {
    let (served, browser) = (Served::start().await, Browser::start().await);
    log_in(&browser, &served).await;
    for (place, fill, shown) in [
        (
            "#/decisions",
            "document.querySelector('[name=resource]').value = 'function/x'; document.querySelector('main form').requestSubmit()",
            ".verdict.bad .reasons li",
        ),
        ("#/audit", "document.querySelector('[name=anchor]').form.requestSubmit()", ".verdict.bad table td"),
        (
            "#/threats/report",
            "for (const name of ['source_ip', 'threat_type']) document.querySelector(`[name=${name}]`).value = 'x'; document.querySelector('main form').requestSubmit()",
            ".verdict.good a",
        ),
    ] {
        browser.open(&served.url(place)).await;
        settle(&browser).await;
        browser.run(fill).await;
        browser.wait(&format!("document.querySelector('{shown}')")).await;
        assert_eq!(browser.run("return window.pwned ?? null").await, serde_json::Value::Null, "{place}");
    }
    assert_eq!(
        *served.changes.lock().unwrap(),
        ["POST decisions", "POST events/verify", "POST intel/events"]
    );
    assert!(browser.errors().await.is_empty());
}

#[tokio::test]
async fn a_key_that_steps_through_addresses_leads_nowhere() {
    let (served, browser) = (Served::start().await, Browser::start().await);
    log_in(&browser, &served).await;
    for (asked, expected) in [
        ("api.objectAddress('b', 'a/b c').pathname.endsWith('/buckets/b/objects/a/b%20c')", true),
        ("api.isAddressable('a/.b/...')", true),
        ("api.isAddressable('a/./b')", false),
        ("api.objectAddress('b', '../../../principals/bob')", false),
        ("api.objectAddress('b', 'a/..', 'version')", false),
        ("api.address(['principals', '..'])", false),
    ] {
        let script = format!(
            "return import('/console/assets/api.js').then((api) => {{ try {{ return Boolean({asked}) }} catch {{ return false }} }})"
        );
        assert_eq!(browser.run(&script).await, expected, "{asked}");
    }
}

#[tokio::test]
async fn what_happens_appears_without_being_asked_for() {
    let (served, browser) = (Served::start().await, Browser::start().await);
    log_in(&browser, &served).await;
    // The stream of the test's API has one message more than the list.
    browser.open(&served.url("#/threats")).await;
    browser.wait("document.querySelectorAll('main tbody tr.fresh').length >= 1").await;
    browser.open(&served.url("#/")).await;
    browser.wait("document.querySelector('.feed .fresh')").await;
}

#[tokio::test]
async fn the_keyboard_and_the_switch_of_colours_work() {
    let (served, browser) = (Served::start().await, Browser::start().await);
    browser.look(375, "light").await;
    log_in(&browser, &served).await;
    let scheme = "return getComputedStyle(document.documentElement).colorScheme";
    assert_eq!(browser.run(scheme).await, "light dark");
    for expected in ["light", "dark", "light dark"] {
        browser.run("document.querySelector('.theme').click()").await;
        assert_eq!(browser.run(scheme).await, expected);
    }
    // The skip link leads to the content, and the menu says whether it is open.
    browser.run("document.querySelector('.skip').click()").await;
    assert_eq!(browser.run("return document.activeElement.id").await, "main");
    let menu = "return document.querySelector('.menu').getAttribute('aria-expanded') + getComputedStyle(document.querySelector('.nav')).visibility";
    assert_eq!(browser.run(menu).await, "falsehidden");
    browser.run("document.querySelector('.menu').click()").await;
    browser.wait("getComputedStyle(document.querySelector('.nav')).visibility === 'visible'").await;
    browser.run("document.dispatchEvent(new KeyboardEvent('keydown', { key: 'Escape' }))").await;
    browser.wait("getComputedStyle(document.querySelector('.nav')).visibility === 'hidden'").await;
    // Whoever goes to another page hears its heading.
    browser.run("location.hash = '#/functions'").await;
    browser
        .wait("document.activeElement.tagName === 'H1' && document.activeElement.textContent === 'Functions'")
        .await;
    browser.run("location.hash = '#/catalogue'; return null").await;
    browser.wait("document.querySelector('[role=tab][aria-selected=true]')").await;
    browser.run("const tab = document.querySelector('[role=tab]'); tab.focus(); tab.dispatchEvent(new KeyboardEvent('keydown', { key: 'ArrowRight', bubbles: true }))").await;
    assert_eq!(browser.run("return document.activeElement.textContent").await, "Storages");
}

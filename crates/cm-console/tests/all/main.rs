//! The pages in a real browser: headless Chromium, driven by `chromedriver` (W3C WebDriver).
//!
//! What they ask is an API of the test's, whose every text is hostile: what a page makes of it must be text. Screenshots are left in
//! `target/console`, by page, colours and width.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails by panicking")]

mod api;
#[allow(dead_code, reason = "tests of whole nodes use what these do not")]
mod browser;
mod pages;
mod strangers;

//! Listing against a naive model.

use proptest::prelude::*;

use super::*;

#[tokio::test]
async fn pages_follow_each_other_and_prefixes_are_folded() {
    let bench = Bench::new().await;
    for name in ["a", "a/1", "a/2", "a/b/3", "b", "c/1", "d", "ä", "z"] {
        bench.put(name, b"").await.unwrap();
    }
    let folded = ListQuery { delimiter: Some("/".into()), ..ListQuery::default() };
    let page = bench.list(folded.clone()).await.unwrap();
    let keys: Vec<_> = page.items.iter().map(|item| item.key.as_str()).collect();
    assert_eq!((keys, page.common_prefixes), (vec!["a", "b", "d", "z", "ä"], vec!["a/".into(), "c/".into()]));
    let under = ListQuery { prefix: "a/".into(), ..folded };
    let page = bench.list(under).await.unwrap();
    assert_eq!((page.items.len(), page.common_prefixes), (2, vec!["a/b/".to_owned()]));
    let begin = |text: &str, delimiter: Option<&str>| ListQuery {
        start_after: Some(text.into()),
        delimiter: delimiter.map(str::to_owned),
        ..ListQuery::default()
    };
    for (text, delimiter, keys, prefixes) in [
        ("a/1", None, vec!["a/2", "a/b/3", "b", "c/1", "d", "z", "ä"], vec![]),
        ("a/", Some("/"), vec!["b", "d", "z", "ä"], vec!["c/"]),
        ("a/1", Some("/"), vec!["b", "d", "z", "ä"], vec!["c/"]),
        ("c", Some("/"), vec!["d", "z", "ä"], vec!["c/"]),
        ("zz\u{0}", None, vec!["ä"], vec![]),
    ] {
        let page = bench.list(begin(text, delimiter)).await.unwrap();
        let found: Vec<_> = page.items.iter().map(|item| item.key.as_str()).collect();
        assert_eq!(
            (found, page.common_prefixes),
            (keys, prefixes.into_iter().map(str::to_owned).collect()),
            "{text}"
        );
    }
    let bad = ListQuery { after: Some(cm_types::Cursor("x".into())), ..ListQuery::default() };
    assert!(matches!(bench.list(bad).await, Err(ObjectError::InvalidCursor)));
}

fn model(keys: &[String], prefix: &str, delimiter: Option<&str>) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for key in keys {
        let Some(rest) = key.strip_prefix(prefix) else { continue };
        let entry = match delimiter.and_then(|delimiter| rest.find(delimiter)) {
            Some(at) => format!("P {prefix}{}", &rest[..=at]),
            None => format!("K {key}"),
        };
        if found.last() != Some(&entry) {
            found.push(entry);
        }
    }
    found.sort();
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn every_paging_finds_what_the_model_finds(
        keys in prop::collection::btree_set("[ab/é]{1,5}", 0..14),
        prefix in "[ab/]{0,2}", folded in any::<bool>(), limit in 1usize..5,
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(async {
            let bench = Bench::new().await;
            for key in &keys {
                bench.put(key, b"").await.unwrap();
            }
            let delimiter = folded.then(|| "/".to_owned());
            let limit = cm_types::PageLimit::clamped(limit);
            let mut query = ListQuery { prefix: prefix.clone(), delimiter: delimiter.clone(), limit, ..ListQuery::default() };
            let mut found = Vec::new();
            loop {
                let page = bench.list(query.clone()).await.unwrap();
                let entries = page.items.len() + page.common_prefixes.len();
                prop_assert!(entries <= limit.get() && (entries == limit.get() || page.next.is_none()));
                found.extend(page.items.iter().map(|item| format!("K {}", item.key)));
                found.extend(page.common_prefixes.iter().map(|common| format!("P {common}")));
                match page.next {
                    Some(next) => query.after = Some(next),
                    None => break,
                }
            }
            found.sort();
            let keys: Vec<String> = keys.into_iter().collect();
            prop_assert_eq!(found, model(&keys, &prefix, delimiter.as_deref()));
            Ok(())
        })?;
    }
}

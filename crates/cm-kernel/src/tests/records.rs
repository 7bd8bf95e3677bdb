//! Labels, references, history.

use cm_catalog::CatalogError;

use super::*;

fn labels(env: &str) -> Labels {
    Labels::try_from(std::collections::BTreeMap::from([("env".to_owned(), env.to_owned())])).unwrap()
}

fn relabel(env: &str) -> Change {
    Change { labels: Some(labels(env)), ..Change::default() }
}

#[tokio::test]
async fn a_label_is_no_way_into_what_it_opens() {
    let house = House::open().await;
    let function = ResourceKind::Function;
    house.create_labelled(&house.admin, function, "f", labels("prod"), json!({})).await.unwrap();
    let mallory = house.somebody("mallory", &["function:update", "function:delete@env=dev"]).await;
    assert_eq!(class(house.delete(&mallory, function, "f").await), ErrorClass::NotFound);
    assert_eq!(class(house.update(&mallory, function, "f", relabel("dev")).await), ErrorClass::Forbidden);
    let (kept, _) = house.kernel.look_up::<Read>(&house.admin, function, "f").await.unwrap();
    assert_eq!(kept.header.labels, labels("prod"));
    let harmless = Change { name: Some("renamed".into()), ..relabel("prod") };
    house.update(&mallory, function, "f", harmless).await.unwrap();

    let permit = house.kernel.authorize::<List>(&house.admin, ResourceKind::Event).await.unwrap();
    let filter = EventFilter { verb_prefix: Some("access.".into()), ..EventFilter::default() };
    let denials = house.kernel.event_page(&permit, 0, PageLimit::default(), filter).await.unwrap();
    assert!(denials.items.iter().any(|event| event.facts["action"] == "delete"), "{denials:?}");
}

#[tokio::test]
async fn what_may_be_made_in_one_place_is_not_moved_to_another() {
    let house = House::open().await;
    let function = ResourceKind::Function;
    let confined = ["function:create@env=dev", "function:update@env=dev"];
    let developer = house.somebody("developer-only", &confined).await;
    house.create_labelled(&developer, function, "mine", labels("dev"), json!({})).await.unwrap();
    let planted = house.update(&developer, function, "mine", relabel("prod")).await;
    assert_eq!(class(planted), ErrorClass::Forbidden, "owning it makes no difference");
    let permit =
        house.kernel.authorize_labelled::<Create>(&developer, function, &labels("dev")).await.unwrap();
    let new = NewRecord {
        kind: function,
        id: None,
        name: "planted".into(),
        owner: None,
        labels: labels("prod"),
        spec: json!({}),
        status: Value::Null,
    };
    let planted = house.kernel.create_record(&developer, &permit, new).await;
    assert_eq!(class(planted), ErrorClass::Forbidden, "a permit for other labels");
}

#[tokio::test]
async fn a_security_policy_is_not_changed_to_get_in() {
    let house = House::open().await;
    let (function, policy) = (ResourceKind::Function, ResourceKind::SecurityPolicy);
    house.create(ResourceKind::Role, "public", json!({ "permissions": ["function:invoke"] })).await.unwrap();
    let open = json!({ "roles": ["public"], "requires_authentication": false });
    house.create(policy, "open", open).await.unwrap();
    house.create(function, "f", json!({})).await.unwrap();
    let updater = house.somebody("updater", &["function:update", "security-policy:read"]).await;
    let opened = || Change {
        spec: Some(SpecChange::Replace(json!({ "security_policy": "open" }))),
        ..Change::default()
    };
    assert_eq!(class(house.update(&updater, function, "f", opened()).await), ErrorClass::Forbidden);
    house.update(&house.admin, function, "f", opened()).await.unwrap();
}

fn dangling<T: std::fmt::Debug>(outcome: Result<T, KernelError>) {
    let found = matches!(outcome, Err(KernelError::Catalog(CatalogError::DanglingReference { .. })));
    assert!(found, "{outcome:?}");
}

#[tokio::test]
async fn what_is_hidden_cannot_be_referred_to() {
    let house = House::open().await;
    let (function, policy) = (ResourceKind::Function, ResourceKind::SecurityPolicy);
    house.create(policy, "hidden", json!({})).await.unwrap();
    house.create_labelled(&house.admin, policy, "shown", labels("dev"), json!({})).await.unwrap();
    let stranger = house.somebody("stranger", &["function:create", "security-policy:read@env=dev"]).await;
    let guarded = |policy: &str| json!({ "security_policy": policy });
    dangling(house.create_as(&stranger, function, "a", guarded("hidden")).await);
    dangling(house.create_as(&stranger, function, "a", guarded("absent")).await);
    house.create_as(&stranger, function, "a", guarded("shown")).await.unwrap();
    let change = |policy| Change { spec: Some(SpecChange::Replace(guarded(policy))), ..Change::default() };
    dangling(house.update(&stranger, function, "a", change("hidden")).await);
    dangling(house.update(&stranger, function, "a", change("absent")).await);
    // What somebody else made it refer to stays.
    house.update(&house.admin, function, "a", change("hidden")).await.unwrap();
    house.update(&stranger, function, "a", change("hidden")).await.unwrap();
    house.delete(&house.admin, function, "a").await.unwrap();
    house.delete(&house.admin, policy, "hidden").await.unwrap();
}

#[tokio::test]
async fn a_refusal_names_no_hidden_referrer() {
    let house = House::open().await;
    let (function, policy) = (ResourceKind::Function, ResourceKind::SecurityPolicy);
    let owner = house.somebody("owner", &["security-policy:create", "function:read@env=dev"]).await;
    house.create_as(&owner, policy, "p", json!({})).await.unwrap();
    let referrers = async || match house.delete(&owner, policy, "p").await {
        Err(KernelError::Catalog(CatalogError::StillReferenced { by })) => by,
        other => panic!("{other:?}"),
    };
    house.create(function, "secret", json!({ "security_policy": "p" })).await.unwrap();
    assert_eq!(referrers().await, []);
    let plan = async || {
        let (record, permit) = house.kernel.look_up::<Delete>(&owner, policy, "p").await.unwrap();
        house.kernel.plan_deletion(&owner, &permit, &record.header.id, Dependents::Refuse).await
    };
    assert_eq!(class(plan().await), ErrorClass::Conflict, "a plan that looks as if nothing stood against it");
    let spec = json!({ "security_policy": "p" });
    house.create_labelled(&house.admin, function, "shown", labels("dev"), spec).await.unwrap();
    assert_eq!(referrers().await, [ResourceRef::new(function, "shown")]);
    assert_eq!(plan().await.unwrap().refusing, [ResourceRef::new(function, "shown")]);

    let keeper = house.somebody("keeper", &["role:create"]).await;
    house.create_as(&keeper, ResourceKind::Role, "held", json!({ "permissions": [] })).await.unwrap();
    house.principal("holder", &["held"]).await;
    match house.delete(&keeper, ResourceKind::Role, "held").await {
        Err(KernelError::Catalog(CatalogError::StillReferenced { by })) => assert_eq!(by, []),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn who_may_only_invoke_a_function_may_run_it() {
    let house = House::open().await;
    house.create(ResourceKind::Function, "f", json!({})).await.unwrap();
    let runner = house.somebody("runner", &["function:invoke", "instance:create"]).await;
    house.create_as(&runner, ResourceKind::Instance, "i", json!({ "function": "f" })).await.unwrap();
}

#[tokio::test]
async fn a_function_goes_however_long_its_history() {
    let house = House::open_with(Limits { cascade_records_max: 2, ..Limits::default() }).await;
    let function = ResourceKind::Function;
    house.create(function, "f", json!({})).await.unwrap();
    for state in 0..5 {
        let spec = json!({ "function_id": "f", "state": "running" });
        house.create(ResourceKind::FunctionState, &format!("s{state}"), spec).await.unwrap();
    }
    house.create(ResourceKind::Instance, "i", json!({ "function": "f" })).await.unwrap();
    let refused = house.delete(&house.admin, function, "f").await;
    assert_eq!(class(refused), ErrorClass::Conflict, "and nothing of its history is lost");
    house.kernel.look_up::<Read>(&house.admin, ResourceKind::FunctionState, "s0").await.unwrap();
    house.delete(&house.admin, ResourceKind::Instance, "i").await.unwrap();
    let gone = house.delete(&house.admin, function, "f").await.unwrap();
    assert_eq!(gone, [ResourceRef::new(function, "f")]);
}

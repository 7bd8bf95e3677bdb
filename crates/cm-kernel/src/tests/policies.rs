use super::*;

const POLICY: &str = "pdl 1\nallow user ann to view on function \"f*\"\ndeny anyone to delete on function\n\
                      allow user ann to read on bucket \"open/*\" when mfa\n";

fn policy(source: &str) -> Value {
    json!({ "source": source })
}

/// The same principal, as it would be known now.
async fn again(house: &House, who: &OpContext) -> OpContext {
    op(house.kernel.vouched_for(&who.tenant(), who.principal().unwrap()).await.unwrap())
}

async fn may<A: cm_policy::ActionKind>(house: &House, who: &OpContext, id: &str) -> bool {
    house.kernel.look_up::<A>(who, ResourceKind::Function, id).await.is_ok()
}

const FUNCTION: &str = r#"{"image":"x"}"#;

async fn functions(house: &House) {
    for id in ["f1", "g1"] {
        house.create(ResourceKind::Function, id, serde_json::from_str(FUNCTION).unwrap()).await.unwrap();
    }
}

#[tokio::test]
async fn a_policy_takes_part_in_decisions_until_it_is_gone() {
    let house = House::open().await;
    functions(&house).await;
    let ann = house.principal("ann", &[]).await;
    assert!(!may::<Read>(&house, &ann, "f1").await);
    house.create(ResourceKind::PermissionPolicy, "house", policy(POLICY)).await.unwrap();
    let ann = again(&house, &ann).await;
    assert!(may::<Read>(&house, &ann, "f1").await);
    assert!(!may::<Read>(&house, &ann, "g1").await);
    assert!(!may::<Update>(&house, &ann, "f1").await);
    let permit = house.kernel.authorize::<List>(&ann, ResourceKind::Function).await.unwrap();
    let page = house.kernel.list_records(&ann, &permit, Query::of(ResourceKind::Function)).await.unwrap();
    let ids: Vec<&str> = page.items.iter().map(|record| record.header.id.as_str()).collect();
    assert_eq!(ids, ["f1"], "only what may be read is shown");
    // Its author is held to it, too.
    let admin = again(&house, &house.admin).await;
    assert!(!may::<Delete>(&house, &admin, "f1").await);
    let resource = ResourceRef::new(ResourceKind::Function, "f1");
    let explained =
        house.kernel.explain(&admin, admin.principal().unwrap(), Action::Delete, &resource).await.unwrap();
    assert_eq!(
        explained.to_string(),
        "`function:delete` denied: line 3 of permission policy `house` denies it"
    );
    // Changed, it counts as it is then; switched off, not at all; and it can be taken back.
    let change = |spec: Value| Change { spec: Some(SpecChange::Replace(spec)), ..Change::default() };
    let (_, permit) =
        house.kernel.look_up::<Update>(&admin, ResourceKind::PermissionPolicy, "house").await.unwrap();
    let id = ResourceId::parse("house").unwrap();
    let other = change(policy("pdl 1\nallow user ann to read on function \"g*\""));
    house.kernel.update_record(&admin, &permit, &id, other).await.unwrap();
    let ann = again(&house, &ann).await;
    assert!(!may::<Read>(&house, &ann, "f1").await && may::<Read>(&house, &ann, "g1").await);
    let off = change(json!({ "source": POLICY, "enforced": false }));
    house.kernel.update_record(&admin, &permit, &id, off).await.unwrap();
    let ann = again(&house, &ann).await;
    assert!(!may::<Read>(&house, &ann, "f1").await && !may::<Read>(&house, &ann, "g1").await);
    let (_, permit) =
        house.kernel.look_up::<Delete>(&admin, ResourceKind::PermissionPolicy, "house").await.unwrap();
    house.kernel.delete_record(&admin, &permit, &id, None, Dependents::Refuse).await.unwrap();
    let admin = again(&house, &admin).await;
    assert!(may::<Delete>(&house, &admin, "f1").await);
}

#[tokio::test]
async fn only_administrators_write_policies() {
    let house = House::open().await;
    let keeper = house.somebody("keeper", &["permission-policy:*"]).await;
    let refused = house.create_as(&keeper, ResourceKind::PermissionPolicy, "mine", policy(POLICY)).await;
    assert!(matches!(refused, Err(KernelError::OnlyAdministrators)), "{refused:?}");
    house.create(ResourceKind::PermissionPolicy, "house", policy(POLICY)).await.unwrap();
    let (_, permit) =
        house.kernel.look_up::<Delete>(&keeper, ResourceKind::PermissionPolicy, "house").await.unwrap();
    let id = ResourceId::parse("house").unwrap();
    let refused = house.kernel.delete_record(&keeper, &permit, &id, None, Dependents::Refuse).await;
    assert!(matches!(refused, Err(KernelError::OnlyAdministrators)), "{refused:?}");
}

#[tokio::test]
async fn what_is_no_document_is_refused_with_its_place() {
    let house = House::open().await;
    let refused = house
        .create(ResourceKind::PermissionPolicy, "p", policy("pdl 1\nallow anyone to fly on bucket"))
        .await;
    let error = refused.unwrap_err().to_string();
    assert!(error.contains("2:17: unknown action `fly`"), "{error}");
}

#[tokio::test]
async fn a_refusal_by_a_statement_is_an_event() {
    let house = House::open().await;
    functions(&house).await;
    house
        .create(ResourceKind::PermissionPolicy, "house", policy("pdl 1\ndeny user eve to read on function"))
        .await
        .unwrap();
    let eve = house.somebody("eve", &["function:*"]).await;
    assert!(!may::<Read>(&house, &eve, "f1").await);
    let events = house.kernel.events().clone();
    let found = house
        .kernel
        .db()
        .read(move |tx| {
            let filter =
                EventFilter { verb_prefix: Some("access.denied".to_owned()), ..EventFilter::default() };
            Ok::<_, KernelError>(events.page(tx, 0, PageLimit::MAX, &filter)?.items)
        })
        .await
        .unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].facts["reasons"], json!(["statement-denies"]));
}

#[tokio::test]
async fn how_one_asks_matters() {
    let clock = cm_runtime::ManualClock::new();
    let house = super::challenges::house(&clock).await;
    functions(&house).await;
    let window = hour_of(house.kernel.now());
    let source = format!(
        "pdl 1\nallow user ann to read on function \"f1\" when address in 10.0.0.0/8 and time in {window}"
    );
    house.create(ResourceKind::PermissionPolicy, "house", policy(&source)).await.unwrap();
    let ann = house.principal("ann", &[]).await;
    let from = |address: &str| ann.clone().asked_at(house.kernel.now(), Some(address.parse().unwrap()), None);
    assert!(!may::<Read>(&house, &ann, "f1").await, "what is not known does not hold");
    let asked = from("10.1.1.1");
    assert!(may::<Read>(&house, &asked, "f1").await);
    assert!(!may::<Read>(&house, &from("192.0.2.1"), "f1").await);
    clock.advance(std::time::Duration::from_secs(3600));
    assert!(!may::<Read>(&house, &from("10.1.1.1"), "f1").await);
    // A request may take its time; what it asked for is decided when it comes to that.
    assert!(!may::<Read>(&house, &asked, "f1").await, "the window closed while the request was on its way");
}

/// The window of the hour in which a moment lies.
fn hour_of(now: cm_types::Timestamp) -> String {
    let hour = (now.as_secs() / 3600).rem_euclid(24);
    format!("{hour:02}:00..{:02}:00", (hour + 1) % 24)
}

#[tokio::test]
async fn who_is_spoken_of_is_made_and_taken_over_by_administrators_only() {
    let house = House::open().await;
    house.create(ResourceKind::Role, "archivist", json!({ "permissions": [] })).await.unwrap();
    house.create(ResourceKind::Role, "suspended", json!({ "permissions": [] })).await.unwrap();
    let source = "pdl 1\nallow user bob to do anything on anything\n\
                  deny anyone to delete on function unless role archivist or user carol\n\
                  deny role suspended to read on function\n\
                  allow authenticated to read on function when subject.id like \"ops-*\"\n";
    house.principal("bob", &[]).await;
    house.principal("dan", &[]).await;
    let desk = house.somebody("desk", &["principal:*"]).await;
    house.principal("eve", &["suspended"]).await;
    house.create(ResourceKind::PermissionPolicy, "house", policy(source)).await.unwrap();
    let desk = again(&house, &desk).await;
    let password = || Secret::new("correct horse battery".to_owned());
    let (bob, permit) = house.kernel.look_up_principal::<Grant>(&desk, "bob").await.unwrap();
    let refused = house.kernel.set_password(&desk, &permit, &bob, password()).await;
    assert!(matches!(refused, Err(KernelError::NamedByPolicies(_))), "{refused:?}");
    let (dan, permit) = house.kernel.look_up_principal::<Grant>(&desk, "dan").await.unwrap();
    house.kernel.set_password(&desk, &permit, &dan, password()).await.unwrap();
    let create = house.kernel.authorize::<Create>(&desk, ResourceKind::Principal).await.unwrap();
    for (name, is_free) in [("carol", false), ("ops-7", false), ("dora", true)] {
        let id = PrincipalId::parse(name).unwrap();
        let new = NewPrincipal { id, display_name: None, roles: Vec::new() };
        let made = house.kernel.create_principal(&desk, &create, new).await;
        assert_eq!(made.is_ok(), is_free, "{name}: {made:?}");
    }
    for (name, roles) in [("desk", vec!["archivist", "role-of-desk"]), ("eve", vec![])] {
        let roles = Some(roles.into_iter().map(|role| ResourceId::parse(role).unwrap()).collect());
        let (principal, permit) = house.kernel.look_up_principal::<Update>(&desk, name).await.unwrap();
        let change = cm_identity::PrincipalChange { roles, ..Default::default() };
        let refused = house.kernel.update_principal(&desk, &permit, &principal.id, change).await;
        assert!(matches!(refused, Err(KernelError::GivesMoreThanHeld { .. })), "{name}: {refused:?}");
    }
}

#[tokio::test]
async fn a_namesake_inherits_nothing_that_applications_declared() {
    use crate::applications::{Scopes, change_within};

    let house = House::open().await;
    house.principal("bob", &[]).await;
    let tenant = house.admin.tenant();
    let has = |tx: &mut cm_db::WriteTx<'_>| {
        change_within::<Scopes, bool>(tx, &cm_types::TenantId::default_tenant(), |scopes| {
            Ok(scopes.admits("bob", "ops", cm_types::Timestamp::from_micros(0)))
        })
    };
    let given = move |tx: &mut cm_db::WriteTx<'_>| {
        change_within::<Scopes, ()>(tx, &tenant, |scopes| {
            scopes.create("ops")?;
            scopes.assign("bob", "ops")
        })
    };
    house.kernel.db().write(given).await.unwrap();
    assert!(house.kernel.db().write(has).await.unwrap());
    house.delete_principal(&house.admin, "bob").await.unwrap();
    house.principal("bob", &[]).await;
    assert!(!house.kernel.db().write(has).await.unwrap());
}

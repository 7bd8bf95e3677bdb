use super::*;

#[test]
fn a_required_layer_that_does_not_stand_is_an_error_with_its_reason() {
    let layers = [
        Layer { name: "seccomp", missing: None },
        Layer { name: "landlock", missing: Some("the kernel does not enforce landlock".to_owned()) },
    ];
    let check = |required: &[&str], expected: Option<&str>| {
        let required: Vec<String> = required.iter().map(|name| (*name).to_owned()).collect();
        let said = demand(&required, &layers).err().map(|error| chain(&error));
        assert_eq!(said.as_deref(), expected, "{required:?}");
    };
    check(&[], None);
    check(&["seccomp"], None);
    let missing =
        "the isolation layer `landlock` is required and does not stand: the kernel does not enforce landlock";
    check(&["seccomp", "landlock"], Some(missing));
    let unknown = "the isolation layer `moat` is required and does not stand: there is no layer of this name";
    check(&["moat"], Some(unknown));
}

#[test]
fn an_instance_lives_no_longer_than_its_policy() {
    let now = SystemTime::now();
    let expiry = Timestamp::from(now).after(Duration::from_secs(60));
    assert_eq!(remaining(expiry, now).unwrap(), Duration::from_secs(60));
    assert!(matches!(remaining(now.into(), now), Err(StartError::Expired)));
    assert!(matches!(remaining(expiry, now + Duration::from_secs(61)), Err(StartError::Expired)));
}

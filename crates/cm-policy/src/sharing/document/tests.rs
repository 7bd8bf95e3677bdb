use proptest::prelude::*;
use serde_json::json;

use super::*;

fn policy(statement: Value) -> PolicyDocument {
    PolicyDocument::parse(json!({ "Version": "2012-10-17", "Statement": [statement] }).to_string()).unwrap()
}

fn judge(policy: &PolicyDocument, who: Option<&str>, used: Use, resource: &str) -> Verdict {
    let (principal, tenant) = (who.map(|id| PrincipalId::parse(id).unwrap()), TenantId::default_tenant());
    policy.judge(&PolicyRequest {
        principal: principal.as_ref(),
        tenant: who.map(|_| &tenant),
        bucket_tenant: &tenant,
        used,
        resource,
        circumstances: &Circumstances::new(),
    })
}

fn check(statement: Value, who: Option<&str>, used: Use, resource: &str, applies: bool) {
    let found = judge(&policy(statement.clone()), who, used, resource);
    assert_eq!(found != Verdict::Silent, applies, "{statement} {who:?} {used:?} {resource}: {found:?}");
}

#[test]
fn principals_actions_and_resources() {
    let reading = |principal: Value| {
        json!({
            "Effect": "Allow", "Principal": principal, "Action": "s3:GetObject", "Resource": "arn:aws:s3:::b/*"
        })
    };
    for everybody in [json!("*"), json!({ "AWS": "*" }), json!({ "AWS": ["x", "*"] })] {
        check(reading(everybody.clone()), None, Use::GetObject, "b/k", true);
        check(reading(everybody.clone()), Some("ann"), Use::GetObject, "b/k/l", true);
        check(reading(everybody.clone()), None, Use::GetObject, "b", false);
        check(reading(everybody.clone()), None, Use::GetObject, "bb/k", false);
        check(reading(everybody.clone()), None, Use::GetObjectVersion, "b/k", false);
        check(reading(everybody), None, Use::PutObject, "b/k", false);
    }
    for ann in [
        json!({ "AWS": "arn:aws:iam:::user/ann" }),
        json!({ "AWS": "arn:aws:iam::default:user/ann" }),
        json!({ "AWS": "ann" }),
        json!({ "CanonicalUser": ["bob", "ann"] }),
        json!({ "AWS": "arn:aws:iam::default:root" }),
    ] {
        check(reading(ann.clone()), Some("ann"), Use::GetObject, "b/k", true);
        check(reading(ann), None, Use::GetObject, "b/k", false);
    }
    for nobody in [
        json!({ "AWS": "arn:aws:iam::other:user/ann" }),
        json!({ "AWS": "arn:aws:iam::other:root" }),
        json!({ "AWS": "arn:aws:iam:::role/ann" }),
        json!({ "Service": "logging.s3.amazonaws.com" }),
    ] {
        check(reading(nobody), Some("ann"), Use::GetObject, "b/k", false);
    }
}

#[test]
fn the_account_of_a_resource_may_be_any() {
    let reading = |resource: &str| json!({ "Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": resource });
    check(reading("arn:aws:s3::*:b/*"), None, Use::GetObject, "b/k", true);
    check(reading("arn:aws:s3::*:b/*"), None, Use::GetObject, "c/k", false);
    for wrong in ["arn:aws:s3::1234:b/*", "arn:aws:s3:*:*:b/*", "arn:aws:s3::*"] {
        let text = json!({ "Statement": [reading(wrong)] }).to_string();
        assert!(PolicyDocument::parse(text).is_err(), "{wrong}");
    }
}

#[test]
fn negations() {
    let not_ann = json!({
        "Effect": "Deny", "NotPrincipal": { "AWS": "ann" }, "NotAction": "s3:List*", "NotResource": "arn:aws:s3:::b/open/*"
    });
    check(not_ann.clone(), Some("ann"), Use::GetObject, "b/k", false);
    check(not_ann.clone(), Some("bob"), Use::GetObject, "b/k", true);
    check(not_ann.clone(), None, Use::GetObject, "b/k", true);
    check(not_ann.clone(), None, Use::ListBucket, "b", false);
    check(not_ann, None, Use::GetObject, "b/open/k", false);
}

#[test]
fn nobody_is_allowed_by_not_being_named() {
    let text = json!({ "Statement": {
        "Effect": "Allow", "NotPrincipal": { "AWS": "ann" }, "Action": "*", "Resource": "*"
    } });
    assert!(PolicyDocument::parse(text.to_string()).is_err());
    // One of old is read still.
    let kept = serde_json::from_value::<PolicyDocument>(json!(text.to_string())).unwrap();
    for who in [None, Some("ann"), Some("bob")] {
        assert_eq!(judge(&kept, who, Use::GetObject, "b/k"), Verdict::Silent, "{who:?}");
    }
    assert!(!kept.is_public());
}

#[test]
fn one_denial_outweighs_all_else() {
    let document = |deny_first: bool| {
        let mut all = vec![
            json!({ "Sid": "no", "Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Resource": "*" }),
            json!({ "Sid": "yes", "Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*" }),
        ];
        if !deny_first {
            all.reverse();
        }
        PolicyDocument::parse(json!({ "Statement": all }).to_string()).unwrap()
    };
    for policy in [document(true), document(false)] {
        assert_eq!(judge(&policy, Some("ann"), Use::PutObject, "b/k"), Verdict::Denies("no".to_owned()));
        assert_eq!(judge(&policy, Some("ann"), Use::GetObject, "b/k"), Verdict::Allows("yes".to_owned()));
    }
}

#[test]
fn what_everybody_may_is_public_unless_confined() {
    let public = |effect: &str, principal: Value, condition: Value| {
        policy(json!({
            "Effect": effect, "Principal": principal, "Action": "s3:GetObject", "Resource": "*", "Condition": condition
        }))
        .is_public()
    };
    assert!(public("Allow", json!("*"), json!({})));
    assert!(!public("Deny", json!("*"), json!({})));
    assert!(!public("Allow", json!({ "AWS": "ann" }), json!({})));
    assert!(!public("Allow", json!("*"), json!({ "IpAddress": { "aws:SourceIp": "10.0.0.0/24" } })));
    assert!(public("Allow", json!("*"), json!({ "IpAddress": { "aws:SourceIp": "0.0.0.0/0" } })));
    for (network, is_wide) in
        [("10.0.0.0/8", false), ("10.0.0.0/7", true), ("2001:db8::/32", false), ("2001:db8::/31", true)]
    {
        let condition = json!({ "IpAddress": { "aws:SourceIp": ["10.0.0.1", network] } });
        assert_eq!(public("Allow", json!("*"), condition), is_wide, "{network}");
    }
    assert!(public("Allow", json!("*"), json!({ "NotIpAddress": { "aws:SourceIp": "10.0.0.0/24" } })));
    assert!(public("Allow", json!("*"), json!({ "StringLike": { "aws:Referer": "http://a/*" } })));
}

#[test]
fn nothing_is_passed_over() {
    let good = json!({ "Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::b/*" });
    let check = |change: &dyn Fn(&mut Map<String, Value>)| {
        let mut statement = good.clone();
        change(statement.as_object_mut().unwrap());
        let text = json!({ "Statement": statement }).to_string();
        assert!(PolicyDocument::parse(text.clone()).is_err(), "{text}");
    };
    let set = |name: &'static str, value: Value| {
        move |fields: &mut Map<String, Value>| {
            fields.insert(name.to_owned(), value.clone());
        }
    };
    assert!(PolicyDocument::parse(json!({ "Statement": good }).to_string()).is_ok());
    check(&set("Effect", json!("allow")));
    check(&set("Conditions", json!({})));
    check(&set("Condition", json!({ "StringResembles": { "a": "b" } })));
    check(&set("Condition", json!({ "StringEquals": { "s3:prefix": "${aws:username}" } })));
    check(&set("Principal", json!("ann")));
    check(&set("Principal", json!({})));
    check(&set("NotPrincipal", json!("*")));
    check(&set("Action", json!("ec2:Run")));
    check(&set("Action", json!([])));
    check(&set("Resource", json!("b/*")));
    check(&set("Resource", json!("arn:aws:s3:::b/${aws:username}/*")));
    for missing in ["Effect", "Principal", "Action", "Resource"] {
        check(&move |fields: &mut Map<String, Value>| {
            fields.remove(missing);
        });
    }
    for text in ["", "[]", "{}", "nonsense", r#"{"Statement":[]}"#, r#"{"Version":"1","Statement":{}}"#] {
        assert!(PolicyDocument::parse(text).is_err(), "{text}");
    }
    assert_eq!(PolicyDocument::parse(" ".repeat(POLICY_BYTES_MAX + 1)), Err(InvalidPolicy::TooLong));
}

proptest! {
    /// Nothing that somebody sends makes the parser fall over, and what is understood reads back.
    #[test]
    fn any_text_is_a_policy_or_refused(text in ".{0,400}") {
        if let Ok(policy) = PolicyDocument::parse(text.clone()) {
            prop_assert_eq!(policy.as_str(), text);
        }
    }
}

/// What no face told neither lets in nor keeps a denial from holding.
#[test]
fn what_is_unknown_is_taken_for_the_worse() {
    let judged = |effect: &str, operator: &str, key: &str, value: &str| {
        let text = json!({ "Statement": {
            "Effect": effect, "Principal": "*", "Action": "*", "Resource": "*",
            "Condition": { operator: { key: value } },
        } });
        let policy = PolicyDocument::parse(text.to_string()).unwrap();
        let mut circumstances = Circumstances::incomplete();
        circumstances.add_caller(Some((&PrincipalId::parse("bob").unwrap(), &TenantId::default_tenant())));
        circumstances.tell("s3:ExistingObjectTag/");
        policy.judge(&PolicyRequest {
            principal: None,
            tenant: None,
            bucket_tenant: &TenantId::default_tenant(),
            used: Use::GetObject,
            resource: "b/k",
            circumstances: &circumstances,
        })
    };
    for (operator, value) in [
        ("IpAddress", "10.0.0.0/8"),
        ("NotIpAddress", "10.0.0.0/8"),
        ("IpAddressIfExists", "10.0.0.0/8"),
        ("ForAllValues:StringEquals", "10.0.0.1"),
        ("Null", "true"),
        ("Null", "false"),
    ] {
        let denied = judged("Deny", operator, "aws:SourceIp", value);
        assert_eq!(denied, Verdict::Denies("0".to_owned()), "{operator}");
        assert_eq!(judged("Allow", operator, "aws:SourceIp", value), Verdict::Silent, "{operator}");
    }
    let named = judged("Deny", "StringEquals", "aws:username", "bob");
    assert_eq!(named, Verdict::Denies("0".to_owned()));
    assert_eq!(judged("Deny", "StringEquals", "AWS:UserName", "eve"), Verdict::Silent);
    assert_eq!(judged("Deny", "StringEquals", "s3:ExistingObjectTag/a", "b"), Verdict::Silent);
    let untagged = judged("Allow", "Null", "s3:existingobjecttag/a", "true");
    assert_eq!(untagged, Verdict::Allows("0".to_owned()));
}

/// A statement that allows to write on a condition on grants or tags allows just these along with it.
#[test]
fn conditions_on_what_is_said_along_allow_it() {
    let check = |conditions: Value, said: &[(&str, &str)], used: Use, expected: bool| {
        let statement = json!({
            "Effect": "Allow", "Principal": "*", "Action": "s3:PutObject", "Resource": "*", "Condition": conditions
        });
        let mut circumstances = Circumstances::new();
        for (key, value) in said {
            circumstances.add(key, *value);
        }
        let found = policy(statement).judge(&PolicyRequest {
            principal: None,
            tenant: None,
            bucket_tenant: &TenantId::default_tenant(),
            used,
            resource: "b/k",
            circumstances: &circumstances,
        });
        assert_eq!(found != Verdict::Silent, expected, "{conditions} {said:?} {used:?}");
    };
    let (acl, tags) = (Use::PutNewObjectAcl, Use::PutNewObjectTagging);
    let public = [("s3:x-amz-acl", "public-read")];
    check(json!({}), &public, Use::PutObject, true);
    check(json!({}), &public, acl, false);
    check(json!({ "StringEquals": { "s3:X-Amz-Acl": "public-read" } }), &public, acl, true);
    check(json!({ "StringLike": { "s3:x-amz-acl": "public*" } }), &public, acl, true);
    check(json!({ "StringLike": { "s3:x-amz-acl": "*" } }), &public, acl, false);
    check(json!({ "StringNotEquals": { "s3:x-amz-acl": "private" } }), &public, acl, false);
    check(json!({ "StringEquals": { "s3:x-amz-acl": "public-read" } }), &public, Use::PutObjectAcl, false);
    check(json!({ "StringEquals": { "s3:x-amz-acl": "public-read" } }), &public, tags, false);
    let more = [("s3:x-amz-acl", "public-read"), ("s3:x-amz-grant-write-acp", "id=\"a\"")];
    check(json!({ "StringEquals": { "s3:x-amz-acl": "public-read" } }), &more, acl, false);
    let twice = [("s3:x-amz-acl", "public-read-write"), ("s3:x-amz-acl", "public-read")];
    check(json!({ "StringEquals": { "s3:x-amz-acl": "public-read" } }), &twice, acl, false);
    let tagged = [("s3:RequestObjectTag/a", "1")];
    check(json!({ "StringEquals": { "s3:RequestObjectTag/a": "1" } }), &tagged, tags, true);
    check(json!({ "StringEquals": { "s3:prefix": "1" } }), &tagged, tags, false);
}

#[test]
fn what_nobody_knows_is_refused_where_it_would_matter() {
    let check = |effect: &str, change: Value, expected: bool| {
        let mut statement = json!({ "Effect": effect, "Principal": "*", "Resource": "*" });
        let fields = statement.as_object_mut().unwrap();
        fields.insert("Action".to_owned(), json!("s3:GetObject"));
        for (name, value) in change.as_object().unwrap() {
            if name == "NotAction" {
                fields.remove("Action");
            }
            fields.insert(name.clone(), value.clone());
        }
        let text = json!({ "Statement": statement }).to_string();
        assert_eq!(PolicyDocument::parse(text.clone()).is_ok(), expected, "{text}");
        // What was kept before is read, whatever it says.
        let kept = serde_json::from_value::<PolicyDocument>(json!(text.clone())).unwrap();
        assert_eq!(kept.as_str(), text);
    };
    check("Deny", json!({ "Action": "s3:GetObjct" }), false);
    check("Deny", json!({ "Action": ["s3:Get*", "s3:RestoreObject", "S3:PUTOBJECTACL"] }), true);
    check("Deny", json!({ "NotAction": "s3:GetObjct" }), false);
    check("Allow", json!({ "NotAction": "s3:GetObjct" }), false);
    check("Allow", json!({ "Action": "s3:PutSomethingNew" }), true);
    let vpc = |operator: &str| json!({ "Condition": { operator: { "aws:SourceVpc": "vpc-1" } } });
    check("Deny", vpc("StringEquals"), false);
    check("Deny", vpc("StringNotEquals"), false);
    check("Allow", vpc("StringEquals"), true);
    check("Allow", vpc("StringNotEquals"), false);
    check("Allow", vpc("StringEqualsIfExists"), false);
    check("Allow", vpc("ForAllValues:StringEquals"), false);
    let unconditional = |key: &str| json!({ "Condition": { "Null": { key: "true" } } });
    check("Deny", unconditional("s3:if-none-match"), true);
    check("Allow", unconditional("s3:ObjectCreationOperation"), true);
    check("Deny", unconditional("s3:if-modified-since"), false);
    for key in
        ["aws:SourceIp", "S3:Prefix", "s3:x-amz-storage-class", "s3:ExistingObjectTag/a", "s3:if-match"]
    {
        check("Deny", json!({ "Condition": { "StringNotEquals": { key: "a" } } }), true);
    }
}

proptest! {
    /// Whoever says nothing, and is nobody, is everybody: a policy that lets them in is public.
    #[test]
    fn what_lets_in_whoever_says_nothing_is_public(
        several in proptest::sample::select(vec!["", "ForAnyValue:", "ForAllValues:"]),
        operator in proptest::sample::select(vec![
            ("StringEquals", "a"), ("StringNotEquals", "a"), ("StringLike", "a*"), ("StringNotLike", "a*"),
            ("Null", "true"), ("Null", "false"), ("IpAddress", "10.0.0.0/8"), ("NotIpAddress", "10.0.0.0/8"),
            ("NumericLessThan", "1"), ("NumericNotEquals", "1"), ("Bool", "true"), ("ArnNotEquals", "a"),
        ]),
        if_exists in proptest::sample::select(vec!["", "IfExists"]),
        key in proptest::sample::select(vec!["aws:SourceIp", "aws:username", "aws:PrincipalArn", "aws:userid"]),
        principal in proptest::sample::select(vec![
            json!({ "Principal": "*" }), json!({ "Principal": { "AWS": "ann" } }),
        ]),
    ) {
        let (name, value) = operator;
        let mut statement = json!({
            "Effect": "Allow", "Action": "*", "Resource": "*",
            "Condition": { format!("{several}{name}{if_exists}"): { key: value } },
        });
        statement.as_object_mut().unwrap().extend(principal.as_object().unwrap().clone());
        let policy = policy(statement);
        if judge(&policy, None, Use::GetObject, "b/k") != Verdict::Silent {
            prop_assert!(policy.is_public(), "{}", policy.as_str());
        }
    }
}

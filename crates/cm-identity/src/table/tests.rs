//! Rows of version 1 as they were first written. They decode for ever.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::*;

fn check<R: Row + Serialize + DeserializeOwned>(stored: &str) {
    assert_eq!(R::VERSION, 1, "a new version needs a branch in decode_old and a fixture of its own");
    let row: R = serde_json::from_str(stored).unwrap_or_else(|error| panic!("{stored}: {error}"));
    assert_eq!(serde_json::to_string(&row).unwrap(), stored);
}

#[test]
fn rows_of_the_first_version_decode() {
    check::<NodeRow>(r#"{"signing_key_id":"ab12","created_at":"2026-03-01T12:00:00Z"}"#);
    check::<TenantRow>(r#"{"created_at":"2026-03-01T12:00:00.5Z"}"#);
    check::<PrincipalRow>(concat!(
        r#"{"display_name":"Alice","roles":["reader"],"disabled":false,"generation":3,"#,
        r#""created_at":"2026-03-01T12:00:00Z","password":"$argon2id$v=19$m=19456,t=2,p=1$"#,
        r#"c29tZSBzYWx0IG9mIDE2IQ$qqFyKPpr2H4o7F3tQIFMDnvYPMlzlpRCK/Kq1t+4T1k","credential_epoch":"0011"}"#,
    ));
    check::<PrincipalRow>(concat!(
        r#"{"display_name":"Bob","roles":[],"disabled":true,"generation":1,"#,
        r#""created_at":"2026-03-01T12:00:00Z","password":null,"credential_epoch":"0011"}"#,
    ));
    check::<ApiKeyRow>(concat!(
        r#"{"tenant":"default","principal":"alice","label":"laptop","#,
        r#""secret_sha256":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","#,
        r#""created_at":"2026-03-01T12:00:00Z"}"#,
    ));
    check::<ApiKeyRow>(concat!(
        r#"{"tenant":"default","principal":"alice","label":"backup","#,
        r#""secret_sha256":"0000000000000000000000000000000000000000000000000000000000000000","#,
        r#""kind":"s3","created_at":"2026-03-01T12:00:00Z"}"#,
    ));
    check::<RevokedTokenRow>(r#"{"expires_at":"2026-03-01T12:00:00Z"}"#);
    check::<Mark>("{}");
    check::<TenantRow>(r#"{"created_at":"2026-03-01T12:00:00Z","name":"Xelhua","open":true}"#);
    check::<SigningKeyRow>(concat!(
        r#"{"created_at":"2026-03-01T12:00:00Z","retired_at":null,"ends_at":null,"#,
        r#""sealed":"AQID","master":"0011"}"#,
    ));
    check::<SessionRow>(concat!(
        r#"{"tenant":"default","principal":"alice","kind":"xolo4","label":"OPS","epoch":"0011","#,
        r#""created_at":"2026-03-01T12:00:00Z","ends_at":"2026-03-01T13:00:00Z","turn":2,"jti":"ab","#,
        r#""issued_at":"2026-03-01T12:00:00Z","token_ends_at":"2026-03-01T13:00:00Z","key_id":"cd"}"#,
    ));
    check::<AccountKeyRow>(concat!(
        r#"{"tenant":"app","name":"web","scopes":["users","all"],"#,
        r#""secret_sha256":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","#,
        r#""prefix":"XOLO_ab","created_at":"2026-03-01T12:00:00Z","expires_at":null}"#,
    ));
    check::<TenantRow>(r#"{"created_at":"2026-03-01T12:00:00Z","leaving":true}"#);
    // As it was written before trusts were told apart, and since.
    let provider = concat!(
        r#"{"id":"idp","issuer":"https://id.example.com","audience":"mesh","algorithms":["ES256"],"#,
        r#""claim":"groups","roles":{"staff":["reader"]}"#,
    );
    check::<ProviderRow>(&format!("{provider}}}"));
    check::<ProviderRow>(&format!(r#"{provider},"epoch":"0011"}}"#));
    check::<ProviderRow>(concat!(
        r#"{"id":"idp","issuer":"https://id.example.com","audience":"mesh","algorithms":["ES256","RS256"],"#,
        r#""keys_url":"https://id.example.com/keys","claim":"realm_access.roles","roles":{"staff":["reader"]}}"#,
    ));
    check::<ExternalRow>(r#"{"provider":"idp","subject":"ada","roles":["reader"]}"#);
    let factor = concat!(
        r#"{"sealed":"AQID","master":"0011","confirmed":true,"created_at":"2026-03-01T12:00:00Z","#,
        r#""last_step":59077440,"recovery":["#,
        r#""e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"],"wrong":5,"#,
        r#""wait_until":"2026-03-01T12:00:30Z""#,
    );
    check::<SecondFactorRow>(&format!("{factor}}}"));
    check::<SecondFactorRow>(&format!(
        r#"{factor},"login_wrong":5,"login_wait_until":"2026-03-01T12:00:30Z"}}"#
    ));
}

#[test]
fn rows_of_workloads_decode() {
    check::<WorkloadRow>(r#"{"ttl_max_secs":3600,"created_at":"2026-03-01T12:00:00Z"}"#);
    check::<TrustDomainRow>(r#"{"bundle":"{}","refreshed_at":"2026-03-01T12:00:00Z"}"#);
    check::<TrustDomainRow>(concat!(
        r#"{"bundle":"{}","endpoint":"https://two.example/bundle","endpoint_certificates":"PEM","#,
        r#""refreshed_at":"2026-03-01T12:00:00Z"}"#,
    ));
}

#[test]
fn rows_of_passkeys_decode() {
    let passkey = concat!(
        r#""handle":"59d15c36-9e29-4227-8072-c2cfb495a112","passkey":{"cred":{"#,
        r#""cred_id":"GpYtYVA3VZDarNLj9gloWmiSrct8CSFAwLuPu-IKUf8","cred":{"type_":"ES256","key":{"EC_EC2":{"#,
        r#""curve":"SECP256R1","x":"RkeV4vwV5SE6Y4u7i3BrfcoaIW3Q6cvz6VLcXipcaFk","#,
        r#""y":"qCZXS7enM9Qrk6lkFEyqUpHk2PEiuCOi9d16roslwuo"}}},"counter":0,"transports":null,"#,
        r#""user_verified":true,"backup_eligible":false,"backup_state":false,"registration_policy":"required","#,
        r#""extensions":{"cred_protect":"Ignored","hmac_create_secret":"NotRequested","appid":"NotRequested","#,
        r#""cred_props":{"Unsigned":{"rk":true}}},"attestation":{"data":"None","metadata":"None"},"#,
        r#""attestation_format":"none"}}"#,
    );
    let begin = r#"{"label":"laptop","created_at":"2026-03-01T12:00:00Z""#;
    check::<PasskeyRow>(&format!("{begin},{passkey}}}"));
    check::<PasskeyRow>(&format!(r#"{begin},"last_used_at":"2026-03-02T12:00:00Z",{passkey}}}"#));
    check::<PasskeyRow>(&format!(r#"{begin},"closed":true,{passkey}}}"#));
    check::<PasskeyOwnerRow>(r#"{"tenant":"default","principal":"alice"}"#);
    check::<SessionRow>(concat!(
        r#"{"tenant":"default","principal":"alice","kind":"api","label":"","epoch":"0011","#,
        r#""created_at":"2026-03-01T12:00:00Z","ends_at":"2026-03-01T13:00:00Z","turn":0,"jti":"ab","#,
        r#""issued_at":"2026-03-01T12:00:00Z","token_ends_at":"2026-03-01T13:00:00Z","key_id":"cd","#,
        r#""passkey":"0011","second_factor":true}"#,
    ));
}

#[test]
fn table_names_are_distinct() {
    for (at, name) in TABLES.iter().enumerate() {
        assert!(!TABLES[..at].contains(name), "{name}");
    }
}

//! What owners of buckets say about sharing them, and what forms of the web are allowed.

use cm_policy::pdl;
use cm_policy::sharing::{Circumstances, PolicyDocument, PolicyRequest, Use};
use cm_s3::forms;
use cm_types::{PrincipalId, TenantId, Timestamp};

/// A document of the permissions language has one form, which reads back as the same; its index decides as the interpreter.
pub fn permission_documents(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(document) = pdl::parse(text) else { return };
    let written = pdl::format(&document);
    let again = pdl::parse(&written).expect("what is written is read again");
    assert_eq!(pdl::format(&again), written, "there are two forms");
    let documents = [("fuzzed", &document)];
    let compiled = pdl::Compiled::new(&documents);
    let cases = "allow read object a/b by user:a role:a group:a\nallow list bucket * by anonymous\n\
                 allow invoke function f with mfa tls time:2027-01-04T09:00:00Z address:10.0.0.1 label:env=a owner";
    for case in pdl::CaseFile::parse(cases).expect("the cases are well formed").cases {
        let request = case.request();
        assert_eq!(
            compiled.judge(&request),
            pdl::interpret(&documents, &request),
            "the index decides otherwise"
        );
    }
}

/// A policy that was accepted is kept as it was written, reads back as itself, and judges every use of it.
pub fn bucket_policies(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(policy) = PolicyDocument::parse(text) else { return };
    assert_eq!(policy.as_str(), text, "a policy was changed");
    assert_eq!(PolicyDocument::parse(policy.as_str()).as_ref(), Ok(&policy), "a policy reads back otherwise");
    let (principal, tenant) = (PrincipalId::admin(), TenantId::default_tenant());
    let mut circumstances = Circumstances::new();
    circumstances.add("aws:SourceIp", "127.0.0.1");
    for used in Use::ALL {
        for principal in [Some(&principal), None] {
            let request = PolicyRequest {
                principal,
                tenant: principal.map(|_| &tenant),
                bucket_tenant: &tenant,
                used: *used,
                resource: "b/k",
                circumstances: &circumstances,
            };
            assert_eq!(policy.judge(&request), policy.judge(&request), "a policy judges by chance");
        }
    }
}

/// A policy of a form that was accepted ends, and is over for every form then.
pub fn form_policies(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(policy) = forms::Policy::parse(text) else { return };
    let over = policy.check(&forms::Fields::default(), Timestamp::from_micros(i64::MAX));
    assert_eq!(over, Err(forms::PolicyError::Expired), "a policy is good for ever");
}

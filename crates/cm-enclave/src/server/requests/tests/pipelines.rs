//! Pipelines and arguments, over a host whose programs leave a file behind each.

use cm_instance::policy::{FileRight, PipelineEntry};
use cm_instance::{FileName, Pipeline};

use super::*;

const TELLS: u32 = Rights::PATH_FILESTAT_GET.bits();

/// Programs `a.wasm`, `b.wasm`, `c.wasm` with a pipeline, for identities with their rights.
fn piped(text: &str, own: &[(&str, u32)], identities: &[&[(&str, u32)]]) -> World {
    let certificates: Vec<Identity> = identities.iter().map(|_| Identity::new()).collect();
    let named: Vec<_> = certificates.iter().zip(identities.iter().copied()).collect();
    let mut policy = policy(&named);
    let program = policy.programs[0].clone();
    policy.programs = ["a.wasm", "b.wasm", "c.wasm"]
        .into_iter()
        .zip(0..)
        .map(|(name, id)| cm_instance::policy::Program {
            program_file_name: FileName::parse(name).unwrap(),
            id,
            ..program.clone()
        })
        .collect();
    let right = |&(name, rights): &(&str, u32)| FileRight {
        file_name: FileName::parse(name).unwrap(),
        rights: Rights::from_bits(rights.into()).unwrap(),
    };
    policy.pipelines = vec![PipelineEntry {
        name: "work".to_owned(),
        id: 0,
        pipeline: Pipeline::parse(text).unwrap(),
        file_rights: own.iter().map(right).collect(),
    }];
    policy.validate().unwrap();
    let host = Fake::new(|host, program, _, _| {
        host.put(&format!("{program}.ran"), b"");
        let outcome = match program.as_str() {
            "/c.wasm" => Outcome::Exit { code: 3 },
            _ => Outcome::Completed,
        };
        ExecutionReport { wall_ms: 2, ..ExecutionReport::before_start(outcome) }
    });
    let (service, stop) = service(policy, host.clone());
    World { service, host, stop }
}

fn pipeline(name: &str) -> RequestBody {
    RequestBody::RequestPipeline(RequestPipeline { pipeline_id: name.to_owned() })
}

fn reported_pipeline(name: &str) -> RequestBody {
    RequestBody::Execute(Execute { pipeline: Some(name.to_owned()), ..Execute::default() })
}

fn steps(answer: &Response) -> Vec<String> {
    let report = answer.report.as_ref().unwrap().unpack().unwrap();
    report.steps.into_iter().map(|step| step.program.to_string()).collect()
}

const READS_OUTPUT: &[(&str, u32)] = &[("output", READ)];

#[tokio::test]
async fn a_pipeline_is_asked_for_by_name_or_number_with_and_without_a_slash() {
    let w = piped("a.wasm ; b.wasm", &[], &[READS_OUTPUT]);
    for name in ["work", "/work", "0", "/0"] {
        let answer = w.check(0, pipeline(name), Status::Success).await;
        assert_eq!(answer.result.unwrap().data, Bytes::from_static(&[0; 4]));
    }
    for name in ["", "other", "//work", "1"] {
        w.check(0, pipeline(name), Status::InvalidRequest).await;
    }
    let both =
        Execute { file_name: "a.wasm".to_owned(), pipeline: Some("work".to_owned()), ..Execute::default() };
    w.check(0, RequestBody::Execute(both), Status::InvalidRequest).await;
}

#[tokio::test]
async fn the_report_lists_the_steps_that_ran() {
    let text = "a.wasm ; if /flag { b.wasm } else { c.wasm } ; a.wasm";
    let w = piped(text, &[("flag", TELLS)], &[READS_OUTPUT]);
    let answer = w.check(0, reported_pipeline("work"), Status::ErrorCodeReturned).await;
    assert_eq!(steps(&answer), ["/a.wasm", "/c.wasm"]);
    let report = answer.report.unwrap().unpack().unwrap();
    assert_eq!((report.outcome, report.wall_ms), (Outcome::Exit { code: 3 }, 4));
    assert_eq!(report.steps[0].outcome, Outcome::Completed);
    let code = w.check(0, pipeline("work"), Status::Success).await.result.unwrap().data;
    assert_eq!(code, Bytes::from_static(&[3, 0, 0, 0]));

    w.host.put("flag", b"");
    let answer = w.check(0, reported_pipeline("work"), Status::Success).await;
    assert_eq!(steps(&answer), ["/a.wasm", "/b.wasm", "/a.wasm"]);
}

#[tokio::test]
async fn a_condition_decides_only_on_what_the_pipeline_may_know() {
    let w = piped(
        "a.wasm ; if /secret { b.wasm } else { b.wasm }",
        &[],
        &[&[("output", READ), ("secret", READ)]],
    );
    let answer = w.check(0, reported_pipeline("work"), Status::VmError).await;
    assert_eq!(steps(&answer), ["/a.wasm"]);
    let outcome = answer.report.unwrap().unpack().unwrap().outcome;
    assert!(matches!(outcome, Outcome::MissingRight { call, .. } if call == "if"));
    assert_eq!(w.host.get("b.wasm.ran"), None);
}

#[tokio::test]
async fn a_pipeline_lends_nobody_a_right() {
    let own: &[(&str, u32)] = &[("a.wasm", EXECUTE), ("b.wasm", EXECUTE)];
    let some: &[(&str, u32)] = &[("a.wasm", EXECUTE)];
    let w = piped("a.wasm ; b.wasm", own, &[own, some, READS_OUTPUT]);
    w.check(0, pipeline("work"), Status::Success).await;
    w.check(1, pipeline("work"), Status::InvalidRole).await;
    w.check(2, pipeline("work"), Status::InvalidRole).await;
    let w = piped("a.wasm ; b.wasm", some, &[own]);
    w.check(0, pipeline("work"), Status::InvalidRole).await;
    assert_eq!(w.host.get("a.wasm.ran"), None);
}

#[tokio::test]
async fn arguments_reach_each_program_and_are_bounded() {
    let w = piped("a.wasm", &[], &[READS_OUTPUT]);
    let with = |arguments: Vec<String>, pipeline: Option<&str>| {
        let file_name = if pipeline.is_some() { String::new() } else { "a.wasm".to_owned() };
        let pipeline = pipeline.map(str::to_owned);
        RequestBody::Execute(Execute { file_name, arguments, pipeline, deadline_ms: 0 })
    };
    for pipeline in [None, Some("work")] {
        w.host.files.lock().unwrap().clear();
        w.check(0, with(vec!["-x".into(), "1".into()], pipeline), Status::Success).await;
        assert_eq!(w.host.get("arguments").unwrap(), b"-x 1");
        w.check(0, with(vec!["a\0b".into()], pipeline), Status::InvalidRequest).await;
        w.check(0, with(vec!["x".into(); 257], pipeline), Status::InvalidRequest).await;
        w.check(0, with(vec!["x".repeat(65_537)], pipeline), Status::InvalidRequest).await;
    }
}

#[tokio::test]
async fn a_result_with_arguments_is_not_taken_for_a_fresh_one() {
    let w = piped("a.wasm", &[], &[READS_OUTPUT]);
    w.host.put("output", b"x");
    w.check(0, result("a.wasm"), Status::Success).await;
    let body = Execute { file_name: "a.wasm".into(), arguments: vec!["-x".into()], ..Execute::default() };
    w.check(0, RequestBody::Execute(body), Status::Success).await;
    w.host.files.lock().unwrap().remove(&path("a.wasm.ran"));
    w.check(0, result("a.wasm"), Status::Success).await;
    assert!(w.host.get("a.wasm.ran").is_some(), "the result of another call was given");
}

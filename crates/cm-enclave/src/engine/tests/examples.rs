//! The example programs of other toolchains than Rust's for preview 1, and those that need more than files.

use cm_instance::FileName;
use cm_instance::policy::{FileRight, StreamEntry};

use super::*;

const MANIFEST: &[u8] = include_bytes!("../../../../../examples/manifest/manifest.wasm");
const WORD_COUNT: &[u8] = include_bytes!("../../../../../examples/word-count/word-count.wasm");
const COLUMN_MEANS: &[u8] = include_bytes!("../../../../../examples/column-means/column-means.wasm");
const CLASSIFIER: &[u8] = include_bytes!("../../../../../examples/classifier/classifier.wasm");
const MOTION: &[u8] = include_bytes!("../../../../../examples/motion/motion.wasm");

const BOTH: [ExecutionStrategy; 2] = [ExecutionStrategy::Interpretation, ExecutionStrategy::Jit];
/// What later policies call `r` and `w`.
const READ: Rights = Rights::READER.union(Rights::FD_READDIR);
const WRITE: Rights = Rights::WRITER;

/// One program with its rights, files, streams and arguments.
struct Example {
    wasm: &'static [u8],
    rights: Vec<(&'static str, Rights)>,
    files: Vec<(&'static str, &'static [u8])>,
    arguments: Vec<&'static str>,
    memory_bytes: u64,
    wall: Duration,
}

impl Example {
    fn new(wasm: &'static [u8], rights: &[(&'static str, Rights)]) -> Self {
        Self {
            wasm,
            rights: rights.to_vec(),
            files: Vec::new(),
            arguments: vec!["program.wasm"],
            memory_bytes: 64 * MIB,
            wall: Duration::from_secs(60),
        }
    }

    fn file(mut self, name: &'static str, bytes: &'static [u8]) -> Self {
        self.files.push((name, bytes));
        self
    }

    fn run(&self, strategy: ExecutionStrategy) -> (ExecutionReport, Vfs) {
        let engine = Engine::new(strategy).unwrap();
        let (program, _) = engine.prepare(self.wasm).unwrap();
        self.run_on(&engine, &program)
    }

    fn run_on(&self, engine: &Engine, program: &Program) -> (ExecutionReport, Vfs) {
        let principal = Principal::Program(path("program.wasm"));
        let mut grants = Grants::default();
        for (name, rights) in &self.rights {
            grants.add(&FileName::parse(*name).unwrap(), *rights);
        }
        let mut table = RightsTable::default();
        table.insert(principal.clone(), grants);
        let vfs = Vfs::new(VfsLimits::default(), &table);
        for (name, bytes) in &self.files {
            vfs.store(&path(name), bytes).unwrap();
        }
        let stream = |name| FileRight { file_name: FileName::parse(name).unwrap(), rights: Rights::NONE };
        let streams = [
            StreamEntry::Stdin(stream("stdin")),
            StreamEntry::Stdout(stream("stdout")),
            StreamEntry::Stderr(stream("stderr")),
        ];
        let arguments: Vec<String> = self.arguments.iter().map(|text| (*text).to_owned()).collect();
        let run = Run {
            view: View::new(vfs.clone(), Arc::new(table), &principal),
            arguments: &arguments,
            streams: &streams,
            clock: None,
            limits: RunLimits { memory_bytes: self.memory_bytes, wall: self.wall, fuel: None },
            interrupt: Interrupt::new(),
        };
        (engine.run(program, run), vfs)
    }

    /// Runs to success, both ways, and gives back a file.
    fn result(&self, name: &str) -> String {
        let mut results = BOTH.map(|strategy| {
            let (report, vfs) = self.run(strategy);
            let text = |name| String::from_utf8(vfs.load(&path(name)).unwrap_or_default()).unwrap();
            assert_eq!(report.outcome, Outcome::Completed, "{strategy:?}: {report:?} {}", text("stderr"));
            text(name)
        });
        assert_eq!(results[0], results[1]);
        std::mem::take(&mut results[0])
    }
}

#[test]
fn a_c_program_lists_a_granted_directory() {
    let example = Example::new(MANIFEST, &[("/input/", READ), ("stdout", WRITE), ("stderr", WRITE)])
        .file("/input/b.txt", b"123456789")
        .file("/input/below/a", b"")
        .file("/secret", b"secret");
    // The check value of this CRC, from its specification.
    let expected = "         9 cbf43926 /input/b.txt\n         0 00000000 /input/below/a\n";
    assert_eq!(example.result("stdout"), expected);

    let mut elsewhere = Example::new(MANIFEST, &[("/input/", READ), ("/output/", WRITE), ("stderr", WRITE)])
        .file("/input/below/a", b"a");
    elsewhere.arguments = vec!["manifest.wasm", "/input/below", "/output/list"];
    assert_eq!(elsewhere.result("/output/list"), "         1 e8b7be43 /input/below/a\n");

    let mut beyond = example;
    beyond.arguments = vec!["manifest.wasm", "/"];
    let (report, vfs) = beyond.run(ExecutionStrategy::Jit);
    assert!(matches!(report.outcome, Outcome::MissingRight { .. }), "{report:?}");
    assert_eq!(vfs.load(&path("stdout")).unwrap(), b"");
}

#[test]
fn an_assemblyscript_program_has_streams_that_are_files() {
    let example = Example::new(WORD_COUNT, &[("stdin", Rights::READER), ("stdout", WRITE)])
        .file("stdin", b"one two\n\tthree\n");
    assert_eq!(example.result("stdout"), "2 3 15\n");
    let (report, _) =
        Example::new(WORD_COUNT, &[("stdin", Rights::PATH_OPEN)]).file("stdin", b"x").run(BOTH[1]);
    let missing =
        Outcome::MissingRight { path: path("stdin"), right: Rights::FD_READ, call: "fd_read".to_owned() };
    assert_eq!(report.outcome, missing);
}

fn column_means() -> Example {
    Example::new(
        COLUMN_MEANS,
        &[("/input/", READ), ("/output/", WRITE), ("stdout", WRITE), ("stderr", WRITE)],
    )
    .file("/input/iris.csv", include_bytes!("../../../../../examples/data/iris.csv"))
    .file("/input/women.csv", include_bytes!("../../../../../examples/data/women.csv"))
}

#[test]
fn a_component_runs_under_the_published_rights() {
    let mut example = column_means();
    let means = example.result("/output/iris.csv");
    let numbers: Vec<&str> = means.lines().filter_map(|line| line.split(',').nth(1)).collect();
    assert_eq!(numbers, ["5.843333", "3.057333", "3.758000", "1.199333"]);
    assert_eq!(example.result("stdout"), "iris.csv: 4 columns\nwomen.csv: 2 columns\n");
    example.arguments = vec!["column-means.wasm", "women.csv"];
    assert_eq!(example.result("stdout"), "women.csv: 2 columns\n");
}

#[test]
fn a_component_is_refused_what_the_policy_does_not_give() {
    let mut example = column_means();
    example.rights[0].1 = READ.difference(Rights::FD_READ);
    for strategy in BOTH {
        let (report, vfs) = example.run(strategy);
        let Outcome::MissingRight { path: at, right, call } = &report.outcome else { panic!("{report:?}") };
        assert_eq!((at, *right), (&path("/input/iris.csv"), Rights::FD_READ));
        assert_eq!(call, "input-stream.read");
        assert_eq!(vfs.load(&path("/output/iris.csv")), Err(crate::vfs::Errno::Noent));
    }
}

#[test]
fn a_components_artefact_is_kept_and_loaded_again() {
    for strategy in BOTH {
        let engine = Engine::new(strategy).unwrap();
        let digest = cm_crypto::digest::sha256(COLUMN_MEANS);
        let artefact = engine.compile(COLUMN_MEANS).unwrap();
        let kept = Artefact::from_authentic_bytes(artefact.as_bytes().to_vec());
        let other = Engine::new(strategy).unwrap();
        let program = other.load(digest, &kept).unwrap();
        assert_eq!(program.wasm_sha256(), digest);
        assert!(column_means().run_on(&other, &program).0.succeeded());
        let wrong = BOTH.into_iter().find(|wrong| *wrong != strategy).unwrap();
        let wrong = Engine::new(wrong).unwrap();
        assert!(matches!(wrong.load(digest, &kept), Err(EngineError::Artefact(_))));
    }
}

#[test]
fn a_component_has_the_limits_of_a_program() {
    for strategy in BOTH {
        let mut example = column_means();
        example.memory_bytes = MIB;
        let (report, _) = example.run(strategy);
        assert_eq!(report.outcome, Outcome::LimitExceeded { which: Limit::Memory }, "{strategy:?}");
        example.memory_bytes = 64 * MIB;
        let (report, _) = example.run(strategy);
        assert!((1..64 * MIB).contains(&report.memory_peak), "{report:?}");
        example.wall = Duration::ZERO;
        let (report, _) = example.run(strategy);
        assert_eq!(report.outcome, Outcome::LimitExceeded { which: Limit::Time }, "{strategy:?}");
    }
}

fn classifier() -> Example {
    Example::new(CLASSIFIER, &[("/input/", READ), ("/model/", READ), ("/output/", WRITE), ("stderr", WRITE)])
        .file("/input/digits.csv", include_bytes!("../../../../../examples/classifier/data/digits.csv"))
        .file("/model/digits.onnx", include_bytes!("../../../../../examples/classifier/data/digits.onnx"))
}

#[test]
fn a_model_says_what_it_said_where_it_was_trained() {
    let answer = classifier().result("/output/digits.csv");
    let expected = include_str!("../../../../../examples/classifier/data/expected.csv");
    assert_eq!(answer.lines().count(), expected.lines().count() + 1);
    for (line, expected) in answer.lines().zip(expected.lines()) {
        let (said, sure) = line.split_once(',').unwrap();
        let (digit, probability) = expected.split_once(',').unwrap();
        let difference = sure.parse::<f32>().unwrap() - probability.parse::<f32>().unwrap();
        // Sums are made in another order; the last of the three digits may differ.
        assert!(said == digit && difference.abs() < 0.0015, "{line} instead of {expected}");
    }
    let (right, all) = answer.lines().last().unwrap().split_once(" of ").unwrap();
    assert!(all == "360" && right.parse::<u32>().unwrap() >= 324, "{right} of {all}");
}

#[test]
fn a_model_is_read_with_the_programs_rights() {
    let mut example = classifier();
    example.rights[1].1 = Rights::PATH_OPEN;
    let (report, _) = example.run(ExecutionStrategy::Jit);
    let missing = Outcome::MissingRight {
        path: path("/model/digits.onnx"),
        right: Rights::FD_READ,
        call: "load_by_name".to_owned(),
    };
    assert_eq!(report.outcome, missing);
    example.rights.remove(1);
    let (report, _) = example.run(ExecutionStrategy::Jit);
    assert!(matches!(report.outcome, Outcome::MissingRight { right: Rights::PATH_OPEN, .. }), "{report:?}");
}

#[test]
fn motion_is_found_in_an_encrypted_video() {
    let example = Example::new(
        MOTION,
        &[("/input/", READ), ("/user_input/", READ), ("/output/", WRITE), ("stderr", WRITE)],
    )
    .file("/input/video", include_bytes!("../../../../../examples/motion/data/clip.y4m.aes"))
    .file("/user_input/key", include_bytes!("../../../../../examples/motion/data/key"))
    .file("/user_input/iv", include_bytes!("../../../../../examples/motion/data/iv"));
    let expected = include_str!("../../../../../examples/motion/data/detections");
    assert_eq!(example.result("/output/detections"), expected);
    // Detections are appended to those of clips before.
    let example = example.file("/output/detections", b"before\n");
    assert_eq!(example.result("/output/detections"), format!("before\n{expected}"));
}

//! Inputs that are sealed objects of the mesh, and results that become some.

use serde_json::Value;

use super::cluster;

const JOB: &str = "input x[3] from admin\ninput y[2] from admin\nreveal x * 2 as doubled to admin\nreveal sum(y) as total to admin\n";

#[tokio::test(flavor = "multi_thread")]
async fn sealed_objects_are_inputs_and_become_results() {
    let cluster = cluster().await;
    let (node, dir) = (&cluster.nodes[0], cluster.root.path());
    let path = |name: &str| dir.join(name).to_str().unwrap().to_owned();
    let says = |arguments: &[&str]| -> (i32, String) {
        let output = node.command(arguments);
        let text = if output.status.success() { &output.stdout } else { &output.stderr };
        (output.status.code().unwrap(), String::from_utf8_lossy(text).trim().to_owned())
    };
    let done = |arguments: &[&str]| -> String {
        let (code, told) = says(arguments);
        assert_eq!(code, 0, "{arguments:?}: {told}");
        told
    };
    let (secret, other) = (path("secret"), path("other"));
    let (public, colleague) = (done(&["keys", "seal", &secret]), done(&["keys", "seal", &other]));
    std::fs::write(dir.join("table.csv"), "age,dose\n61,2\n47,3\n52,1\n").unwrap();
    std::fs::write(dir.join("plain.csv"), "40,2\n").unwrap();
    std::fs::write(dir.join("job.mpc"), JOB).unwrap();
    done(&["object", "put", &path("table.csv"), "clinic/table.csv", "--create-bucket", "--seal-to", &public]);
    done(&["object", "put", &path("plain.csv"), "clinic/plain:1.csv"]);
    let (x, y) = ("object:clinic/table.csv:age", "object:clinic/plain:1.csv");

    let job = path("job.mpc");
    let receiver = format!("admin={public}");
    let made = done(&["mpc", "create", &job, "--receiver", &receiver, "--output", "json"]);
    let made: Value = serde_json::from_str(&made).unwrap();
    let id = made["id"].as_str().unwrap();
    let share = |input: &str, values: &str, more: &[&str]| {
        says(&[&["mpc", "share", id, input, values, "--trust-node"][..], more].concat())
    };
    let (code, told) = share("x", "object:clinic/nothing.csv:age", &["--open-with", &secret]);
    assert!(code != 0 && told.contains("clinic/nothing.csv"), "{told}");
    let (code, told) = share("x", x, &["--open-with", &other]);
    assert!(code != 0, "sealed for somebody else: {told}");
    let (code, told) = share("x", "object:clinic/table.csv:weight", &["--open-with", &secret]);
    assert!(code != 0 && told.contains("there is no column `weight`"), "{told}");
    assert_eq!(share("x", x, &["--open-with", &secret]).0, 0);
    assert_eq!(share("y", y, &[]).0, 0);
    done(&["mpc", "start", id]);

    let to = "clinic/results/doubled.csv";
    let reveal = ["mpc", "reveal", id, "doubled", "--key", &secret, "--to", to, "--seal-to", &colleague];
    let told = done(&reveal);
    assert!(!told.contains("122,94"), "it is not shown: {told}");
    for key in [&secret, &other] {
        assert_eq!(done(&["object", "get", to, "-", "--open-with", key]), "122,94,104");
    }
    let sealed = node.command(&["object", "get", to, "-"]).stdout;
    assert!(!sealed.windows(6).any(|window| window == b"122,94"), "nobody else reads it");
    assert_eq!(done(&["mpc", "reveal", id, "total", "--key", &secret]), "total = 42");

    // The same as one command, of which one object is sealed and the other is not.
    let inputs = [format!("x={x}"), format!("y={y}")];
    let run = [
        "mpc",
        "run",
        &job,
        "--input",
        &inputs[0],
        "--input",
        &inputs[1],
        "--trust-node",
        "--output",
        "json",
    ];
    let (code, told) = says(&run);
    assert!(code == 2 && told.contains("--open-with"), "{told}");
    let told = done(&[&run[..], &["--open-with", &secret]].concat());
    let results: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((&results["total"], results["doubled"][2].clone()), (&42.into(), 104.into()), "{told}");
}

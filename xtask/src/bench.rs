//! `xtask bench`: benchmarks by name.
//!
//! A benchmark is a release-mode run of something of this workspace. It prints its own figures, with the ratios to what it is
//! compared with measured in the same run.

use anyhow::{Result, bail};

use crate::shell;

/// A benchmark: how cargo runs it.
struct Benchmark {
    name: &'static str,
    about: &'static str,
    cargo: &'static [&'static str],
    /// Whether it starts the real executable.
    starts_product: bool,
}

const BENCHMARKS: &[Benchmark] = &[
    Benchmark {
        name: "api",
        about: "rates and waits of the API, against the same SQL alone and a bare handler, and as the catalogue grows",
        cargo: &["bench", "--package", "cm-e2e", "--bench", "api"],
        starts_product: true,
    },
    Benchmark {
        name: "elastic",
        about: "read latency and bytes moved by elastic replication, simulated, against the earlier system's strategy",
        cargo: &["run", "--release", "--package", "cm-sim", "--example", "elastic"],
        starts_product: false,
    },
    Benchmark {
        name: "erasure",
        about: "cutting chunks into shards and joining them, beside their digest",
        cargo: &["run", "--release", "--package", "cm-erasure", "--example", "erasure-speed"],
        starts_product: false,
    },
    Benchmark {
        name: "files",
        about: "sealing and opening files in every format, beside writing them, and the memory it takes (`--megabytes N`)",
        cargo: &["run", "--release", "--package", "cm-crypto", "--example", "files"],
        starts_product: false,
    },
    Benchmark {
        name: "functions",
        about: "instance start, provisioning and compute kernels, against bare wasmtime, plain TLS and native",
        cargo: &["bench", "--package", "cm-e2e", "--bench", "functions"],
        starts_product: true,
    },
    Benchmark {
        name: "identity",
        about: "sign-ins beside argon2id alone, verified requests and introspections beside Ed25519 alone",
        cargo: &["bench", "--package", "cm-e2e", "--bench", "identity"],
        starts_product: true,
    },
    Benchmark {
        name: "mpc",
        about: "computations between processes over TLS, for each tier and number of parties, against MPyC in the same run (`--python PATH`; `--quick`)",
        cargo: &["run", "--release", "--package", "cm-mpc", "--example", "mpc-speed"],
        starts_product: false,
    },
    Benchmark {
        name: "mpc-job",
        about: "one product as a job over REST between three nodes, from its first request to its result, beside the disk",
        cargo: &["bench", "--package", "cm-e2e", "--bench", "mpc-job"],
        starts_product: true,
    },
    Benchmark {
        name: "intel",
        about: "threat events verified, kept and passed on in a second, on disk and in memory, beside bare verification and a peer in Python; time of a hop; shelves of TAXII",
        cargo: &["run", "--release", "--package", "cm-intel", "--example", "intel-throughput"],
        starts_product: false,
    },
    Benchmark {
        name: "objects",
        about: "storing, reading and listing objects, against the disk, loopback and another server of S3, and memory",
        cargo: &["bench", "--package", "cm-e2e", "--bench", "objects"],
        starts_product: true,
    },
    Benchmark {
        name: "policy",
        about: "decisions a second by a policy of 1000 statements, against the plain interpreter and Cedar",
        cargo: &["run", "--release", "--manifest-path", "bench/policy/Cargo.toml"],
        starts_product: false,
    },
    Benchmark {
        name: "timing",
        about: "whether the time of comparing passwords and tokens tells anything of the secret, with a leak that must be seen",
        cargo: &["bench", "--package", "cm-e2e", "--bench", "timing"],
        starts_product: false,
    },
];

/// Runs the benchmark of that name; lists them without a name.
pub(crate) fn run(name: Option<&str>, arguments: &[String]) -> Result<()> {
    let Some(name) = name else {
        for benchmark in BENCHMARKS {
            eprintln!("{:<12} {}", benchmark.name, benchmark.about);
        }
        return Ok(());
    };
    let benchmark = find(name)?;
    if benchmark.starts_product {
        shell::run(&mut shell::cargo(&["build", "--release", "--package", "cryptomesh", "--bins"]))?;
    }
    let mut line = benchmark.cargo.to_vec();
    line.push("--");
    line.extend(arguments.iter().map(String::as_str));
    shell::run(&mut shell::cargo(&line))
}

fn find(name: &str) -> Result<&'static Benchmark> {
    match BENCHMARKS.iter().find(|benchmark| benchmark.name == name) {
        Some(benchmark) => Ok(benchmark),
        None => {
            let known: Vec<_> = BENCHMARKS.iter().map(|benchmark| benchmark.name).collect();
            bail!("there is no benchmark `{name}`; there are: {}", known.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_name_is_refused_with_the_known_ones() {
        assert!(find("functions").is_ok());
        let error = find("nothing").map(|_| ()).expect_err("there is no such benchmark");
        assert!(error.to_string().contains("functions"), "{error}");
    }
}

//! MPyC, doing the same.

use std::process::Command;

use super::Figure;

/// What to do when it is not there.
const HOW_TO_INSTALL: &str = "MPyC is not installed for `{python}`, so there is nothing to compare with. Install it:\n\
     \n    python3 -m venv /tmp/mpyc && /tmp/mpyc/bin/pip install mpyc numpy gmpy2\n\
     \nand pass `--python /tmp/mpyc/bin/python`; or pass `--without-mpyc` to measure this product alone.";

/// Demands a Python that has MPyC, and says which.
///
/// # Errors
/// With what to do.
pub(crate) fn demand(python: &str) -> Result<String, String> {
    let line = "import mpyc, numpy; print('MPyC', mpyc.__version__, 'numpy', numpy.__version__)";
    let refused = || HOW_TO_INSTALL.replace("{python}", python);
    let output = Command::new(python).args(["-c", line]).output().map_err(|_| refused())?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
        false => Err(refused()),
    }
}

/// MPyC's array products, chain of products, inner product, matrix product and comparisons, each as its documentation advises: arrays
/// where it has them. Three processes, `-M3`; the field is that of 2^61 - 1, and 64 bits for comparisons, which its fields
/// do not have.
const SCRIPT: &str = r#"
import time, os, json
import numpy as np
from mpyc.runtime import mpc
fld = mpc.SecFld(2**61 - 1)
secint = mpc.SecInt(32)
out = {}
async def measure(name, count, make, few, many):
    def sent():
        return sum(peer.protocol.nbytes_sent for peer in mpc.parties if peer.pid != mpc.pid)
    async def go(times):
        await mpc.barrier()
        begun, cpu, bytes = time.perf_counter(), time.process_time(), sent()
        await make(times)
        await mpc.barrier()
        return time.perf_counter() - begun, time.process_time() - cpu, sent() - bytes
    best = [1e9, 1e9, 1e9, 1e9]
    for _ in range(3):
        a, b = await go(few), await go(many)
        best = [min(best[0], a[0]), min(best[1], b[0]), min(best[2], a[1]), min(best[3], b[1])]
    wall = max(best[1] - best[0], 1e-9) / (many - few)
    cpu = max(best[3] - best[2], 1e-9) / (many - few)
    cpus = await mpc.transfer(cpu)
    bytes = await mpc.transfer((b[2] - a[2]) / (many - few))
    out[name] = (count / wall, count / sum(cpus), sum(bytes) / count)
async def main():
    await mpc.start()
    x = fld.array(np.ones(100000, dtype=object))
    one = fld(1)
    m = fld.array(np.ones((100, 100), dtype=object))
    async def products(times):
        y = x
        for _ in range(times):
            y = y * x
        await mpc.output(y[0])
    async def chain(times):
        y = one
        for _ in range(times):
            y = y * one
        await mpc.output(y)
    async def inner(times):
        s = fld(0)
        for _ in range(times):
            s = s + x @ x
        await mpc.output(s)
    async def matrices(times):
        y = m
        for _ in range(times):
            y = y @ m
        await mpc.output(y[0][0])
    a = [secint(i) for i in range(500)]
    async def less(times):
        for _ in range(times):
            await mpc.gather([v < 250 for v in a])
    await measure("multiply", 1e5, products, 1, 4)
    await measure("dependent round", 1, chain, 10, 210)
    await measure("inner product 1e5", 1, inner, 1, 6)
    await measure("matmul 100^3", 1, matrices, 1, 4)
    await measure("less than", 500, less, 1, 3)
    if mpc.pid == 0:
        print("RESULT " + json.dumps(out), flush=True)
    await mpc.shutdown()
mpc.run(main())
"#;

/// Runs MPyC and prints its figures beside ours, with the ratios.
pub(crate) fn compare(python: &str, ours: &[Figure]) {
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("speed.py");
    std::fs::write(&script, SCRIPT).unwrap();
    let output = Command::new(python).arg(&script).args(["-M3", "--no-log"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let Some(result) = text.lines().find_map(|line| line.strip_prefix("RESULT ")) else {
        println!("MPyC said nothing of use: {text}{}", String::from_utf8_lossy(&output.stderr));
        return;
    };
    let theirs: serde_json::Value = serde_json::from_str(result).unwrap();
    println!("\nn=3 semi-honest f61 against MPyC (three processes, plain TCP):");
    for own in ours {
        let [wall, core, bytes] = [0, 1, 2].map(|at| theirs[own.name][at].as_f64().unwrap());
        println!(
            "{:<18} {:>12.0}/s against {wall:>10.0}/s: {:>7.1} x wall, {:>7.1} x per core-second; {:>8.1} B against {bytes:>8.1} B",
            own.name,
            own.wall,
            own.wall / wall,
            own.core / core,
            own.bytes,
        );
    }
}

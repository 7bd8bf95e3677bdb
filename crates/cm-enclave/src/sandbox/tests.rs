//! The walls are tested from inside: the test starts itself again as a process that enters the sandbox,
//! tries what must fail, and prints what happened.

use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::process::Command;

use super::*;

/// Set in the process that enters the sandbox.
const INSIDE: &str = "CRYPTOMESH_SANDBOX_PROBE";

/// Enters the sandbox keeping a listener, and prints one line per attempt. Runs only when started by the
/// other test, which leaves it alone in its process.
#[test]
fn probe() {
    let Ok(address) = std::env::var(INSIDE) else {
        return;
    };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    // Leaked, because the sandbox closes it without asking its owner.
    let stranger = std::mem::ManuallyDrop::new(std::fs::File::open("/proc/self/status").unwrap());
    let spare = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut layers = match seclude(&[listener.as_fd(), spare.as_fd()]).unwrap() {
        Secluded::Supervisor(child) => std::process::exit(supervise(child).into()),
        Secluded::Instance(layers) => layers,
    };
    println!("listening {port}");
    println!("stranger {:?}", rustix::fs::fstat(&*stranger).map(|_| ()));
    println!("pid {}", std::process::id());
    println!("files-before-seal {:?}", std::fs::read_dir("/").map(Iterator::count).map_err(|e| e.kind()));
    confine(&mut layers);
    println!("dumpable {:?}", rustix::process::dumpable_behavior());
    println!("root {:?}", std::fs::read_dir("/").map(Iterator::count).map_err(|e| e.kind()));
    seal(&mut layers);
    bound(&mut layers, Bounds { data: 1 << 30, connections: 8 });
    for layer in &layers {
        println!("layer {} {:?}", layer.name, layer.missing);
    }
    println!("open {}", denied(std::fs::File::open("/etc/passwd")));
    println!("create {}", denied(std::fs::File::create("/tmp/x")));
    println!("connect {}", denied(TcpStream::connect(&address)));
    println!("bind {}", denied(TcpListener::bind("127.0.0.1:0")));
    println!("udp {}", denied(std::net::UdpSocket::bind("127.0.0.1:0")));
    println!("execute {}", denied(Command::new("/bin/true").status()));
    let ours = std::process::id();
    println!("signal-own {}", denied(process::probe_signal(ours)));
    println!("signal-other {}", denied(process::probe_signal(ours + 1)));
    // A listener that is shut down can be connected by sending, if nothing forbids the flag.
    rustix::net::shutdown(&spare, rustix::net::Shutdown::Read).unwrap();
    let to: std::net::SocketAddr = address.parse().unwrap();
    let flags = rustix::net::SendFlags::from_bits_retain(libc::MSG_FASTOPEN.unsigned_abs());
    println!("fast-open {}", denied(rustix::net::sendto(&spare, b"out", flags, &to)));
    println!("option {}", denied(rustix::net::sockopt::set_socket_reuseaddr(&spare, true)));
    let init = rustix::process::Pid::INIT;
    println!("kill {}", denied(rustix::process::kill_process(init, Signal::TERM)));
    println!("pidfd {}", denied(rustix::process::pidfd_open(init, rustix::process::PidfdFlags::empty())));
    println!("unshare {}", denied(process::unshare(rustix::thread::UnshareFlags::NEWUSER)));
    println!("fork {}", denied(process::fork()));
    println!("mount {}", denied(rustix::mount::unmount("/", rustix::mount::UnmountFlags::DETACH)));
    println!("thread {}", std::thread::spawn(|| 41 + 1).join().unwrap());
    let (mut accepted, _) = listener.accept().unwrap();
    std::io::Write::write_all(&mut accepted, b"inside").unwrap();
    println!("end");
}

fn denied<T, E: std::fmt::Display>(outcome: Result<T, E>) -> String {
    outcome.err().map_or("allowed".to_owned(), |error| format!("denied: {error}"))
}

#[test]
fn nothing_but_the_listener_is_left_inside() {
    use std::io::{BufRead as _, BufReader, Read as _};
    use std::process::Stdio;

    let outside = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut inside = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "sandbox::tests::probe", "--nocapture", "--test-threads=1"])
        .env(INSIDE, outside.local_addr().unwrap().to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(inside.stdout.take().unwrap());
    let mut text = String::new();
    let port: u16 = loop {
        let mut line = String::new();
        assert_ne!(output.read_line(&mut line).unwrap(), 0, "the probe ended early");
        if let Some((_, port)) = line.split_once("listening ") {
            break port.trim().parse().unwrap();
        }
    };
    let mut greeting = String::new();
    TcpStream::connect(("127.0.0.1", port)).unwrap().read_to_string(&mut greeting).unwrap();
    output.read_to_string(&mut text).unwrap();
    assert!(inside.wait().unwrap().success(), "{text}");
    assert_eq!(greeting, "inside", "the inherited listener does not survive the network namespace");

    let lines: Vec<(&str, &str)> = text.lines().filter_map(|line| line.split_once(' ')).collect();
    let of = |key: &str| lines.iter().find(|(name, _)| *name == key).map(|(_, value)| *value);
    for attempt in
        ["open", "create", "connect", "bind", "udp", "execute", "kill", "pidfd", "unshare", "fork", "mount"]
    {
        assert!(
            of(attempt).is_some_and(|value| value.starts_with("denied")),
            "{attempt} was allowed:\n{text}"
        );
    }
    // These reach the kernel's own checks unless the filter answers, so that its answer must be seen.
    for attempt in ["signal-other", "fast-open", "option"] {
        let value = of(attempt).unwrap_or_default();
        assert!(value.contains("not permitted"), "{attempt} got past the filter: {value}\n{text}");
    }
    assert_eq!(of("signal-own"), Some("allowed"), "{text}");
    assert!(of("dumpable").is_some_and(|value| value.contains("NotDumpable")), "{text}");
    assert_eq!(of("thread"), Some("42"), "{text}");
    assert!(of("stranger").is_some_and(|value| value.starts_with("Err")), "{text}");
    // What this machine's kernel can do must stand; elsewhere the layer says why it does not.
    let stands =
        |name: &str| lines.iter().any(|(key, value)| *key == "layer" && *value == format!("{name} None"));
    for layer in [
        "seccomp",
        "no-new-privileges",
        "no-capabilities",
        "resource-limits",
        "not-dumpable",
        "closed-descriptors",
    ] {
        assert!(stands(layer), "{layer} does not stand:\n{text}");
    }
    // The probe is told its task through an environment variable, which must not go unmentioned.
    let said = "layer empty-environment Some(";
    assert!(text.lines().any(|line| line.starts_with(said)), "{text}");
    if stands("pid-namespace") {
        assert_eq!(of("pid"), Some("1"), "{text}");
    }
    if stands("empty-root") {
        assert!(of("root") != of("files-before-seal"), "the root is the host's:\n{text}");
    }
    println!("{text}");
}

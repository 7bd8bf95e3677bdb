//! How much of the machine processes take.

use std::time::Instant;

/// Clock ticks per second in `/proc`; the same on every Linux that Rust runs on.
const TICKS: f64 = 100.0;

/// The processor time that a process and the whole machine had used by some moment, in seconds.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    at: Instant,
    process: f64,
    machine: f64,
}

impl Usage {
    /// By now, of the process with this id.
    pub fn of(pid: u32) -> Usage {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // The name, in parentheses, may hold anything; user and system time are the 12th and 13th field after it.
        let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace();
        let process = fields.skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum::<f64>();
        let machine = std::fs::read_to_string("/proc/stat").unwrap_or_default();
        let times: Vec<f64> = machine
            .lines()
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .skip(1)
            .filter_map(|field| field.parse().ok())
            .collect();
        // Idle and waiting for the disk are the 4th and 5th; guests, from the 9th on, are counted before already.
        let busy =
            times.iter().take(8).enumerate().filter(|(at, _)| !matches!(at, 3 | 4)).map(|(_, time)| time);
        Usage { at: Instant::now(), process: process / TICKS, machine: busy.sum::<f64>() / TICKS }
    }

    /// How many processors the process, and the whole machine, kept busy since then.
    pub fn since(self, earlier: Usage) -> (f64, f64) {
        let time = self.at.duration_since(earlier.at).as_secs_f64().max(1e-9);
        ((self.process - earlier.process) / time, (self.machine - earlier.machine) / time)
    }
}

/// The load averages over 1, 5 and 15 minutes.
pub fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}

/// The most memory that a process ever had, in MiB.
pub fn memory_peak(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<f64>().map_or(f64::NAN, |kib| kib / 1024.0)
}

//! From the engine's result to the typed end of a run.

use std::time::Duration;

use cm_instance::{ExecutionReport, Limit, Outcome, TrapKind};
use wasmtime::Trap;

use super::limits::MemoryLimit;
use crate::vfs::View;
use crate::wasi::End;

/// Longest message from the engine in a report, in bytes.
const MESSAGE_LEN_MAX: usize = 512;

pub(super) fn report(
    result: wasmtime::Result<()>,
    view: &View,
    limits: &MemoryLimit,
    fuel: Option<u64>,
    wall: Duration,
) -> ExecutionReport {
    let outcome = match result.map_or_else(|error| classify(&error), |()| Outcome::Completed) {
        // A program that fails after it was refused something is told by the refusal, not by its aftermath.
        failed @ (Outcome::Exit { .. } | Outcome::Trap { .. }) => match view.last_denied() {
            Some(denied) => Outcome::MissingRight {
                path: denied.path.clone(),
                right: denied.right,
                call: denied.call.clone(),
            },
            None => failed,
        },
        other => other,
    };
    ExecutionReport {
        outcome,
        fuel,
        wall_ms: u64::try_from(wall.as_millis()).unwrap_or(u64::MAX),
        memory_peak: limits.bytes_peak(),
        denied: view.denied().to_vec(),
        denied_count: view.denied_count(),
        steps: Vec::new(),
    }
}

fn classify(error: &wasmtime::Error) -> Outcome {
    if let Some(end) = error.downcast_ref::<End>() {
        return match *end {
            End::Exit(0) => Outcome::Completed,
            End::Exit(code) => Outcome::Exit { code },
            End::Limit(which) => Outcome::LimitExceeded { which },
            End::Cancelled => Outcome::Cancelled,
            End::NoClock => Outcome::Trap { trap: TrapKind::Other, message: end.to_string() },
        };
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::OutOfFuel | Trap::Interrupt) => Outcome::LimitExceeded { which: Limit::Time },
        Some(trap) => Outcome::Trap { trap: kind(*trap), message: shorten(trap.to_string()) },
        None => Outcome::InvalidModule { message: shorten(error.to_string()) },
    }
}

fn kind(trap: Trap) -> TrapKind {
    match trap {
        Trap::UnreachableCodeReached => TrapKind::Unreachable,
        Trap::MemoryOutOfBounds | Trap::TableOutOfBounds | Trap::HeapMisaligned => TrapKind::OutOfBounds,
        Trap::StackOverflow => TrapKind::StackOverflow,
        Trap::IntegerOverflow | Trap::IntegerDivisionByZero | Trap::BadConversionToInteger => {
            TrapKind::Arithmetic
        }
        Trap::IndirectCallToNull | Trap::BadSignature | Trap::NullReference => TrapKind::BadCall,
        _ => TrapKind::Other,
    }
}

fn shorten(mut message: String) -> String {
    if message.len() > MESSAGE_LEN_MAX {
        let end = (0..=MESSAGE_LEN_MAX).rev().find(|&at| message.is_char_boundary(at)).unwrap_or(0);
        message.truncate(end);
    }
    message
}

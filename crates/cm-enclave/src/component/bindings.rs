//! The interfaces as traits, generated from `wit/`.
#![allow(missing_docs, unreachable_pub, reason = "the generated items are documented by their interfaces")]

wasmtime::component::bindgen!({
    path: "wit",
    world: "cryptomesh:instance/program",
    imports: { default: trappable },
    trappable_error_type: {
        "wasi:io/streams.stream-error" => crate::component::failure::StreamFailure,
        "wasi:filesystem/types.error-code" => crate::component::failure::FileFailure,
    },
    with: {
        "wasi:cli/terminal-input.terminal-input": crate::component::process::Terminal,
        "wasi:cli/terminal-output.terminal-output": crate::component::process::Terminal,
        "wasi:filesystem/types.descriptor": crate::component::descriptors::Descriptor,
        "wasi:filesystem/types.directory-entry-stream": crate::component::descriptors::Entries,
        "wasi:io/error.error": crate::component::streams::IoError,
        "wasi:io/poll.pollable": crate::component::process::Pollable,
        "wasi:io/streams.input-stream": crate::component::streams::InputStream,
        "wasi:io/streams.output-stream": crate::component::streams::OutputStream,
    },
});

//! What a client and an instance say to each other inside TLS.
//!
//! A message is a frame: its length as an unsigned big-endian number of 64 bits, then a protobuf message.
//! The client sends [`Request`]s; each is answered by one [`Response`], in order. Numbers below 100 are
//! those of the published runtime; numbers from 100 on are this product's additions.

mod frame;
mod message;
pub mod posted;
mod request;
#[cfg(test)]
mod tests;

pub use frame::{FRAME_LEN_MAX, FrameDecoder, FrameError, HEADER_LEN, append_frame, encode_frame};
pub use message::{
    ARGUMENTS_LEN_MAX, ARGUMENTS_MAX, Cancel, Cert, Data, ErrorText, Execute, FileEntry, FileList, ListFiles,
    PiHash, PolicyHash, ProvideKey, ReadFile, Report, Request, RequestBody, RequestPiHash, RequestPipeline,
    RequestPolicyHash, RequestResult, RequestShutdown, Response, ResultData, State, Status, WriteSealed,
    arguments_fit,
};
pub use request::{Incoming, RequestDecoder, begin_write};

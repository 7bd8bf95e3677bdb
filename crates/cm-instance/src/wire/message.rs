//! The messages.

use bytes::Bytes;

use crate::ExecutionReport;

/// A question from a client.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Request {
    /// A number that the published runtime carries along; ignored.
    #[prost(uint32, tag = "1")]
    pub context: u32,
    /// What is asked.
    #[prost(oneof = "RequestBody", tags = "2, 3, 4, 5, 8, 10, 11, 12, 100, 101, 102, 103, 104")]
    pub body: Option<RequestBody>,
}

impl From<RequestBody> for Request {
    fn from(body: RequestBody) -> Self {
        Self { context: 0, body: Some(body) }
    }
}

impl RequestBody {
    /// The name of the file that the request is about, as the client spelled it.
    pub fn file_name(&self) -> Option<&str> {
        match self {
            Self::WriteFile(data) | Self::AppendFile(data) => Some(&data.file_name),
            Self::RequestPiHash(request) => Some(&request.file_name),
            Self::RequestResult(request) => Some(&request.file_name),
            Self::ReadFile(request) => Some(&request.file_name),
            Self::Execute(request) => Some(&request.file_name),
            Self::ProvideKey(request) => Some(&request.file_name),
            Self::WriteSealed(request) => Some(&request.file_name),
            _ => None,
        }
    }
}

/// What a client can ask for.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum RequestBody {
    /// Replace a file's content.
    #[prost(message, tag = "2")]
    WriteFile(Data),
    /// Add to a file's end.
    #[prost(message, tag = "3")]
    AppendFile(Data),
    /// The hash of a file.
    #[prost(message, tag = "4")]
    RequestPiHash(RequestPiHash),
    /// Execute a program, as the published runtime does it: the answer holds the exit code.
    #[prost(message, tag = "5")]
    RequestResult(RequestResult),
    /// End the instance.
    #[prost(message, tag = "8")]
    RequestShutdown(RequestShutdown),
    /// The hash of the policy that the instance obeys.
    #[prost(message, tag = "10")]
    RequestPolicyHash(RequestPolicyHash),
    /// A file's content.
    #[prost(message, tag = "11")]
    ReadFile(ReadFile),
    /// Execute a pipeline, as the published runtime does it: the answer holds the exit code.
    #[prost(message, tag = "12")]
    RequestPipeline(RequestPipeline),
    /// Execute a program or a pipeline; the answer holds a report.
    #[prost(message, tag = "100")]
    Execute(Execute),
    /// End the run that this identity started.
    #[prost(message, tag = "101")]
    Cancel(Cancel),
    /// The files that this identity may know of.
    #[prost(message, tag = "102")]
    ListFiles(ListFiles),
    /// Hand over the key of a sealed file that somebody will carry here.
    #[prost(message, tag = "103")]
    ProvideKey(ProvideKey),
    /// Write a piece of a sealed file, whose key was handed over.
    #[prost(message, tag = "104")]
    WriteSealed(WriteSealed),
}

/// A file and bytes for it.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Data {
    /// The file.
    #[prost(string, tag = "1")]
    pub file_name: String,
    /// The bytes.
    #[prost(bytes = "bytes", tag = "2")]
    pub data: Bytes,
}

/// Asks for a file's hash.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RequestPiHash {
    /// The file.
    #[prost(string, tag = "1")]
    pub file_name: String,
}

/// Asks to execute a program.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RequestResult {
    /// The program's file.
    #[prost(string, tag = "1")]
    pub file_name: String,
}

/// Asks to end the instance.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RequestShutdown {}

/// Asks for the policy's hash.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RequestPolicyHash {}

/// Asks for a file's content.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ReadFile {
    /// The file.
    #[prost(string, tag = "1")]
    pub file_name: String,
    /// Where to begin, in bytes; an addition for files that are longer than a frame.
    #[prost(uint64, tag = "100")]
    pub offset: u64,
    /// How many bytes at most; 0 means to the end.
    #[prost(uint64, tag = "101")]
    pub length: u64,
}

/// Asks to execute a pipeline.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RequestPipeline {
    /// The pipeline's name or number.
    #[prost(string, tag = "1")]
    pub pipeline_id: String,
}

/// Asks to execute a program or a pipeline and report.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Execute {
    /// The program's file; empty when a pipeline is named.
    #[prost(string, tag = "1")]
    pub file_name: String,
    /// How long it may run, in milliseconds; 0 means the instance's own limit, which also bounds it.
    #[prost(uint64, tag = "2")]
    pub deadline_ms: u64,
    /// What the program sees behind its own name; a pipeline hands them to each of its programs. At most
    /// [`ARGUMENTS_MAX`] with [`ARGUMENTS_LEN_MAX`] bytes together, none of which is 0.
    #[prost(string, repeated, tag = "3")]
    pub arguments: Vec<String>,
    /// The pipeline's name or number.
    #[prost(string, optional, tag = "4")]
    pub pipeline: Option<String>,
}

/// Most arguments of a program.
pub const ARGUMENTS_MAX: usize = 256;
/// Most bytes of a program's arguments together.
pub const ARGUMENTS_LEN_MAX: usize = 64 * 1024;

/// Whether a program can be given these arguments: not too many, not too long, and without the byte that ends one
/// inside.
pub fn arguments_fit(arguments: &[String]) -> bool {
    arguments.len() <= ARGUMENTS_MAX
        && arguments.iter().map(String::len).sum::<usize>() <= ARGUMENTS_LEN_MAX
        && !arguments.iter().any(|argument| argument.contains('\0'))
}

/// Asks to end a run.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Cancel {}

/// Asks for the list of files.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ListFiles {}

/// Hands over the content key of one sealed file. It serves until the file has arrived, and for that file only.
#[derive(Clone, PartialEq, prost::Message)]
#[prost(skip_debug)]
pub struct ProvideKey {
    /// What the file will be called here.
    #[prost(string, tag = "1")]
    pub file_name: String,
    /// The content key, 32 bytes.
    #[prost(bytes = "vec", tag = "2")]
    pub content_key: Vec<u8>,
    /// SHA-256 of the file's sealed header, 32 bytes.
    #[prost(bytes = "vec", tag = "3")]
    pub sealed_header: Vec<u8>,
}

impl std::fmt::Debug for ProvideKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProvideKey").field("file_name", &self.file_name).finish_non_exhaustive()
    }
}

impl Drop for ProvideKey {
    fn drop(&mut self) {
        cm_crypto::secret::wipe(&mut self.content_key);
    }
}

/// Writes a piece of a sealed file. The pieces come in their order; the file is there once the last one proved that
/// all of it is authentic.
#[derive(Clone, PartialEq, prost::Message)]
pub struct WriteSealed {
    /// What the file will be called here.
    #[prost(string, tag = "1")]
    pub file_name: String,
    /// The piece.
    #[prost(bytes = "bytes", tag = "2")]
    pub data: Bytes,
    /// How many bytes of the sealed file stand before it; 0 begins anew.
    #[prost(uint64, tag = "3")]
    pub offset: u64,
    /// Whether the file ends with it.
    #[prost(bool, tag = "4")]
    pub last: bool,
}

/// An answer.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Response {
    /// Whether the request was carried out.
    #[prost(enumeration = "Status", tag = "1")]
    pub status: i32,
    /// Bytes: a file's content, or an exit code (little-endian, 32 bits).
    #[prost(message, optional, tag = "4")]
    pub result: Option<ResultData>,
    /// A file's hash, in ASCII hexadecimal digits.
    #[prost(message, optional, tag = "5")]
    pub pi_hash: Option<PiHash>,
    /// What went wrong, for people.
    #[prost(message, optional, tag = "6")]
    pub error: Option<ErrorText>,
    /// The instance's state, for people.
    #[prost(message, optional, tag = "10")]
    pub state: Option<State>,
    /// The policy's hash, in ASCII hexadecimal digits.
    #[prost(message, optional, tag = "11")]
    pub policy_hash: Option<PolicyHash>,
    /// The instance's certificate, in DER.
    #[prost(message, optional, tag = "12")]
    pub cert: Option<Cert>,
    /// How a run ended.
    #[prost(message, optional, tag = "100")]
    pub report: Option<Report>,
    /// The files that may be known.
    #[prost(message, optional, tag = "102")]
    pub files: Option<FileList>,
    /// The whole length of the file that `result` is a part of.
    #[prost(uint64, optional, tag = "103")]
    pub file_len: Option<u64>,
}

impl Response {
    /// An answer that says no more than this.
    pub fn of(status: Status) -> Self {
        Self { status: status.into(), ..Self::default() }
    }

    /// The request was carried out.
    pub fn success() -> Self {
        Self::of(Status::Success)
    }

    /// The request was carried out, and this is what it gave.
    pub fn data(bytes: impl Into<Bytes>) -> Self {
        Self { result: Some(ResultData { data: bytes.into() }), ..Self::success() }
    }

    /// The request was not carried out; the text says why, for people.
    pub fn failure(status: Status, text: impl Into<String>) -> Self {
        Self { error: Some(ErrorText { data: text.into() }), ..Self::of(status) }
    }
}

/// Whether a request was carried out, under the published runtime's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum Status {
    /// No status; never sent.
    Unset = 0,
    /// It was.
    Success = 1,
    /// The identity may not ask for this.
    InvalidRole = 2,
    /// The instance is not ready for it.
    NotReady = 3,
    /// It failed for another reason.
    Generic = 4,
    /// The program could not be run, or trapped.
    VmError = 5,
    /// The program exited with a code other than 0.
    ErrorCodeReturned = 6,
    /// The request cannot be understood or names what is not there.
    InvalidRequest = 7,
}

/// Bytes in an answer.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ResultData {
    /// The bytes.
    #[prost(bytes = "bytes", tag = "1")]
    pub data: Bytes,
}

/// A file's hash.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PiHash {
    /// ASCII hexadecimal digits.
    #[prost(string, tag = "1")]
    pub data: String,
}

/// What went wrong.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ErrorText {
    /// For people.
    #[prost(string, tag = "1")]
    pub data: String,
}

/// The instance's state.
#[derive(Clone, PartialEq, prost::Message)]
pub struct State {
    /// For people.
    #[prost(string, tag = "1")]
    pub state: String,
}

/// The policy's hash.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PolicyHash {
    /// ASCII hexadecimal digits.
    #[prost(string, tag = "1")]
    pub data: String,
}

/// A certificate.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Cert {
    /// DER.
    #[prost(bytes = "bytes", tag = "1")]
    pub data: Bytes,
}

/// How a run ended. Both ends share the type, so it travels in its JSON form, which can gain fields.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Report {
    /// The JSON text of an [`ExecutionReport`].
    #[prost(string, tag = "1")]
    pub json: String,
}

impl Report {
    /// Packs a report.
    pub fn pack(report: &ExecutionReport) -> Self {
        Self { json: serde_json::to_string(report).expect("a report has only text keys") }
    }

    /// Unpacks it; an error if the text is no report.
    pub fn unpack(&self) -> Result<ExecutionReport, serde_json::Error> {
        serde_json::from_str(&self.json)
    }
}

/// The files that may be known.
#[derive(Clone, PartialEq, prost::Message)]
pub struct FileList {
    /// In the order of their paths.
    #[prost(message, repeated, tag = "1")]
    pub files: Vec<FileEntry>,
}

/// One file in a list.
#[derive(Clone, PartialEq, prost::Message)]
pub struct FileEntry {
    /// Its path.
    #[prost(string, tag = "1")]
    pub file_name: String,
    /// Its length in bytes, if the identity may learn it.
    #[prost(uint64, optional, tag = "2")]
    pub length: Option<u64>,
    /// The identity's rights on it.
    #[prost(uint32, tag = "3")]
    pub rights: u32,
}

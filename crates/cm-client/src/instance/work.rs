//! What more can be done with an instance: programs with arguments, pipelines, its list of files, sealed files.

use std::time::Duration;

use bytes::BytesMut;
use cm_crypto::seal::ContentKey;
use cm_instance::ExecutionReport;
use cm_instance::wire::{
    Execute, FileEntry, ListFiles, ProvideKey, ReadFile, RequestBody, WriteSealed, begin_write,
};
use cm_types::Sha256Digest;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use super::{
    ANSWER_TIMEOUT, EXECUTE_GRACE, InstanceChannel, InstanceError, PIECE_BYTES, PIPELINE_MAX, read_piece,
};
use crate::{ClientError, Progress};

/// What is to be executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Work {
    /// The program of this file.
    Program(String),
    /// The pipeline of this name or number.
    Pipeline(String),
}

impl InstanceChannel {
    /// Runs a program or a pipeline with arguments and waits until it ends. How it ended is in the report; an error
    /// means that it is unknown.
    pub async fn execute_with(
        &mut self,
        work: &Work,
        arguments: &[String],
        deadline: Duration,
    ) -> Result<ExecutionReport, ClientError> {
        let (file_name, pipeline) = match work {
            Work::Program(name) => (name.clone(), None),
            Work::Pipeline(name) => (String::new(), Some(name.clone())),
        };
        let deadline_ms = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
        let request = Execute { file_name, deadline_ms, arguments: arguments.to_vec(), pipeline };
        let answer = self.ask(RequestBody::Execute(request), deadline + EXECUTE_GRACE).await?;
        let report = answer.report.ok_or_else(|| self.failed(InstanceError::Incomplete("the report")))?;
        report.unpack().map_err(|_| self.failed(InstanceError::Incomplete("a readable report")))
    }

    /// The files that the caller may know of.
    pub async fn list_files(&mut self) -> Result<Vec<FileEntry>, ClientError> {
        let answer = self.ask(RequestBody::ListFiles(ListFiles {}), ANSWER_TIMEOUT).await?;
        Ok(answer.files.ok_or_else(|| self.failed(InstanceError::Incomplete("the list of files")))?.files)
    }

    /// Writes a file's content into `sink` while it is fetched; says how many bytes there were. On an error the sink
    /// has a part of the content.
    pub async fn read_into(
        &mut self,
        name: &str,
        mut sink: impl AsyncWrite + Unpin,
        progress: Option<Progress>,
    ) -> Result<u64, ClientError> {
        let mut offset = 0;
        loop {
            let read = ReadFile { file_name: name.to_owned(), offset, length: PIECE_BYTES as u64 };
            let answer = self.ask(RequestBody::ReadFile(read), ANSWER_TIMEOUT).await?;
            let whole = answer.file_len.unwrap_or_default();
            let piece = answer.result.map(|result| result.data).unwrap_or_default();
            sink.write_all(&piece).await.map_err(|error| self.failed(error.into()))?;
            offset += piece.len() as u64;
            if let Some(progress) = &progress {
                progress(offset);
            }
            if offset >= whole {
                sink.flush().await.map_err(|error| self.failed(error.into()))?;
                return Ok(offset);
            }
            if piece.is_empty() {
                return Err(self.failed(InstanceError::Incomplete("the rest of the file")));
            }
        }
    }

    /// Replaces the content of a file by the `length` bytes that `source` yields, in one step: until all have arrived, and
    /// for ever if they do not, the file is as it was. The instance needs room for both contents meanwhile, and waits a
    /// minute for 16 MiB.
    ///
    /// # Errors
    /// If the source fails or yields another number of bytes, too. The connection cannot be used after an error.
    pub async fn write_whole(
        &mut self,
        name: &str,
        source: impl AsyncRead + Unpin,
        length: u64,
    ) -> Result<(), ClientError> {
        self.send_whole(name, source, length).await.map_err(|source| self.failed(source))
    }

    async fn send_whole(
        &mut self,
        name: &str,
        mut source: impl AsyncRead + Unpin,
        length: u64,
    ) -> Result<(), InstanceError> {
        let timed_out = |_| std::io::Error::from(std::io::ErrorKind::TimedOut);
        self.stream.write_all(&begin_write(name, length)?).await?;
        let (mut sent, mut buffer) = (0u64, BytesMut::new());
        loop {
            let piece = read_piece(&mut source, &mut buffer).await?;
            sent += piece.len() as u64;
            if sent > length || (piece.is_empty() && sent < length) {
                return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
            }
            if piece.is_empty() {
                break;
            }
            tokio::time::timeout(ANSWER_TIMEOUT, self.stream.write_all(&piece))
                .await
                .map_err(timed_out)??;
        }
        self.receive(ANSWER_TIMEOUT).await.map(drop)
    }

    /// Hands over the key of a sealed file, which somebody then carries there with
    /// [`InstanceChannel::write_sealed`]. Only to instances that the owner has judged.
    pub async fn provide_key(
        &mut self,
        name: &str,
        key: &ContentKey,
        sealed_header: Sha256Digest,
    ) -> Result<(), ClientError> {
        let request = ProvideKey {
            file_name: name.to_owned(),
            content_key: key.expose().to_vec(),
            sealed_header: sealed_header.as_bytes().to_vec(),
        };
        self.ask(RequestBody::ProvideKey(request), ANSWER_TIMEOUT).await.map(drop)
    }

    /// Carries a sealed file to an instance that has its key. The caller needs no key and learns nothing of the content.
    pub async fn write_sealed(
        &mut self,
        name: &str,
        mut source: impl AsyncRead + Unpin,
        progress: Option<Progress>,
    ) -> Result<u64, ClientError> {
        let mut buffer = BytesMut::new();
        let (mut offset, mut unanswered) = (0u64, 0);
        let unreadable = |error: std::io::Error| ClientError::File { path: name.to_owned(), source: error };
        let mut piece = read_piece(&mut source, &mut buffer).await.map_err(unreadable)?;
        loop {
            let next = read_piece(&mut source, &mut buffer).await.map_err(unreadable)?;
            let last = next.is_empty();
            let sent = offset + piece.len() as u64;
            let body = RequestBody::WriteSealed(WriteSealed {
                file_name: name.to_owned(),
                data: piece,
                offset,
                last,
            });
            self.send(body).await.map_err(|source| self.failed(source))?;
            (piece, offset, unanswered) = (next, sent, unanswered + 1);
            if let Some(progress) = &progress {
                progress(offset);
            }
            if last || unanswered == PIPELINE_MAX {
                self.receive(ANSWER_TIMEOUT).await.map_err(|source| self.failed(source))?;
                unanswered -= 1;
            }
            if last {
                break;
            }
        }
        for _ in 0..unanswered {
            self.receive(ANSWER_TIMEOUT).await.map_err(|source| self.failed(source))?;
        }
        Ok(offset)
    }
}

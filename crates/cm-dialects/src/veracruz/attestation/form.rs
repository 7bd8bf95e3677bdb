//! The multipart form of the earlier service's clients.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use cm_http::{Failure, FailureClass, Upload};
use futures::stream;
use multer::{Constraints, Multipart, SizeLimit};

/// The parts that are known.
const PARTS: [&str; 3] = ["token", "csr", "endorsements"];

/// What a form holds, decoded.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Form {
    /// The evidence.
    pub(super) token: Vec<u8>,
    /// The certificate request.
    pub(super) csr: Vec<u8>,
    /// What the evidence's maker says about the platform. Clients of the earlier service never send it.
    pub(super) endorsements: Option<Vec<u8>>,
}

impl Form {
    /// Reads a form of at most so many bytes.
    ///
    /// # Errors
    /// 415 for another media type, 400 for parts that are missing, unknown, repeated or not base64, and what
    /// [`Upload::read_to_end`] answers.
    pub(super) async fn read(body: Upload, bytes_max: usize) -> Result<Self, Failure> {
        let boundary = body.content_type().and_then(|media_type| multer::parse_boundary(media_type).ok());
        let boundary = boundary.ok_or_else(|| {
            Failure::new(FailureClass::UnsupportedMediaType, "expected multipart/form-data with a boundary")
        })?;
        let bytes = body.read_to_end(bytes_max).await?;
        Self::parse(bytes, boundary, bytes_max).await
    }

    async fn parse(bytes: Bytes, boundary: String, bytes_max: usize) -> Result<Self, Failure> {
        let limit = SizeLimit::new().whole_stream(bytes_max as u64);
        let constraints = Constraints::new().allowed_fields(PARTS.to_vec()).size_limit(limit);
        let chunks = stream::iter([Ok::<_, std::convert::Infallible>(bytes)]);
        let mut form = Multipart::with_constraints(chunks, boundary, constraints);
        let [mut token, mut csr, mut endorsements] = [None, None, None];
        while let Some(part) = form.next_field().await.map_err(malformed)? {
            let place = match part.name() {
                Some("token") => &mut token,
                Some("csr") => &mut csr,
                Some("endorsements") => &mut endorsements,
                _ => return Err(incorrect("the form has a part without a name")),
            };
            let name = part.name().unwrap_or_default().to_owned();
            let text = part.bytes().await.map_err(malformed)?;
            if place.replace(decode(&text, &name)?).is_some() {
                return Err(incorrect(format!("the form has `{name}` twice")));
            }
        }
        let missing = |name: &str| incorrect(format!("the form has no part `{name}`"));
        Ok(Self {
            token: token.ok_or_else(|| missing("token"))?,
            csr: csr.ok_or_else(|| missing("csr"))?,
            endorsements,
        })
    }
}

/// Base64 as clients write it: in lines, or in one.
fn decode(text: &[u8], name: &str) -> Result<Vec<u8>, Failure> {
    let packed: Vec<u8> = text.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    STANDARD.decode(packed).map_err(|_| incorrect(format!("the part `{name}` is no base64")))
}

fn incorrect(message: impl Into<String>) -> Failure {
    Failure::new(FailureClass::Malformed, message)
}

fn malformed(error: multer::Error) -> Failure {
    incorrect("the multipart form is malformed, or has an unknown part").with_cause(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDARY: &str = "boundary";

    fn form(parts: &[(&str, &str)]) -> String {
        let mut text = String::new();
        for (name, value) in parts {
            text.push_str(&format!(
                "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
            ));
        }
        text + &format!("--{BOUNDARY}--\r\n")
    }

    async fn parse(text: String) -> Result<Form, Failure> {
        Form::parse(text.into(), BOUNDARY.to_owned(), 1 << 16).await
    }

    #[tokio::test]
    async fn a_form_is_decoded() {
        let found = parse(form(&[("token", "dG9r\r\nZW4="), ("csr", "Y3Ny")])).await.unwrap();
        let expected = Form { token: b"token".to_vec(), csr: b"csr".to_vec(), endorsements: None };
        assert_eq!(found, expected);
        let found = parse(form(&[("csr", ""), ("endorsements", "eA=="), ("token", "")])).await.unwrap();
        assert_eq!(found.endorsements.as_deref(), Some(&b"x"[..]));
    }

    #[tokio::test]
    async fn forms_that_are_none_are_refused() {
        for bad in [
            form(&[]),
            form(&[("token", "dG9r")]),
            form(&[("token", "dG9r"), ("csr", "Y3Ny"), ("csr", "Y3Ny")]),
            form(&[("token", "dG9r"), ("csr", "Y3Ny"), ("other", "")]),
            form(&[("token", "no base64!"), ("csr", "Y3Ny")]),
            "junk".to_owned(),
            form(&[("token", "dG9r"), ("csr", "Y3Ny")]).replace("--boundary--", ""),
        ] {
            let found = parse(bad.clone()).await.map_err(|failure| failure.class());
            assert_eq!(found, Err(FailureClass::Malformed), "{bad}");
        }
        let long = form(&[("token", &"A".repeat(1 << 17)), ("csr", "Y3Ny")]);
        assert!(parse(long).await.is_err());
    }
}

//! Clients of the first era: bare messages in TLS in posts, each post on a connection of its own.

use std::io::{Read as _, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cm_instance::policy::Ciphersuite;
use cm_instance::wire::{Data, FRAME_LEN_MAX, RequestPolicyHash, RequestResult, RequestShutdown, Status};
use prost::Message as _;
use rustls::version::{TLS12, TLS13};

use super::*;

/// Sends a request and returns status line and body of the answer.
async fn exchange(address: std::net::SocketAddr, request: &[u8]) -> (String, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&answer);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap();
            if body.len() >= length.parse::<usize>().unwrap() {
                return (head.lines().next().unwrap().to_owned(), body.to_owned());
            }
        }
        if stream.read_buf(&mut answer).await.unwrap() == 0 {
            return (String::from_utf8_lossy(&answer).into_owned(), String::new());
        }
    }
}

fn post(body: &str) -> Vec<u8> {
    let length = body.len();
    format!("POST /runtime_manager HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n{body}")
        .into_bytes()
}

/// The published client of the first era, as far as it is seen from outside.
struct Poster {
    address: std::net::SocketAddr,
    tls: rustls::ClientConnection,
    session: u32,
}

impl Poster {
    fn new(
        door: &Door,
        identity: Option<&Identity>,
        version: &'static rustls::SupportedProtocolVersion,
    ) -> Self {
        let config = Arc::new(client_config(identity, version));
        let name = ServerName::try_from("ComputeEnclave.dev").unwrap();
        let mut tls = rustls::ClientConnection::new(config, name).unwrap();
        tls.set_buffer_limit(None);
        Self { address: door.address, tls, session: 0 }
    }

    /// Sends a message and collects what comes back as one, which is all that client did.
    async fn ask(&mut self, message: &[u8]) -> io::Result<Vec<u8>> {
        self.tls.writer().write_all(message)?;
        loop {
            let mut records = Vec::new();
            while self.tls.wants_write() && records.len() < 1 << 20 {
                self.tls.write_tls(&mut records)?;
            }
            if records.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let body = format!("{} {}", self.session, STANDARD.encode(&records));
            let (status, body) = exchange(self.address, &post(&body)).await;
            if status != "HTTP/1.1 200 OK" {
                return Err(io::Error::other(format!("{status}: {body}")));
            }
            let mut items = body.split_ascii_whitespace();
            if let Some(session) = items.next() {
                self.session = session.parse().unwrap();
            }
            let mut answer = Vec::new();
            for item in items {
                let record = STANDARD.decode(item).unwrap();
                // One call for each item, as the client of that era does it.
                assert_eq!(self.tls.read_tls(&mut record.as_slice())?, record.len());
                self.tls.process_new_packets().map_err(io::Error::other)?;
                let mut plain = [0; 1 << 15];
                while let Ok(count @ 1..) = self.tls.reader().read(&mut plain) {
                    answer.extend_from_slice(&plain[..count]);
                }
            }
            if !answer.is_empty() {
                return Ok(answer);
            }
        }
    }

    async fn request(&mut self, body: RequestBody) -> io::Result<Response> {
        let answer = self.ask(&Request::from(body).encode_to_vec()).await?;
        Ok(Response::decode(answer.as_slice()).unwrap())
    }
}

fn seed_policy(identities: &[(&Identity, &[(&str, u32)])]) -> FullPolicy {
    FullPolicy { ciphersuite: Ciphersuite::EcdheEcdsaChacha20Poly1305, ..policy(identities) }
}

fn policy_hash() -> RequestBody {
    RequestBody::RequestPolicyHash(RequestPolicyHash {})
}

fn written(name: &str, bytes: Vec<u8>) -> RequestBody {
    RequestBody::WriteFile(Data { file_name: name.to_owned(), data: bytes.into() })
}

fn result() -> RequestBody {
    RequestBody::RequestResult(RequestResult { file_name: "program.wasm".to_owned() })
}

/// Every run copies its input behind what it wrote before.
fn copying() -> Arc<Fake> {
    Fake::new(|fake, _, _, _| {
        let output = [fake.get("output").unwrap_or_default(), fake.get("input-0").unwrap()].concat();
        fake.put("output", &output);
        ExecutionReport::before_start(Outcome::Completed)
    })
}

const ALL: &[(&str, u32)] = &[("input-0", WRITE), ("output", READ)];

#[tokio::test]
async fn a_client_of_the_first_era_writes_gets_its_result_and_shuts_down() {
    for (identity, version) in [
        (Identity::made(&rcgen::PKCS_RSA_SHA256, (2020, 2200)), &TLS12),
        (Identity::of_version_1(), &TLS12),
        (Identity::new(), &TLS12),
        (Identity::of_version_1(), &TLS13),
        (Identity::made(&rcgen::PKCS_ECDSA_P256_SHA256, (2020, 2200)), &TLS13),
    ] {
        let host = copying();
        let policy = seed_policy(&[(&identity, ALL)]);
        let hash = policy.to_text().hash().to_string();
        let door = Door::open(policy, host.clone(), 4);
        let mut client = Poster::new(&door, Some(&identity), version);
        let answer = client.request(policy_hash()).await.unwrap();
        assert_eq!(answer.policy_hash.unwrap().data, hash);
        assert_eq!(
            client.request(written("/input-0", b"a".to_vec())).await.unwrap().status(),
            Status::Success
        );
        // Runs once, and again only after something has changed.
        for _ in 0..2 {
            assert_eq!(client.request(result()).await.unwrap().result.unwrap().data, "a");
        }
        client.request(written("input-0", b"b".to_vec())).await.unwrap();
        // Another session, as each invocation of that client has one.
        let mut other = Poster::new(&door, Some(&identity), version);
        assert_eq!(other.request(result()).await.unwrap().result.unwrap().data, "ab");
        assert_ne!(other.session, client.session);
        let answer = other.request(RequestBody::RequestShutdown(RequestShutdown {})).await.unwrap();
        assert_eq!(answer.status(), Status::Success);
    }
}

#[tokio::test]
async fn messages_with_a_length_are_answered_with_one() {
    let known = Identity::new();
    let door = Door::open(seed_policy(&[(&known, ALL)]), copying(), 4);
    let mut client = Poster::new(&door, Some(&known), &TLS12);
    let request = encode_frame(&Request::from(policy_hash())).unwrap();
    let answer = client.ask(&request).await.unwrap();
    assert_eq!(u64::from_be_bytes(*answer.first_chunk().unwrap()), answer.len() as u64 - 8);
    assert_eq!(Response::decode(&answer[8..]).unwrap().status(), Status::Success);
}

#[tokio::test]
async fn a_long_file_in_one_message_is_stored_piece_by_piece() {
    let known = Identity::new();
    let host = copying();
    let door = Door::open(seed_policy(&[(&known, ALL)]), host.clone(), 4);
    let file: Vec<u8> = (0..FRAME_LEN_MAX + 100_000).map(|at| (at / 7) as u8).collect();
    let mut client = Poster::new(&door, Some(&known), &TLS13);
    assert_eq!(client.request(written("input-0", file.clone())).await.unwrap().status(), Status::Success);
    assert!(host.get("input-0").unwrap() == file);
    let mut client = door.connect(Some(&known)).await.unwrap();
    let message = Request::from(written("input-0", file[1..].to_vec())).encode_to_vec();
    client.stream.write_all(&(message.len() as u64).to_be_bytes()).await.unwrap();
    client.stream.write_all(&message).await.unwrap();
    client.stream.flush().await.unwrap();
    assert_eq!(client.receive().await.unwrap().status(), Status::Success);
    assert!(host.get("input-0").unwrap() == file[1..]);
    // A file that the caller may not write is passed over, and the connection goes on.
    let message = Request::from(written("output", file)).encode_to_vec();
    client.stream.write_all(&(message.len() as u64).to_be_bytes()).await.unwrap();
    client.stream.write_all(&message).await.unwrap();
    client.stream.flush().await.unwrap();
    assert_eq!(client.receive().await.unwrap().status(), Status::InvalidRole);
    assert_eq!(client.ask(policy_hash()).await.unwrap().status(), Status::Success);
    assert_eq!(host.get("output"), None);
}

#[tokio::test]
async fn the_earlier_tls_needs_both_the_transport_and_the_suite_of_its_era() {
    let known = Identity::new();
    let later = policy(&[(&known, ALL)]);
    let door = Door::open(later, copying(), 4);
    assert!(Poster::new(&door, Some(&known), &TLS12).request(policy_hash()).await.is_err());
    assert!(Poster::new(&door, Some(&known), &TLS13).request(policy_hash()).await.is_ok());
    let door = Door::open(seed_policy(&[(&known, ALL)]), copying(), 4);
    assert!(door.connect_with(Some(&known), &TLS12).await.is_err());
    let mut earlier = Poster::new(&door, Some(&known), &TLS12);
    earlier.request(policy_hash()).await.unwrap();
    let suite = earlier.tls.negotiated_cipher_suite().unwrap().suite();
    assert_eq!(suite, rustls::CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256);
}

#[tokio::test]
async fn strangers_get_no_further_in_posts_than_elsewhere() {
    let known = Identity::new();
    let expired = Identity::made(&rcgen::PKCS_ED25519, (2000, 2001));
    let thief = Identity { certificate: known.certificate.clone(), ..Identity::new() };
    let cases = [
        (&known, None, RefusalKind::NoCertificate),
        (&known, Some(Identity::new()), RefusalKind::UnknownCertificate),
        (
            &expired,
            Some(Identity {
                pem: String::new(),
                certificate: expired.certificate.clone(),
                key: expired.key.clone_key(),
            }),
            RefusalKind::CertificateNotValid,
        ),
        (&known, Some(thief), RefusalKind::StolenCertificate),
    ];
    for version in [&TLS12, &TLS13] {
        for (policy_of, caller, kind) in &cases {
            let door = Door::open(seed_policy(&[(policy_of, ALL)]), copying(), 4);
            let answer = Poster::new(&door, caller.as_ref(), version).request(policy_hash()).await;
            assert!(answer.is_err(), "{kind:?}");
            door.refused(*kind).await;
        }
    }
}

#[tokio::test]
async fn a_session_that_is_not_there_is_refused_and_nonsense_ends_one() {
    let known = Identity::new();
    let door = Door::open(seed_policy(&[(&known, ALL)]), copying(), 4);
    let (status, _) = exchange(door.address, &post("77 FgMBAAA=")).await;
    assert_eq!(status, "HTTP/1.1 400 Bad Request");
    door.refused(RefusalKind::UnknownSession).await;
    let mut client = Poster::new(&door, Some(&known), &TLS13);
    client.request(policy_hash()).await.unwrap();
    let (status, _) = exchange(door.address, &post(&format!("{} AAAAAAAA", client.session))).await;
    // TLS says what it thinks of it, and that is the end of the session.
    assert_eq!(status, "HTTP/1.1 200 OK");
    assert!(client.request(policy_hash()).await.is_err());
    for (request, expected) in [
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), "HTTP/1.1 405 Method Not Allowed"),
        (post("x"), "HTTP/1.1 400 Bad Request"),
        (b"NONSENSE\r\n\r\n".to_vec(), "HTTP/1.1 400 Bad Request"),
    ] {
        assert_eq!(exchange(door.address, &request).await.0, expected);
    }
}

#[tokio::test]
async fn sessions_that_are_left_make_room_for_new_ones() {
    let (greedy, modest) = (Identity::new(), Identity::new());
    let policy = seed_policy(&[(&greedy, ALL), (&modest, ALL)]);
    let door = Door::open(policy, copying(), 4);
    let mut modest = Poster::new(&door, Some(&modest), &TLS12);
    modest.request(policy_hash()).await.unwrap();
    let mut sessions = Vec::new();
    for _ in 0..5 {
        let mut session = Poster::new(&door, Some(&greedy), &TLS12);
        session.request(policy_hash()).await.unwrap();
        sessions.push(session);
    }
    for (at, session) in sessions.iter_mut().enumerate() {
        // Two are the share of each.
        assert_eq!(session.request(policy_hash()).await.is_ok(), at >= 3, "{at}");
    }
    modest.request(policy_hash()).await.unwrap();
    // Strangers who never finish have places of their own.
    for _ in 0..2 * HANDSHAKES_MAX {
        let hello = {
            let mut tls = Poster::new(&door, Some(&greedy), &TLS13).tls;
            let mut hello = Vec::new();
            tls.write_tls(&mut hello).unwrap();
            hello
        };
        let (status, _) = exchange(door.address, &post(&format!("0 {}", STANDARD.encode(hello)))).await;
        assert_eq!(status, "HTTP/1.1 200 OK");
    }
    modest.request(policy_hash()).await.unwrap();
}

#[tokio::test]
async fn a_message_that_has_begun_must_end_in_time() {
    let known = Identity::new();
    let door = Door::open(seed_policy(&[(&known, ALL)]), copying(), 4);
    let mut between = Poster::new(&door, Some(&known), &TLS13);
    between.request(policy_hash()).await.unwrap();
    let mut midway = Poster::new(&door, Some(&known), &TLS13);
    midway.request(policy_hash()).await.unwrap();
    let message = Request::from(written("input-0", vec![7; 1000])).encode_to_vec();
    // Half of a message has no answer.
    assert!(midway.ask(&message[..500]).await.is_err());
    assert_eq!(door.server.sessions.count(), 2);
    let late = Instant::now() + TRANSFER_TIMEOUT + Duration::from_secs(1);
    door.server.sessions.forget_stale(late);
    assert_eq!(door.server.sessions.count(), 1, "half of a message is waited for");
    assert_eq!(between.request(policy_hash()).await.unwrap().status(), Status::Success);
}

use std::time::SystemTime;

use cm_crypto::digest::sha256;

use super::*;

const LIFETIME: Duration = Duration::from_secs(3600);

fn now() -> Timestamp {
    SystemTime::now().into()
}

fn acceptor(credentials: &Credentials) -> Acceptor {
    let dir = tempfile::tempdir().unwrap();
    for (name, content) in credentials.agent_files() {
        std::fs::write(dir.path().join(name), content.expose()).unwrap();
    }
    Acceptor::open(dir.path()).unwrap()
}

/// Both ends' outcomes of one connection.
async fn meet(
    agent: &Acceptor,
    node: &Connector,
    measured: Sha256Digest,
    expected: Sha256Digest,
) -> (Result<server::TlsStream<TcpStream>, LinkError>, Result<client::TlsStream<TcpStream>, LinkError>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let welcoming = async {
        let (stream, _) = listener.accept().await.unwrap();
        agent.welcome(stream, measured).await
    };
    let greeting = async { node.greet(TcpStream::connect(address).await.unwrap(), expected).await };
    tokio::join!(welcoming, greeting)
}

#[tokio::test]
async fn the_two_ends_of_one_link_meet_and_pass_bytes() {
    let credentials = Credentials::generate(now(), LIFETIME).unwrap();
    let (agent, node) = (acceptor(&credentials), credentials.connector().unwrap());
    let (inside, outside) = meet(&agent, &node, sha256(b"program"), sha256(b"program")).await;
    let (mut inside, mut outside) = (inside.unwrap(), outside.unwrap());
    outside.write_all(b"launch").await.unwrap();
    let mut read = [0; 6];
    inside.read_exact(&mut read).await.unwrap();
    assert_eq!(&read, b"launch");
}

#[tokio::test]
async fn nobody_else_is_taken_for_either_end() {
    let ours = Credentials::generate(now(), LIFETIME).unwrap();
    // The same names, other keys.
    let theirs = Credentials::generate(now(), LIFETIME).unwrap();
    let program = sha256(b"program");
    let (inside, outside) = meet(&acceptor(&theirs), &ours.connector().unwrap(), program, program).await;
    assert!(inside.is_err() && outside.is_err(), "a stranger was taken for the agent");
    // Its agent's certificate is right, its own is not.
    let mixed = Credentials { node: theirs.node, agent: ours.agent.clone() };
    let (inside, outside) = meet(&acceptor(&ours), &mixed.connector().unwrap(), program, program).await;
    assert!(inside.is_err() && outside.is_err(), "a stranger was taken for the node");
}

#[tokio::test]
async fn another_program_is_not_spoken_to() {
    let credentials = Credentials::generate(now(), LIFETIME).unwrap();
    let (agent, node) = (acceptor(&credentials), credentials.connector().unwrap());
    let (_, outside) = meet(&agent, &node, sha256(b"another program"), sha256(b"program")).await;
    assert!(
        matches!(outside, Err(LinkError::Measurement { found, .. }) if found == sha256(b"another program"))
    );
}

#[tokio::test]
async fn credentials_end() {
    let past = Timestamp::from(SystemTime::now() - Duration::from_secs(7200));
    let credentials = Credentials::generate(past, LIFETIME).unwrap();
    let (agent, node) = (acceptor(&credentials), credentials.connector().unwrap());
    let (inside, outside) = meet(&agent, &node, sha256(b"program"), sha256(b"program")).await;
    assert!(inside.is_err() && outside.is_err(), "expired certificates were taken");
}

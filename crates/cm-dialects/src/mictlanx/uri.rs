//! Addresses of routers and peers: `mictlanx://ID@HOST:PORT,ID@HOST:PORT/?protocol=http&api_version=4&http2=0`.
//!
//! Ids may be left out, and a slash may follow each host. The port is behind the last colon and must be there. A query may follow
//! the list with a slash or without; what it says holds for all of the list. The protocol is `https` for routers and `http` for
//! peers unless told.

use std::fmt;
use std::str::FromStr;

/// What an address begins with.
pub const SCHEME: &str = "mictlanx://";
/// Longest address, in bytes.
pub const URI_BYTES_MAX: usize = 8192;
/// The version of the interface unless told.
const API_VERSION: u32 = 4;

/// Which kind of nodes an address names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Routers, which are reached by `https` unless told.
    Router,
    /// Peers, which are reached by `http` unless told.
    Peer,
}

/// How nodes are reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// In the clear.
    Http,
    /// By TLS.
    Https,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Http => "http",
            Protocol::Https => "https",
        })
    }
}

/// One node of an address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Node {
    /// What it is called; empty if the address does not say.
    pub id: String,
    /// Its host: a name, an address, or an address of IPv6 in brackets. A path may follow, as behind a reverse proxy.
    pub host: String,
    /// Its port, not 0.
    pub port: u16,
}

/// Nodes, and how all of them are reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uri {
    /// At least one.
    nodes: Vec<Node>,
    /// How they are reached.
    pub protocol: Protocol,
    /// The version of their interface.
    pub api_version: u32,
    /// Whether HTTP/2 is spoken to them from the beginning.
    pub http2: bool,
}

/// Why a text is no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUri {
    /// It does not begin with [`SCHEME`].
    #[error("an address begins with `{SCHEME}`")]
    Scheme,
    /// It is longer than [`URI_BYTES_MAX`].
    #[error("an address has at most {URI_BYTES_MAX} bytes")]
    TooLong,
    /// It names nobody, or leaves out somebody between two commas.
    #[error("an address names at least one node, and nothing is empty between commas")]
    Empty,
    /// A node without a port.
    #[error("`{0}` has no port; write ID@HOST:PORT")]
    NoPort(String),
    /// A port that is none.
    #[error("`{0}` has no port from 1 to 65535")]
    Port(String),
    /// A node without a host.
    #[error("`{0}` has no host; write ID@HOST:PORT")]
    NoHost(String),
    /// A character that would mean something else.
    #[error("`{0}` has a character that ids and hosts cannot have")]
    Character(String),
    /// A protocol that is not known.
    #[error("`{0}` is no protocol; write http or https")]
    Protocol(String),
    /// A version that is no number.
    #[error("`{0}` is no version of the interface; write a number")]
    Version(String),
}

impl Uri {
    /// An address of these nodes, by plain HTTP and the current version.
    ///
    /// # Errors
    /// [`InvalidUri::Empty`] without a node, and what is wrong with one.
    pub fn new(nodes: Vec<Node>) -> Result<Self, InvalidUri> {
        if nodes.is_empty() {
            return Err(InvalidUri::Empty);
        }
        nodes.iter().try_for_each(Node::check)?;
        Ok(Self { nodes, protocol: Protocol::Http, api_version: API_VERSION, http2: false })
    }

    /// Reads an address.
    ///
    /// # Errors
    /// Whatever is wrong with it.
    pub fn parse(text: &str, role: Role) -> Result<Self, InvalidUri> {
        let text = text.trim();
        if text.len() > URI_BYTES_MAX {
            return Err(InvalidUri::TooLong);
        }
        let rest = text.strip_prefix(SCHEME).ok_or(InvalidUri::Scheme)?;
        let (list, query) = rest.split_once('?').unwrap_or((rest, ""));
        let list = list.strip_suffix('/').unwrap_or(list);
        let nodes: Vec<Node> = list.split(',').map(str::parse).collect::<Result<_, _>>()?;
        let mut uri = Self::new(nodes)?;
        uri.protocol = match role {
            Role::Router => Protocol::Https,
            Role::Peer => Protocol::Http,
        };
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            match name {
                "protocol" => uri.protocol = protocol(value)?,
                "api_version" => {
                    uri.api_version = value.parse().map_err(|_| InvalidUri::Version(value.to_owned()))?;
                }
                "http2" => {
                    uri.http2 = matches!(value.to_ascii_lowercase().as_str(), "1" | "true" | "yes" | "on");
                }
                _ => {}
            }
        }
        Ok(uri)
    }

    /// The nodes, at least one.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Where a node is: without its port if that goes without saying.
    pub fn base_url(&self, node: &Node) -> String {
        match self.protocol {
            Protocol::Https => format!("https://{}", node.host),
            Protocol::Http => {
                // A path stands behind the port.
                let (host, path) = node.host.split_once('/').unwrap_or((&node.host, ""));
                let slash = if path.is_empty() { "" } else { "/" };
                format!("http://{host}:{}{slash}{path}", node.port)
            }
        }
    }
}

fn protocol(text: &str) -> Result<Protocol, InvalidUri> {
    match text {
        "http" => Ok(Protocol::Http),
        "https" => Ok(Protocol::Https),
        other => Err(InvalidUri::Protocol(other.to_owned())),
    }
}

impl Node {
    fn check(&self) -> Result<(), InvalidUri> {
        let said = || format!("{}@{}", self.id, self.host);
        if self.host.is_empty() || self.host.starts_with('/') {
            return Err(InvalidUri::NoHost(said()));
        }
        if self.port == 0 {
            return Err(InvalidUri::Port(said()));
        }
        let is_foreign = |c: char| c.is_control() || c.is_whitespace() || matches!(c, ',' | '?' | '@');
        match self.id.chars().any(|c| is_foreign(c) || c == '/') || self.host.chars().any(is_foreign) {
            true => Err(InvalidUri::Character(said())),
            false => Ok(()),
        }
    }
}

impl FromStr for Node {
    type Err = InvalidUri;

    fn from_str(text: &str) -> Result<Self, InvalidUri> {
        let text = text.trim();
        let text = text.strip_suffix('/').unwrap_or(text);
        if text.is_empty() {
            return Err(InvalidUri::Empty);
        }
        let (id, place) = text.split_once('@').unwrap_or(("", text));
        let (host, port) = place.rsplit_once(':').ok_or_else(|| InvalidUri::NoPort(text.to_owned()))?;
        let is_number = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        let port = is_number.then(|| port.parse().ok()).flatten();
        let port = port.ok_or_else(|| InvalidUri::Port(text.to_owned()))?;
        let node = Self { id: id.to_owned(), host: host.to_owned(), port };
        node.check()?;
        Ok(node)
    }
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(SCHEME)?;
        for (position, node) in self.nodes.iter().enumerate() {
            let comma = if position == 0 { "" } else { "," };
            let at = if node.id.is_empty() { "" } else { "@" };
            write!(f, "{comma}{}{at}{}:{}", node.id, node.host, node.port)?;
        }
        let Self { protocol, api_version, http2, .. } = self;
        write!(f, "/?protocol={protocol}&api_version={api_version}&http2={}", u8::from(*http2))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn node(id: &str, host: &str, port: u16) -> Node {
        Node { id: id.to_owned(), host: host.to_owned(), port }
    }

    #[test]
    fn addresses_are_read_as_they_are_written() {
        let uri =
            Uri::parse("mictlanx://mictlanx-router-0@localhost:60666/?protocol=http", Role::Router).unwrap();
        assert_eq!(uri.nodes(), [node("mictlanx-router-0", "localhost", 60666)]);
        assert_eq!((uri.protocol, uri.api_version, uri.http2), (Protocol::Http, 4, false));
        assert_eq!(uri.base_url(&uri.nodes()[0]), "http://localhost:60666");
        let text = "mictlanx://r0@a.example:1,b:2/?api_version=5&http2=Yes&other=1";
        let uri = Uri::parse(text, Role::Router).unwrap();
        assert_eq!(uri.nodes(), [node("r0", "a.example", 1), node("", "b", 2)]);
        assert_eq!((uri.protocol, uri.api_version, uri.http2), (Protocol::Https, 5, true));
        assert_eq!(uri.base_url(&uri.nodes()[0]), "https://a.example");
        assert_eq!(uri.to_string(), "mictlanx://r0@a.example:1,b:2/?protocol=https&api_version=5&http2=1");
        let peer = Uri::parse("mictlanx://p@[::1]:7000", Role::Peer).unwrap();
        assert_eq!(peer.base_url(&peer.nodes()[0]), "http://[::1]:7000");
        let proxied = Uri::parse("mictlanx://p@host/under/here:8080", Role::Peer).unwrap();
        assert_eq!(proxied.base_url(&proxied.nodes()[0]), "http://host:8080/under/here");
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            "http://a:1",
            "mictlanx://",
            "mictlanx:///",
            "mictlanx://a",
            "mictlanx://a:",
            "mictlanx://a:0",
            "mictlanx://a:65536",
            "mictlanx://a:+1",
            "mictlanx://a:x",
            "mictlanx://:1",
            "mictlanx://a:1,",
            "mictlanx://a:1,,b:2",
            "mictlanx://x@y@a:1",
            "mictlanx://a:1?protocol=ftp",
            "mictlanx://a:1?api_version=four",
        ] {
            assert!(Uri::parse(text, Role::Peer).is_err(), "{text}");
        }
    }

    prop_compose! {
        fn nodes()(id in "[a-z0-9-]{0,12}", host in "[a-z0-9.-]{1,20}(/[a-z]{1,5})?", port in 1u16..) -> Node {
            node(&id, &host, port)
        }
    }

    proptest! {
        #[test]
        fn what_is_built_is_read_back(
            nodes in prop::collection::vec(nodes(), 1..5), https: bool, version in 0u32..100, http2: bool
        ) {
            let mut uri = Uri::new(nodes).unwrap();
            uri.protocol = if https { Protocol::Https } else { Protocol::Http };
            (uri.api_version, uri.http2) = (version, http2);
            for role in [Role::Router, Role::Peer] {
                prop_assert_eq!(Uri::parse(&uri.to_string(), role), Ok(uri.clone()));
            }
        }

        #[test]
        fn no_text_is_too_strange(text in "(mictlanx://)?.{0,60}") {
            if let Ok(uri) = Uri::parse(&text, Role::Router) {
                prop_assert_eq!(Uri::parse(&uri.to_string(), Role::Router), Ok(uri));
            }
        }
    }
}

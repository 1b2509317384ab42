//! A plain HTTP/1.1 client over a socket: what it sends is what the test wrote, well-formed or not.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

use crate::Serving;

/// Longer than anything takes: only what never answers fails.
const PATIENCE: Duration = Duration::from_mins(1);

/// An answer of a server.
#[derive(Clone)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let body = String::from_utf8_lossy(&self.body);
        write!(f, "{} {:?} {body}", self.status, self.headers)
    }
}

impl Answer {
    /// The first value of a header, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    pub fn json(&self) -> Value {
        let text = String::from_utf8_lossy(&self.body);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {} {text}", self.status))
    }

    /// The stable code of a problem.
    ///
    /// # Panics
    /// When it is no problem.
    pub fn code(&self) -> String {
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json"),
            "{self:?}"
        );
        self.json()["code"].as_str().expect("a code").to_owned()
    }
}

/// A caller of a server.
#[derive(Debug, Clone)]
pub struct Caller {
    address: String,
    key: Option<String>,
}

impl Caller {
    /// One with a key, or without.
    ///
    /// # Panics
    /// When the server's address is none.
    pub fn new(serving: &Serving, key: Option<&str>) -> Self {
        Self::at(&serving.url, key)
    }

    /// One of whoever serves at a base address.
    ///
    /// # Panics
    /// When it is no plain address.
    pub fn at(url: &str, key: Option<&str>) -> Self {
        let address = url.strip_prefix("http://").expect("a plain address");
        Self {
            address: address.to_owned(),
            key: key.map(|key| key.trim().to_owned()),
        }
    }

    /// As [`Caller::send`], where the server may be gone.
    ///
    /// # Errors
    /// When it cannot be reached, or ends before it has answered.
    ///
    /// # Panics
    /// When the answer is no HTTP.
    pub fn try_send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> std::io::Result<Answer> {
        let mut all = vec![("content-type", "application/json")];
        all.extend(headers);
        let body = body.to_string();
        let head = self.head(method, path, &all, Some(body.len()), "close");
        let mut stream = TcpStream::connect(&self.address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(format!("{head}{body}").as_bytes())?;
        let mut stream = BufReader::new(stream);
        if stream.fill_buf()?.is_empty() {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        Ok(read(&mut stream))
    }

    /// Reads something.
    pub fn get(&self, path: &str) -> Answer {
        self.call("GET", path, &[], b"")
    }

    /// Sends JSON.
    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.send("POST", path, &[], body)
    }

    /// Sends JSON with further headers.
    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
        let mut all = vec![("content-type", "application/json")];
        all.extend(headers);
        self.call(method, path, &all, body.to_string().as_bytes())
    }

    /// One call on a connection of its own.
    ///
    /// # Panics
    /// When the server cannot be reached or does not answer.
    pub fn call(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut stream = self.open(method, path, headers, Some(body.len()));
        // A server that refuses early may close before it has read everything.
        let _sent = stream.get_mut().write_all(body);
        read(&mut stream)
    }

    /// A connection with the head of a call sent.
    ///
    /// # Panics
    /// When the server cannot be reached.
    pub fn open(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        length: Option<usize>,
    ) -> BufReader<TcpStream> {
        let head = self.head(method, path, headers, length, "close");
        let mut stream = self.connect();
        stream.write_all(head.as_bytes()).expect("sent");
        BufReader::new(stream)
    }

    fn head(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        length: Option<usize>,
        connection: &str,
    ) -> String {
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: {connection}\r\n",
            self.address
        );
        let mut line = |name: &str, value: &str| write!(head, "{name}: {value}\r\n").expect("a string");
        if let Some(key) = &self.key {
            line("authorization", &format!("Bearer {key}"));
        }
        if let Some(length) = length {
            line("content-length", &length.to_string());
        }
        for (name, value) in headers {
            line(name, value);
        }
        head.push_str("\r\n");
        head
    }

    /// A connection on which nothing was sent.
    ///
    /// # Panics
    /// When the server cannot be reached.
    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).expect("the server can be reached");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        stream
    }
}

/// A connection that is kept for the next call, of whichever caller.
#[derive(Debug, Default)]
pub struct Kept(Option<BufReader<TcpStream>>);

impl Kept {
    /// One call. Of a stream only the head is read; the connection is given up then.
    ///
    /// # Panics
    /// When the server cannot be reached or does not answer.
    pub fn call(
        &mut self,
        caller: &Caller,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let mut sent = caller
            .head(method, path, headers, Some(body.len()), "keep-alive")
            .into_bytes();
        sent.extend(body);
        let mut stream = self.0.take().unwrap_or_else(|| BufReader::new(caller.connect()));
        stream.get_mut().write_all(&sent).expect("sent");
        let (status, headers) = head(&mut stream);
        let mut answer = Answer {
            status,
            headers,
            body: Vec::new(),
        };
        let streams = ["text/event-stream", "application/x-ndjson"];
        if answer
            .header("content-type")
            .is_some_and(|media| streams.contains(&media))
        {
            return answer;
        }
        fill(&mut answer, &mut stream);
        if answer.header("connection") != Some("close") {
            self.0 = Some(stream);
        }
        answer
    }
}

/// Reads an answer to its end.
///
/// # Panics
/// When it is none.
pub fn read(stream: &mut BufReader<TcpStream>) -> Answer {
    let (status, headers) = head(stream);
    let mut answer = Answer {
        status,
        headers,
        body: Vec::new(),
    };
    fill(&mut answer, stream);
    answer
}

/// Reads the body.
fn fill(answer: &mut Answer, stream: &mut BufReader<TcpStream>) {
    if answer.header("transfer-encoding") == Some("chunked") {
        while let Some(chunk) = chunk(stream) {
            answer.body.extend(chunk);
        }
    } else {
        let length = answer
            .header("content-length")
            .map_or(0, |text| text.parse().expect("a length"));
        answer.body = vec![0; length];
        stream.read_exact(&mut answer.body).expect("the whole body");
    }
}

/// Reads the status and the headers.
///
/// # Panics
/// When there are none.
pub fn head(stream: &mut BufReader<TcpStream>) -> (u16, Vec<(String, String)>) {
    let status = line(stream);
    let status = status.split(' ').nth(1).and_then(|text| text.parse().ok());
    let mut headers = Vec::new();
    loop {
        let line = line(stream);
        if line.is_empty() {
            return (status.expect("a status"), headers);
        }
        let (name, value) = line.split_once(':').expect("a header");
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
}

/// The next piece of a chunked body; none at its end.
///
/// # Panics
/// When the body is broken off.
pub fn chunk(stream: &mut BufReader<TcpStream>) -> Option<Vec<u8>> {
    let size = usize::from_str_radix(&line(stream), 16).expect("a size");
    let mut bytes = vec![0; size];
    stream.read_exact(&mut bytes).expect("a chunk");
    assert_eq!(line(stream), "", "the end of a chunk");
    (size > 0).then_some(bytes)
}

fn line(stream: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    stream.read_line(&mut line).expect("a line");
    line.trim_end_matches("\r\n").to_owned()
}

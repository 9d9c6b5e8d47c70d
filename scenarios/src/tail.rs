//! A client of Loki's `tail`, by hand: a WebSocket handshake and frames, no more.

use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// One open tail.
pub struct Tail {
    stream: TcpStream,
    have: Vec<u8>,
}

/// A frame's kind, by number.
const TEXT: u8 = 1;
const PING: u8 = 9;
const PONG: u8 = 10;

impl Tail {
    /// Shakes hands; the answer's head when it is not 101.
    ///
    /// # Errors
    /// The head of an answer that is no upgrade, or why there is none.
    pub fn open(port: u16, path: &str, headers: &[(&str, &str)]) -> Result<Tail, String> {
        let mut stream =
            TcpStream::connect(("127.0.0.1", port)).map_err(|error| error.to_string())?;
        let patience = Some(Duration::from_secs(60));
        stream.set_read_timeout(patience).map_err(|error| error.to_string())?;
        let mut head = format!(
            "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
             Upgrade: websocket\r\n"
        );
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        stream.write_all(head.as_bytes()).map_err(|error| error.to_string())?;
        let mut tail = Tail { stream, have: Vec::new() };
        loop {
            if let Some(end) = tail.have.windows(4).position(|four| four == b"\r\n\r\n") {
                let answer = String::from_utf8_lossy(&tail.have[..end]).into_owned();
                tail.have.drain(..end + 4);
                let is_open = answer.starts_with("HTTP/1.1 101 ")
                    // What RFC 6455 answers to its own example key.
                    && answer.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
                return if is_open { Ok(tail) } else { Err(answer) };
            }
            tail.fill()?;
        }
    }

    fn fill(&mut self) -> Result<(), String> {
        let mut some = [0; 64 * 1024];
        match self.stream.read(&mut some) {
            Ok(0) => Err("the connection ended".to_owned()),
            Ok(bytes) => {
                self.have.extend_from_slice(&some[..bytes]);
                Ok(())
            }
            Err(error) => Err(error.to_string()),
        }
    }

    /// The bytes of the next text frame; pings are answered.
    ///
    /// # Errors
    /// The connection ended or was silent for a minute.
    pub fn next_text(&mut self) -> Result<Vec<u8>, String> {
        loop {
            let Some((kind, payload)) = self.frame() else {
                self.fill()?;
                continue;
            };
            match kind {
                TEXT => return Ok(payload),
                PING => self.send(PONG, &payload)?,
                _ => {}
            }
        }
    }

    /// The next text frame as JSON.
    ///
    /// # Errors
    /// Like [`Tail::next_text`], or the frame is no JSON.
    pub fn next_json(&mut self) -> Result<Value, String> {
        serde_json::from_slice(&self.next_text()?).map_err(|error| error.to_string())
    }

    /// A whole frame that is here, taken off.
    fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let have = &self.have;
        let (head, length) = match *have.get(1)? {
            126 => (4, usize::from(u16::from_be_bytes(have.get(2..4)?.try_into().ok()?))),
            127 => {
                let length = u64::from_be_bytes(have.get(2..10)?.try_into().ok()?);
                (10, usize::try_from(length).ok()?)
            }
            short => (2, usize::from(short)),
        };
        let payload = have.get(head..head + length)?.to_vec();
        let kind = have[0] & 15;
        self.have.drain(..head + length);
        Some((kind, payload))
    }

    /// Sends a short frame, masked with zeros, as a client's must be.
    fn send(&mut self, kind: u8, payload: &[u8]) -> Result<(), String> {
        let length = u8::try_from(payload.len()).ok().filter(|length| *length < 126);
        let length = length.ok_or("only short frames are sent")?;
        let mut frame = vec![0x80 | kind, 0x80 | length, 0, 0, 0, 0];
        frame.extend_from_slice(payload);
        self.stream.write_all(&frame).map_err(|error| error.to_string())
    }
}

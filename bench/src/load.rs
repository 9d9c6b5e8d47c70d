//! The load generator: remote write from a fleet that does not exist, against any address.
//!
//! The labels of every series are encoded once; a request is those bytes with new values and times
//! copied between them, then snappy or zstd, so that the generator is not what is measured.

use crate::shape::{Motion, Shape, series};
use anyhow::{Context, Result, bail};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::ops::Range;
use std::time::Duration;
use vigie_codec::remote_write::{WireSeries, encode_v1};

/// What is sent.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// How many series.
    pub series: usize,
    /// In which shape.
    pub shape: Shape,
    /// The instant of step 0, in milliseconds.
    pub start_ms: i64,
    /// Between two steps.
    pub step_ms: i64,
    /// Every series has an instant of its own inside the step.
    pub own_stamps: bool,
    /// One of so many instances is replaced by a new one at each step; 0 for none.
    pub churn_every: usize,
    /// Samples in a request.
    pub samples_per_request: usize,
    /// zstd instead of snappy.
    pub zstd: bool,
    /// All series are of one instance, told apart by a label of their own.
    pub one_target: bool,
    /// The number of the first instance, so that two fleets share none.
    pub first_instance: usize,
}

impl Default for Load {
    fn default() -> Load {
        Load {
            series: 250_000,
            shape: Shape::Node,
            start_ms: 0,
            step_ms: 15_000,
            own_stamps: false,
            churn_every: 0,
            samples_per_request: 2_000,
            zstd: false,
            one_target: false,
            first_instance: 0,
        }
    }
}

/// A fleet with its labels encoded.
pub struct Fleet {
    load: Load,
    motions: Vec<Motion>,
    /// Per series: where its encoded labels end.
    ends: Vec<usize>,
    labels: Vec<u8>,
}

impl Fleet {
    /// Encodes the labels of all series.
    pub fn new(load: Load) -> Fleet {
        let shape = series(load.shape);
        let mut fleet = Fleet {
            load,
            motions: shape.iter().map(|series| series.motion).collect(),
            ends: Vec::with_capacity(load.series),
            labels: Vec::new(),
        };
        for at in 0..load.series {
            let (instance, member) = (at / shape.len(), at % shape.len());
            let mut labels = shape[member].labels.clone();
            let host = if load.one_target { 0 } else { instance };
            labels.push((
                "instance".to_owned(),
                format!("host-{:06}.internal.example.org:9100", load.first_instance + host),
            ));
            if load.one_target {
                labels.push(("shard".to_owned(), format!("{instance:06}")));
            }
            labels.push(("job".to_owned(), "node".to_owned()));
            labels.sort();
            let encoded = encode_v1(&[WireSeries { labels, ..WireSeries::default() }]);
            // The message's tag and length stand in front.
            let head = 1 + encoded[1..].iter().take_while(|byte| **byte >= 0x80).count() + 1;
            fleet.labels.extend_from_slice(&encoded[head..]);
            fleet.ends.push(fleet.labels.len());
        }
        fleet
    }

    /// How many series were replaced in so many steps.
    pub fn replaced(&self, steps: u64) -> usize {
        let (members, every) = (self.motions.len(), self.load.churn_every);
        let age =
            |step: u64, instance: usize| (step as usize + instance).checked_div(every).unwrap_or(0);
        let instances = 0..self.load.series.div_ceil(members);
        instances.map(|at| (age(steps - 1, at) - age(0, at)) * members).sum()
    }

    /// Sends one step over a connection and returns how many samples that were.
    pub fn send(&self, step: u64, door: &mut Door) -> Result<usize> {
        let mut body = Vec::new();
        let (mut sent, mut in_body) = (0, 0);
        for at in 0..self.load.series {
            self.put(at, step, &mut body);
            in_body += 1;
            if in_body == self.load.samples_per_request || at + 1 == self.load.series {
                door.write(&body, self.load.zstd)?;
                sent += in_body;
                in_body = 0;
                body.clear();
            }
        }
        Ok(sent)
    }

    /// The bodies of one step, packed, each with its number of samples.
    pub fn packed(&self, step: u64) -> Result<Vec<(Vec<u8>, usize)>> {
        let mut bodies = Vec::new();
        let all: Vec<usize> = (0..self.load.series).collect();
        for members in all.chunks(self.load.samples_per_request) {
            let mut body = Vec::new();
            members.iter().for_each(|at| self.put(*at, step, &mut body));
            bodies.push((pack(&body, self.load.zstd)?, members.len()));
        }
        Ok(bodies)
    }

    /// Sends many steps, as many in a body as fit: for fleets of few series.
    pub fn send_steps(&self, steps: Range<u64>, door: &mut Door) -> Result<()> {
        let (mut body, mut in_body) = (Vec::new(), 0);
        for step in steps.clone() {
            for at in 0..self.load.series {
                self.put(at, step, &mut body);
            }
            in_body += self.load.series;
            if in_body >= self.load.samples_per_request || step + 1 == steps.end {
                door.write(&body, self.load.zstd)?;
                in_body = 0;
                body.clear();
            }
        }
        Ok(())
    }

    fn put(&self, at: usize, step: u64, body: &mut Vec<u8>) {
        let start = if at == 0 { 0 } else { self.ends[at - 1] };
        let labels = &self.labels[start..self.ends[at]];
        let (instance, member) = (at / self.motions.len(), at % self.motions.len());
        let own_ms = if self.load.own_stamps { (at as i64 * 7919) % self.load.step_ms } else { 0 };
        let ts_ms = self.load.start_ms + step as i64 * self.load.step_ms + own_ms;
        let value = self.motions[member].value(instance as u64, member as u64, step);
        // Sample { 1: double, 2: varint } in field 2 of the series.
        let mut sample = [0u8; 24];
        sample[0] = 0x09;
        sample[1..9].copy_from_slice(&value.to_bits().to_le_bytes());
        sample[9] = 0x10;
        let len = 10 + put_varint(&mut sample[10..], ts_ms as u64);
        // A replaced instance carries one label more.
        let age = (step as usize + instance).checked_div(self.load.churn_every).unwrap_or(0);
        let mut churn = Vec::new();
        if age > 0 {
            let value = format!("g{age}");
            churn.extend_from_slice(&[0x0a, (value.len() + 9) as u8, 0x0a, 0x05]);
            // It sorts behind all others.
            churn.extend_from_slice(b"z_age");
            churn.extend_from_slice(&[0x12, value.len() as u8]);
            churn.extend_from_slice(value.as_bytes());
        }
        body.push(0x0a);
        let mut size = [0u8; 10];
        let total = labels.len() + churn.len() + 2 + len;
        let size_len = put_varint(&mut size, total as u64);
        body.extend_from_slice(&size[..size_len]);
        body.extend_from_slice(labels);
        body.extend_from_slice(&churn);
        body.extend_from_slice(&[0x12, len as u8]);
        body.extend_from_slice(&sample[..len]);
    }
}

fn put_varint(out: &mut [u8], mut value: u64) -> usize {
    let mut len = 0;
    while value >= 0x80 {
        out[len] = value as u8 | 0x80;
        value >>= 7;
        len += 1;
    }
    out[len] = value as u8;
    len + 1
}

/// A connection to an address that takes bodies.
pub struct Post {
    stream: TcpStream,
    host: String,
    path: String,
    answer: Vec<u8>,
}

/// A connection to a remote-write address.
pub struct Door(Post);

impl Door {
    /// Connects to `http://host:port/path`.
    pub fn open(url: &str) -> Result<Door> {
        Post::open(url).map(Door)
    }

    /// Packs and sends one body and waits for a 2xx.
    pub fn write(&mut self, body: &[u8], zstd: bool) -> Result<()> {
        self.write_packed(&pack(body, zstd)?, zstd)
    }

    /// Sends one packed body and waits for a 2xx.
    pub fn write_packed(&mut self, packed: &[u8], zstd: bool) -> Result<()> {
        let encoding = if zstd { "zstd" } else { "snappy" };
        self.0.send("application/x-protobuf", Some(encoding), packed)
    }
}

impl Post {
    /// Connects to `http://host:port/path`.
    pub fn open(url: &str) -> Result<Post> {
        let rest = url.strip_prefix("http://").context("the address starts with http://")?;
        let (host, path) = rest.split_once('/').unwrap_or((rest, "api/v1/write"));
        let stream = TcpStream::connect(host).with_context(|| format!("cannot reach {host}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(120)))?;
        Ok(Post { stream, host: host.to_owned(), path: format!("/{path}"), answer: Vec::new() })
    }

    /// Sends one body as it is and waits for a 2xx.
    pub fn send(&mut self, kind: &str, encoding: Option<&str>, body: &[u8]) -> Result<()> {
        let encoding = encoding.map_or_else(String::new, |encoding| {
            format!("Content-Encoding: {encoding}\r\nX-Prometheus-Remote-Write-Version: 0.1.0\r\n")
        });
        let head = format!(
            "POST {} HTTP/1.1\r\nHost: {}\r\nContent-Type: {kind}\r\n{encoding}Content-Length: {}\r\n\r\n",
            self.path,
            self.host,
            body.len()
        );
        self.stream.write_all(head.as_bytes())?;
        self.stream.write_all(body)?;
        self.read_answer()
    }

    fn read_answer(&mut self) -> Result<()> {
        self.answer.clear();
        let mut buffer = [0u8; 4096];
        loop {
            let count = self.stream.read(&mut buffer)?;
            if count == 0 {
                bail!("the connection was closed: {}", String::from_utf8_lossy(&self.answer));
            }
            self.answer.extend_from_slice(&buffer[..count]);
            let Some(end) = find(&self.answer, b"\r\n\r\n") else { continue };
            let head = String::from_utf8_lossy(&self.answer[..end]).to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
            let length: usize = length.map_or(Ok(0), |text| text.trim().parse())?;
            if self.answer.len() < end + 4 + length {
                continue;
            }
            if head.split(' ').nth(1).is_some_and(|status| status.starts_with('2')) {
                return Ok(());
            }
            bail!("{}", String::from_utf8_lossy(&self.answer));
        }
    }
}

fn pack(body: &[u8], zstd: bool) -> Result<Vec<u8>> {
    if zstd {
        return Ok(zstd::bulk::compress(body, 1)?);
    }
    Ok(vigie_codec::compression::pack_snappy(body)?)
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

//! Bodies for the tests, written field by field: the other half of `proto`, on purpose another one.

use crate::proto::{put_bytes, put_double, put_number, put_signed, put_varint};

/// A message that is being written.
#[derive(Clone, Default)]
pub(super) struct Message(pub Vec<u8>);

impl Message {
    pub(super) fn text(mut self, field: u64, text: &str) -> Message {
        put_bytes(&mut self.0, field, text.as_bytes());
        self
    }
    pub(super) fn bytes(mut self, field: u64, bytes: &[u8]) -> Message {
        put_bytes(&mut self.0, field, bytes);
        self
    }
    pub(super) fn with(mut self, field: u64, inner: Message) -> Message {
        put_bytes(&mut self.0, field, &inner.0);
        self
    }
    pub(super) fn number(mut self, field: u64, number: u64) -> Message {
        put_number(&mut self.0, field, number);
        self
    }
    pub(super) fn signed(mut self, field: u64, number: i64) -> Message {
        put_signed(&mut self.0, field, number);
        self
    }
    pub(super) fn double(mut self, field: u64, number: f64) -> Message {
        put_double(&mut self.0, field, number);
        self
    }
    pub(super) fn fixed(self, field: u64, number: u64) -> Message {
        self.double(field, f64::from_bits(number))
    }
    pub(super) fn fixeds(self, field: u64, numbers: &[u64]) -> Message {
        let packed: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        self.bytes(field, &packed)
    }
    pub(super) fn doubles(self, field: u64, numbers: &[f64]) -> Message {
        let bits: Vec<u64> = numbers.iter().map(|number| number.to_bits()).collect();
        self.fixeds(field, &bits)
    }
    pub(super) fn varints(self, field: u64, numbers: &[u64]) -> Message {
        let mut packed = Vec::new();
        numbers.iter().for_each(|number| put_varint(&mut packed, *number));
        self.bytes(field, &packed)
    }
    /// Attributes that are texts.
    pub(super) fn attributes(mut self, field: u64, pairs: &[(&str, &str)]) -> Message {
        for (name, value) in pairs {
            let value = Message::default().text(1, value);
            self = self.with(field, Message::default().text(1, name).with(2, value));
        }
        self
    }
}

/// A request with one resource and one scope.
pub(super) fn request(resource: &[(&str, &str)], metrics: Vec<Message>) -> Vec<u8> {
    let scope = Message::default().text(1, "lib").text(2, "1.2").attributes(3, &[("k", "v")]);
    let mut scopes = Message::default().with(1, scope).text(3, "http://schema");
    for metric in metrics {
        scopes = scopes.with(2, metric);
    }
    let resource = Message::default().attributes(1, resource);
    Message::default().with(1, Message::default().with(1, resource).with(2, scopes)).0
}

/// A metric with its data in `field`.
pub(super) fn metric(name: &str, unit: &str, field: u64, data: Message) -> Message {
    Message::default().text(1, name).text(2, "Some help.").text(3, unit).with(field, data)
}

/// A point of a gauge or a sum.
pub(super) fn number_point(time_ms: u64, value: f64, attributes: &[(&str, &str)]) -> Message {
    Message::default().fixed(3, time_ms * 1_000_000).double(4, value).attributes(7, attributes)
}

/// A sum that counts from its start and only rises.
pub(super) fn counter(points: Vec<Message>) -> Message {
    let points = points.into_iter().fold(Message::default(), |all, one| all.with(1, one));
    points.number(2, 2).number(3, 1)
}

//! Integers as byte planes: the lowest byte of every value, then the next, as many as the widest
//! difference from the least value needs. A plane of one repeated byte takes two bytes.
//!
//! ```text
//! zigzag base, u8 planes, per plane: u8 0, u8 the byte everywhere; or u8 1, frame
//! value = base + (plane 0 | plane 1 << 8 | …), wrapping
//! ```

use super::frames::{Frame, FrameWriter};
use vigie_disk::wire::{Bad, Bytes, put_int};

const SAME: u8 = 0;
const FRAME: u8 = 1;
const PLANES_MAX: usize = 8;

/// How many planes the values need.
pub(crate) fn width(values: &[i64]) -> usize {
    let (Some(&min), Some(&max)) = (values.iter().min(), values.iter().max()) else { return 0 };
    planes_for(max.wrapping_sub(min) as u64)
}

fn planes_for(widest: u64) -> usize {
    (64 - widest.leading_zeros() as usize).div_ceil(8)
}

/// Writes values over their least, or over `base`, which none is below.
pub(crate) fn write(
    values: &[i64],
    base: Option<i64>,
    frames: &mut FrameWriter,
    head: &mut Vec<u8>,
) -> std::io::Result<()> {
    let base = base.or_else(|| values.iter().min().copied()).unwrap_or(0);
    let over = |value: &i64| value.wrapping_sub(base) as u64;
    let planes = planes_for(values.iter().map(over).max().unwrap_or(0));
    put_int(head, base);
    head.push(planes as u8);
    let mut plane = Vec::with_capacity(values.len());
    for at in 0..planes {
        plane.clear();
        plane.extend(values.iter().map(|value| (over(value) >> (8 * at)) as u8));
        match plane.first() {
            Some(&first) if plane.iter().all(|&byte| byte == first) => {
                head.extend_from_slice(&[SAME, first]);
            }
            _ => {
                head.push(FRAME);
                frames.column(&plane, head)?;
            }
        }
    }
    Ok(())
}

/// Where the planes of a column lie.
#[derive(Debug)]
pub(crate) struct Planes {
    base: i64,
    planes: Vec<Plane>,
}

#[derive(Debug)]
enum Plane {
    Same(u8),
    Frame(Frame),
}

impl Planes {
    pub(crate) fn read(
        input: &mut Bytes<'_>,
        rows: usize,
        offset: &mut u64,
    ) -> Result<Planes, Bad> {
        let base = input.int()?;
        let count = input.byte()? as usize;
        if count > PLANES_MAX {
            return Err("has numbers of more than eight bytes");
        }
        let mut planes = Vec::with_capacity(count);
        for _ in 0..count {
            planes.push(match input.byte()? {
                SAME => Plane::Same(input.byte()?),
                FRAME => {
                    let frame = Frame::read(input, offset)?;
                    if frame.raw_bytes != rows {
                        return Err("has a plane of another length");
                    }
                    Plane::Frame(frame)
                }
                _ => return Err("has a plane of an unknown kind"),
            });
        }
        Ok(Planes { base, planes })
    }

    /// The values; `load` reads a frame.
    pub(crate) fn values<E>(
        &self,
        rows: usize,
        load: &mut dyn FnMut(&Frame) -> Result<Vec<u8>, E>,
    ) -> Result<Vec<i64>, E> {
        let mut base = self.base as u64;
        let mut loaded: Vec<(Vec<u8>, u32)> = Vec::with_capacity(self.planes.len());
        for (at, plane) in self.planes.iter().enumerate() {
            let shift = 8 * at as u32;
            match plane {
                Plane::Same(byte) => base = base.wrapping_add(u64::from(*byte) << shift),
                Plane::Frame(frame) => loaded.push((load(frame)?, shift)),
            }
        }
        let at = |byte: u8, shift: u32| u64::from(byte) << shift;
        let value = |sum: u64| base.wrapping_add(sum) as i64;
        // Nearly all numbers have one to three bytes that vary: one pass for each of these cases.
        Ok(match &loaded[..] {
            [] => vec![base as i64; rows],
            [(a, s)] => a.iter().map(|&a| value(at(a, *s))).collect(),
            [(a, s), (b, t)] => {
                a.iter().zip(b).map(|(&a, &b)| value(at(a, *s) + at(b, *t))).collect()
            }
            [(a, s), (b, t), rest @ ..] => {
                let two = a.iter().zip(b).map(|(&a, &b)| value(at(a, *s) + at(b, *t)));
                let mut values: Vec<i64> = two.collect();
                for (plane, shift) in rest {
                    for (value, &byte) in values.iter_mut().zip(plane) {
                        *value = value.wrapping_add(at(byte, *shift) as i64);
                    }
                }
                values
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shred::frames::QUICK;

    #[test]
    fn every_width_comes_back() {
        let mut cases = vec![vec![], vec![7; 5], vec![i64::MIN, i64::MAX, 0, -1, 1]];
        for bits in 0..63 {
            cases.push((0..300).map(|n| (n * 7919) % (1i64 << bits) - 50).collect());
        }
        for values in cases {
            let mut frames = FrameWriter::new(QUICK);
            let mut head = Vec::new();
            write(&values, None, &mut frames, &mut head).unwrap();
            let (mut input, mut offset) = (Bytes::new(&head), 0);
            let planes = Planes::read(&mut input, values.len(), &mut offset).unwrap();
            input.end().unwrap();
            assert_eq!(offset, frames.body.len() as u64);
            let mut load = |frame: &Frame| {
                frame.unpack(frames.body[frame.offset as usize..][..frame.bytes].to_vec())
            };
            assert_eq!(planes.values(values.len(), &mut load).unwrap(), values);
        }
    }
}

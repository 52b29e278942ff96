//! The indicators of a run as a TensorBoard event file, beside `metrics.csv`.
//!
//! A file is a sequence of records: length (u64), masked CRC32C of those eight bytes, data, masked CRC32C of the data; all little-endian,
//! `masked(c) = rotate_right(c, 15) + 0xa282ead8`. The data is the protocol-buffer message `Event { wall_time: double = 1, step: int64 = 2,
//! file_version: string = 3, summary: Summary = 5 }` with `Summary { value: repeated Value = 1 }`, `Value { tag: string = 1, simple_value: float = 2 }`.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::command::{Failure, write_atomically};

/// The event file of a run.
#[derive(Debug)]
pub struct EventFile {
    path: PathBuf,
}

impl EventFile {
    /// The one of the run in `folder`; TensorBoard knows an event file by `tfevents` in its name.
    pub fn in_folder(folder: &Path) -> Self {
        Self { path: folder.join("events.out.tfevents.proxflow") }
    }

    /// Appends the finite `values` at `step`, the record of the version first when the file is new or empty.
    pub fn append(&self, step: u64, names: &[&str], values: &[f64]) -> Result<(), Failure> {
        let failed = |error: std::io::Error| {
            Failure::bad_input(self.path.display(), error, "a writable file with free space")
        };
        let mut file = OpenOptions::new().create(true).append(true).open(&self.path).map_err(failed)?;
        let mut bytes = Vec::new();
        if file.metadata().map_err(failed)?.len() == 0 {
            bytes.extend(record(&event(0, &field(3, b"brain.Event:2"))));
        }
        let finite = names.iter().zip(values).filter(|(_, value)| value.is_finite());
        let summary: Vec<u8> = finite
            .flat_map(|(name, value)| {
                let mut entry = field(1, name.as_bytes());
                entry.push(2 << 3 | FIXED_32);
                entry.extend((*value as f32).to_le_bytes());
                field(1, &entry)
            })
            .collect();
        bytes.extend(record(&event(step, &field(5, &summary))));
        file.write_all(&bytes).map_err(failed)
    }

    /// Keeps the whole records up to `step`; what follows the first other one is dropped.
    pub(super) fn mend(&self, step: u64) -> Result<(), Failure> {
        let Ok(bytes) = std::fs::read(&self.path) else { return Ok(()) };
        let mut end = 0;
        while let Some((data, length)) = first_record(&bytes[end..]) {
            if step_of(data).is_none_or(|own| own > step) {
                break;
            }
            end += length;
        }
        if end == bytes.len() { Ok(()) } else { write_atomically(&self.path, &bytes[..end]) }
    }
}

const FIXED_64: u8 = 1;
const FIXED_32: u8 = 5;

/// `Event` of this moment at `step` with one more field.
fn event(step: u64, rest: &[u8]) -> Vec<u8> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64());
    let mut message = vec![1 << 3 | FIXED_64];
    message.extend(now.to_le_bytes());
    message.push(2 << 3);
    message.extend(varint(step));
    message.extend(rest);
    message
}

/// A field of bytes: string or message.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut field = vec![number << 3 | 2];
    field.extend(varint(bytes.len() as u64));
    field.extend(bytes);
    field
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

fn masked(data: &[u8]) -> [u8; 4] {
    crc32c::crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    [&length, &masked(&length)[..], data, &masked(data)].concat()
}

/// The data of the first record and the length of the whole record, when it is there and sound.
fn first_record(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let head = bytes.first_chunk::<8>()?;
    let length = usize::try_from(u64::from_le_bytes(*head)).ok()?;
    let end = length.checked_add(16)?;
    let data = bytes.get(12..12 + length)?;
    let sound = bytes.get(8..12)? == masked(head) && bytes.get(12 + length..end)? == masked(data);
    sound.then_some((data, end))
}

/// The step of an event written by [`event`].
fn step_of(data: &[u8]) -> Option<u64> {
    let digits = data.get(10..)?;
    let length = digits.iter().position(|byte| byte & 0x80 == 0)? + 1;
    digits[..length.min(10)]
        .iter()
        .rev()
        .try_fold(0_u64, |value, byte| value.checked_mul(128).map(|value| value | u64::from(byte & 0x7f)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// CRC32C by its definition, bit by bit: polynomial 0x1EDC6F41 reflected.
    fn slow_crc(data: &[u8]) -> u32 {
        !data.iter().fold(!0_u32, |crc, byte| {
            (0..8)
                .fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg()))
        })
    }

    /// Reads a file by the description in the head of this module alone: `(step, [(tag, value)])` of every event.
    fn read(bytes: &[u8]) -> Vec<(u64, Vec<(String, f32)>)> {
        let mut rest = bytes;
        let mut events = Vec::new();
        while !rest.is_empty() {
            let length = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
            let check = |data: &[u8], stated: &[u8]| {
                let crc = slow_crc(data);
                let rotated = (u64::from(crc) * ((1 << 32) | 1)) >> 15;
                let expected = (rotated as u32).wrapping_add(0xa282_ead8);
                assert_eq!(stated, expected.to_le_bytes());
            };
            check(&rest[..8], &rest[8..12]);
            let data = &rest[12..12 + length];
            check(data, &rest[12 + length..16 + length]);
            rest = &rest[16 + length..];
            let (mut step, mut values) = (0, Vec::new());
            for (number, payload) in fields(data) {
                match number {
                    2 => step = payload.0,
                    5 => {
                        for (_, value) in fields(payload.1) {
                            let parts = fields(value.1);
                            let tag = String::from_utf8(parts[0].1.1.to_vec()).unwrap();
                            values.push((tag, f32::from_bits(parts[1].1.0 as u32)));
                        }
                    }
                    _ => {}
                }
            }
            events.push((step, values));
        }
        events
    }

    /// `(number, (scalar, bytes))` of a message.
    fn fields(mut data: &[u8]) -> Vec<(u8, (u64, &[u8]))> {
        fn number(data: &mut &[u8]) -> u64 {
            let (mut value, mut shift) = (0, 0);
            loop {
                let byte = data[0];
                *data = &data[1..];
                value |= u64::from(byte & 0x7f) << shift;
                shift += 7;
                if byte < 0x80 {
                    return value;
                }
            }
        }
        let mut found = Vec::new();
        while !data.is_empty() {
            let key = number(&mut data);
            let empty: &[u8] = &[];
            let payload = match key & 7 {
                0 => (number(&mut data), empty),
                1 => (u64::from_le_bytes(data.split_off(..8).unwrap().try_into().unwrap()), empty),
                2 => {
                    let length = number(&mut data) as usize;
                    (0, data.split_off(..length).unwrap())
                }
                5 => (u64::from(u32::from_le_bytes(data.split_off(..4).unwrap().try_into().unwrap())), empty),
                other => panic!("wire type {other}"),
            };
            found.push(((key >> 3) as u8, payload));
        }
        found
    }

    fn file() -> (tempfile::TempDir, EventFile) {
        let folder = tempfile::tempdir().unwrap();
        let file = EventFile::in_folder(folder.path());
        for step in [1, 20, 300] {
            file.append(step, &["straightness", "penalty"], &[1.5 + step as f64, f64::NAN]).unwrap();
        }
        (folder, file)
    }

    #[test]
    fn events_read_back_by_an_independent_reader() {
        assert_eq!(slow_crc(b"123456789"), 0xe306_9283, "the check value of CRC32C");
        let (_folder, file) = file();
        let bytes = std::fs::read(&file.path).unwrap();
        let events = read(&bytes);
        let expected = |step: u64| (step, vec![("straightness".to_owned(), 1.5 + step as f32)]);
        assert_eq!(events, [(0, vec![]), expected(1), expected(20), expected(300)]);
        assert!(bytes.windows(13).any(|window| window == b"brain.Event:2"));
    }

    #[test]
    fn a_file_cut_anywhere_or_beyond_the_checkpoint_is_mended_and_continued() {
        let (_folder, file) = file();
        let whole = std::fs::read(&file.path).unwrap();
        for end in 0..=whole.len() {
            std::fs::write(&file.path, &whole[..end]).unwrap();
            file.mend(20).unwrap();
            file.append(21, &["straightness"], &[2.0]).unwrap();
            let events = read(&std::fs::read(&file.path).unwrap());
            assert_eq!(events.last().unwrap().0, 21, "{end}");
            assert!(events.iter().all(|(step, _)| *step <= 21));
        }
    }
}

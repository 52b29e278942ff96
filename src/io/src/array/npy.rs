//! The `.npy` format: header, then numbers. Nothing is allocated that the header alone claims.

use std::io::Read;

use ndarray::{ArrayD, IxDyn, ShapeBuilder};
use proxflow_reference::InvalidInput;

use super::element::{ALLOWED, Element, in_words};
use crate::memory;

/// The first bytes of every `.npy` file.
pub const MAGIC: &[u8; 6] = b"\x93NUMPY";
/// The longest header that is read, as in numpy.
const LONGEST_HEADER: usize = 10_000;
/// Most axes of an array, as in numpy.
const MOST_AXES: usize = 64;

/// What a header says.
#[derive(Debug, Clone, PartialEq)]
struct Header {
    element: Element,
    descr: String,
    fortran_order: bool,
    shape: Vec<usize>,
}

/// Reads one array from `source`, of which `length` bytes are to come where that is known. `field` names it in messages.
/// Bytes beyond the array are refused.
pub fn read(field: &str, mut source: impl Read, length: Option<u64>) -> Result<ArrayD<f64>, InvalidInput> {
    let refuse = |value: &dyn std::fmt::Display| InvalidInput::new(field, value, "a .npy file");
    let unread = |error: std::io::Error| InvalidInput::new(field, error, "a complete .npy file");
    let mut start = [0_u8; 8];
    source.read_exact(&mut start).map_err(|_| refuse(&"no .npy header"))?;
    if start[..6] != MAGIC[..] {
        return Err(refuse(&"no .npy header"));
    }
    let (size, wide) = match start[6] {
        1 => (2, false),
        2 | 3 => (4, true),
        version => return Err(refuse(&format!("format version {version}.{}", start[7]))),
    };
    let mut count = [0_u8; 4];
    source.read_exact(&mut count[..size]).map_err(unread)?;
    let header_length = u32::from_le_bytes(count) as usize;
    if header_length > LONGEST_HEADER {
        let value = format!("a header of {header_length} bytes");
        return Err(InvalidInput::new(field, value, format!("at most {LONGEST_HEADER}")));
    }
    let mut header = vec![0_u8; header_length];
    source.read_exact(&mut header).map_err(unread)?;
    let header = Header::parse(field, &header)?;
    let described = format!("shape {:?} of {}", header.shape, header.descr);
    let numbers = header.shape.iter().try_fold(1_u64, |size, &n| size.checked_mul(n as u64));
    let stored = numbers.and_then(|numbers| numbers.checked_mul(header.element.width() as u64));
    let before = 8 + if wide { 4 } else { 2 } + header_length as u64;
    if let Some(length) = length
        && stored != Some(length.saturating_sub(before))
    {
        let claimed = stored.map_or_else(|| "too many to count".to_owned(), |bytes| bytes.to_string());
        let value = format!("{} bytes of data", length.saturating_sub(before));
        return Err(InvalidInput::new(field, value, format!("{claimed} for {described}")));
    }
    // Column-major data is copied once more, into rows.
    let copies = if header.fortran_order && header.shape.len() > 1 { 16 } else { 8 };
    memory::require(field, &described, numbers.and_then(|numbers| numbers.checked_mul(copies)))?;
    let numbers = numbers.unwrap_or_default() as usize;
    let values = decode(field, &mut source, header.element, numbers, &described)?;
    if source.read(&mut [0_u8]).map_err(unread)? != 0 {
        return Err(InvalidInput::new(field, "bytes behind the last number", described));
    }
    arrange(field, values, &header.shape, header.fortran_order)
}

/// `numbers` values from `source`.
pub fn decode(
    field: &str,
    source: &mut impl Read,
    element: Element,
    numbers: usize,
    described: &str,
) -> Result<Vec<f64>, InvalidInput> {
    let mut values: Vec<f64> = Vec::new();
    values
        .try_reserve_exact(numbers)
        .map_err(|_| InvalidInput::new(field, described, "an array that the memory of this process holds"))?;
    let width = element.width();
    let mut buffer = vec![0_u8; 8192 * width];
    while values.len() < numbers {
        let bytes = &mut buffer[..width * (numbers - values.len()).min(8192)];
        source.read_exact(bytes).map_err(|error| {
            let value = format!("ends after {} of {numbers} numbers ({error})", values.len());
            InvalidInput::new(field, value, described)
        })?;
        for number in bytes.chunks_exact(width) {
            let value = element.decode(number).map_err(|whole| {
                InvalidInput::new(
                    field,
                    format!("{whole} in {described}"),
                    "whole numbers that f64 holds exactly",
                )
            })?;
            values.push(value);
        }
    }
    Ok(values)
}

/// `values` in the shape given, rows first in memory.
pub fn arrange(
    field: &str,
    values: Vec<f64>,
    shape: &[usize],
    fortran_order: bool,
) -> Result<ArrayD<f64>, InvalidInput> {
    let array = if fortran_order {
        ArrayD::from_shape_vec(IxDyn(shape).f(), values).map(|array| array.as_standard_layout().into_owned())
    } else {
        ArrayD::from_shape_vec(IxDyn(shape), values)
    };
    array.map_err(|error| {
        InvalidInput::new(field, format!("shape {shape:?} ({error})"), "a shape that can be stored")
    })
}

impl Header {
    /// `{'descr': '<f8', 'fortran_order': False, 'shape': (3, 2), }`: a Python dictionary of three entries in any order.
    fn parse(field: &str, bytes: &[u8]) -> Result<Self, InvalidInput> {
        let broken =
            |value: &dyn std::fmt::Display| InvalidInput::new(field, value, "the header of a .npy file");
        let text = std::str::from_utf8(bytes).map_err(|_| broken(&"a header that is no text"))?;
        let mut rest = Words(text.trim());
        let (mut descr, mut fortran_order, mut shape) = (None, None, None);
        let mut fill = || -> Option<Result<(), String>> {
            rest.take("{")?;
            loop {
                if rest.take("}").is_some() {
                    return rest.0.is_empty().then_some(Ok(()));
                }
                let key = rest.quoted()?;
                rest.take(":")?;
                let doubled = match key {
                    "descr" if rest.0.starts_with('[') => return Some(Err("a structured dtype".into())),
                    "descr" => descr.replace(rest.quoted()?.to_owned()).is_some(),
                    "fortran_order" => fortran_order.replace(rest.boolean()?).is_some(),
                    "shape" => shape.replace(rest.tuple()?).is_some(),
                    _ => return Some(Err(format!("a header with the key '{key}'"))),
                };
                if doubled {
                    return Some(Err(format!("a header with two keys '{key}'")));
                }
                if rest.take(",").is_none() && !rest.0.starts_with('}') {
                    return None;
                }
            }
        };
        match fill() {
            Some(Ok(())) => {}
            Some(Err(value)) => return Err(broken(&value)),
            None => return Err(broken(&"a damaged header")),
        }
        let missing = |key: &str| broken(&format!("a header without '{key}'"));
        let descr = descr.ok_or_else(|| missing("descr"))?;
        let shape: Vec<usize> = shape.ok_or_else(|| missing("shape"))?;
        let fortran_order = fortran_order.ok_or_else(|| missing("fortran_order"))?;
        if shape.len() > MOST_AXES {
            return Err(broken(&format!("{} axes", shape.len())));
        }
        let element =
            Element::from_numpy(&descr).ok_or_else(|| InvalidInput::new(field, in_words(&descr), ALLOWED))?;
        Ok(Self { element, descr, fortran_order, shape })
    }
}

/// What is left of a header.
struct Words<'a>(&'a str);

impl<'a> Words<'a> {
    fn take(&mut self, word: &str) -> Option<()> {
        self.0 = self.0.strip_prefix(word)?.trim_start();
        Some(())
    }

    fn until(&mut self, end: impl Fn(char) -> bool) -> &'a str {
        let at = self.0.find(end).unwrap_or(self.0.len());
        let (word, rest) = self.0.split_at(at);
        self.0 = rest.trim_start();
        word
    }

    fn quoted(&mut self) -> Option<&'a str> {
        let quote = self.0.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
        let (word, rest) = self.0[1..].split_once(quote)?;
        self.0 = rest.trim_start();
        Some(word)
    }

    fn boolean(&mut self) -> Option<bool> {
        match self.until(|c| !c.is_ascii_alphabetic()) {
            "True" => Some(true),
            "False" => Some(false),
            _ => None,
        }
    }

    /// `()`, `(3,)`, `(3, 2)`; numpy on Python 2 wrote `(3L, 2L)`.
    fn tuple(&mut self) -> Option<Vec<usize>> {
        self.take("(")?;
        let mut entries = Vec::new();
        while self.take(")").is_none() {
            entries.push(self.until(|c| !c.is_ascii_digit()).parse().ok()?);
            let _ = self.take("L");
            if self.take(",").is_none() && !self.0.starts_with(')') {
                return None;
            }
        }
        Some(entries)
    }
}

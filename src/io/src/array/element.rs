//! Element types: how the numbers of a file become f64.

use half::{bf16, f16};

/// What the commands read, in one phrase for messages.
pub const ALLOWED: &str = "real numbers: float16, float32, float64, whole numbers of 1 to 8 bytes, bool";

/// A real element type and its byte order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Element {
    kind: Kind,
    big_endian: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Bool,
    Signed(usize),
    Unsigned(usize),
    F16,
    Bf16,
    F32,
    F64,
}

impl Element {
    /// From numpy's type string (`<f8`, `>i4`, `|b1`, ...); `None` for everything that is not a real number of at most eight
    /// bytes. `=` and a missing order mean the machine's own, as in numpy.
    pub fn from_numpy(text: &str) -> Option<Self> {
        let (order, name) = match text.as_bytes().first()? {
            b'<' | b'>' | b'=' | b'|' => text.split_at_checked(1)?,
            _ => ("=", text),
        };
        let kind = match name {
            "b1" | "?" => Kind::Bool,
            "i1" | "i2" | "i4" | "i8" => Kind::Signed(name[1..].parse().ok()?),
            "u1" | "u2" | "u4" | "u8" => Kind::Unsigned(name[1..].parse().ok()?),
            "f2" => Kind::F16,
            "f4" => Kind::F32,
            "f8" => Kind::F64,
            _ => return None,
        };
        let big_endian = order == ">" || (matches!(order, "=" | "|") && cfg!(target_endian = "big"));
        Some(Self { kind, big_endian })
    }

    /// From the name of a safetensors type; those are little-endian.
    pub fn from_safetensors(dtype: safetensors::Dtype) -> Option<Self> {
        use safetensors::Dtype;
        let kind = match dtype {
            Dtype::BOOL => Kind::Bool,
            Dtype::I8 => Kind::Signed(1),
            Dtype::I16 => Kind::Signed(2),
            Dtype::I32 => Kind::Signed(4),
            Dtype::I64 => Kind::Signed(8),
            Dtype::U8 => Kind::Unsigned(1),
            Dtype::U16 => Kind::Unsigned(2),
            Dtype::U32 => Kind::Unsigned(4),
            Dtype::U64 => Kind::Unsigned(8),
            Dtype::F16 => Kind::F16,
            Dtype::BF16 => Kind::Bf16,
            Dtype::F32 => Kind::F32,
            Dtype::F64 => Kind::F64,
            _ => return None,
        };
        Some(Self { kind, big_endian: false })
    }

    /// Bytes of one number.
    pub fn width(self) -> usize {
        match self.kind {
            Kind::Bool => 1,
            Kind::Signed(width) | Kind::Unsigned(width) => width,
            Kind::F16 | Kind::Bf16 => 2,
            Kind::F32 => 4,
            Kind::F64 => 8,
        }
    }

    /// One number from its [`width`](Self::width) bytes; the whole number itself, as text, when f64 cannot hold it exactly.
    pub fn decode(self, bytes: &[u8]) -> Result<f64, String> {
        let mut word = [0_u8; 8];
        for (place, byte) in word.iter_mut().zip(bytes) {
            *place = *byte;
        }
        if self.big_endian {
            word[..bytes.len()].reverse();
        }
        let raw = u64::from_le_bytes(word);
        let exact = |value: f64, same: bool, text: String| if same { Ok(value) } else { Err(text) };
        match self.kind {
            Kind::Bool => Ok(f64::from(u8::from(raw != 0))),
            Kind::F16 => Ok(f16::from_bits(raw as u16).to_f64()),
            Kind::Bf16 => Ok(bf16::from_bits(raw as u16).to_f64()),
            Kind::F32 => Ok(f32::from_bits(raw as u32).into()),
            Kind::F64 => Ok(f64::from_bits(raw)),
            Kind::Unsigned(_) => {
                let value = raw as f64;
                exact(value, value < 2f64.powi(64) && value as u64 == raw, raw.to_string())
            }
            Kind::Signed(width) => {
                let unused = 64 - 8 * width as u32;
                let whole = ((raw << unused) as i64) >> unused;
                let value = whole as f64;
                exact(value, value < 2f64.powi(63) && value as i64 == whole, whole.to_string())
            }
        }
    }
}

/// numpy's name of what a type string stands for, for messages about types that are not read.
pub fn in_words(descr: &str) -> String {
    let kind = descr.trim_start_matches(['<', '>', '=', '|']).chars().next();
    let words = match kind {
        Some('O') => "Python objects, which only pickle reads",
        Some('c') => "complex numbers",
        Some('S' | 'a' | 'U') => "text",
        Some('M' | 'm') => "dates or times",
        Some('V') => "raw bytes",
        Some('f' | 'g') => "floats of a machine-dependent width",
        _ => "an unknown type",
    };
    format!("dtype '{descr}' ({words})")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_real_type_is_decoded_in_both_byte_orders() {
        for (little, bytes, value) in [
            ("<i1", vec![0xff], -1.0),
            ("<u1", vec![0xff], 255.0),
            ("<i2", vec![0xfe, 0xff], -2.0),
            ("<u2", vec![0x01, 0x02], 513.0),
            ("<i4", (-70_000_i32).to_le_bytes().to_vec(), -70_000.0),
            ("<u4", u32::MAX.to_le_bytes().to_vec(), 4_294_967_295.0),
            ("<i8", (-(1_i64 << 53)).to_le_bytes().to_vec(), -9_007_199_254_740_992.0),
            ("<u8", (1_u64 << 63).to_le_bytes().to_vec(), 9_223_372_036_854_775_808.0),
            ("<f2", vec![0x00, 0xc1], -2.5),
            ("<f4", 0.1_f32.to_le_bytes().to_vec(), f64::from(0.1_f32)),
            ("<f8", 0.1_f64.to_le_bytes().to_vec(), 0.1),
            ("|b1", vec![2], 1.0),
        ] {
            let element = Element::from_numpy(little).unwrap();
            assert_eq!((element.width(), element.decode(&bytes)), (bytes.len(), Ok(value)), "{little}");
            let reversed: Vec<u8> = bytes.iter().rev().copied().collect();
            let big = Element::from_numpy(&little.replace(['<', '|'], ">")).unwrap();
            assert_eq!(big.decode(&reversed), Ok(value), "{little} reversed");
        }
    }

    #[test]
    fn whole_numbers_beyond_the_precision_of_f64_are_named_not_rounded() {
        let bytes = 9_007_199_254_740_993_i64.to_le_bytes();
        let element = Element::from_numpy("<i8").unwrap();
        assert_eq!(element.decode(&bytes), Err("9007199254740993".into()));
        assert_eq!(Element::from_numpy("<u8").unwrap().decode(&[0xff; 8]), Err(u64::MAX.to_string()));
        assert_eq!(element.decode(&i64::MAX.to_le_bytes()), Err(i64::MAX.to_string()));
    }

    #[test]
    fn other_types_are_named_in_words() {
        for (descr, words) in
            [("|O", "pickle"), ("<c16", "complex"), ("<U5", "text"), ("|V2", "raw"), ("<f16", "machine")]
        {
            assert!(Element::from_numpy(descr).is_none());
            assert!(in_words(descr).contains(words));
        }
    }
}

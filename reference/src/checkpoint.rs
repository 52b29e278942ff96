//! Named f64 arrays from safetensors files, whatever program wrote them.

pub mod container;

use std::collections::BTreeMap;

use half::{bf16, f16};
use ndarray::ArrayD;
use safetensors::Dtype;

pub use self::container::Container;
use crate::specification::InvalidInput;

/// The tensors of a safetensors file as f64 arrays, with the file's metadata strings.
#[derive(Debug, Clone, Default)]
pub struct NamedArrays {
    /// Tensor name to array, in the tensor's own shape.
    pub arrays: BTreeMap<String, ArrayD<f64>>,
    /// The metadata strings of the header (`horizon`, `steps`, `lambda`, `lipschitz`, `source-law`, `architectures`, ...).
    pub metadata: BTreeMap<String, String>,
    /// What the reader did beyond reading, one sentence each, to be shown to the user.
    pub notices: Vec<String>,
}

/// Words on element types that hold less than single precision.
pub const HALF_PRECISION: &str = "weights in half precision (F16, BF16) are widened, which changes no value";

impl NamedArrays {
    /// Reads the bytes of a safetensors file. F64, F32, F16 and BF16 tensors are converted exactly; tensors of other types
    /// (optimiser counters, random-stream state) are passed over. A wrong checksum is refused, non-finite weights by name.
    pub fn from_safetensors(bytes: &[u8]) -> Result<Self, InvalidInput> {
        let file = Container::parse(bytes)?;
        let mut notices = file.notices.clone();
        let mut arrays = BTreeMap::new();
        for (name, part) in &file.tensors {
            let data = part.bytes.as_ref();
            let pairs = data.as_chunks::<2>().0.iter();
            let values: Vec<f64> = match part.dtype {
                Dtype::F16 => pairs.map(|b| f16::from_le_bytes(*b).to_f64()).collect(),
                Dtype::BF16 => pairs.map(|b| bf16::from_le_bytes(*b).to_f64()).collect(),
                Dtype::F32 => data.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b).into()).collect(),
                Dtype::F64 => data.as_chunks::<8>().0.iter().map(|b| f64::from_le_bytes(*b)).collect(),
                _ => continue,
            };
            if matches!(part.dtype, Dtype::F16 | Dtype::BF16)
                && !notices.iter().any(|line| line == HALF_PRECISION)
            {
                notices.push(HALF_PRECISION.to_owned());
            }
            if let Some(value) = values.iter().find(|value| !value.is_finite()) {
                return Err(InvalidInput::new(name, value, "finite weights"));
            }
            let array = ArrayD::from_shape_vec(part.shape.clone(), values)
                .map_err(|error| InvalidInput::new(name, error, "data matching its shape"))?;
            arrays.insert(name.to_owned(), array);
        }
        file.verify()?;
        Ok(Self { arrays, metadata: file.metadata, notices })
    }

    /// The metadata entry `key` as a positive number, `None` when it is absent.
    pub fn positive(&self, key: &str) -> Result<Option<f64>, InvalidInput> {
        let Some(text) = self.metadata.get(key) else { return Ok(None) };
        let value = text.parse().map_err(|_| InvalidInput::new(key, text, "a number > 0"))?;
        InvalidInput::require_positive(key, value).map(Some)
    }

    /// The number of Euler steps that the networks were trained with (`steps`), `None` when the file does not say.
    pub fn steps(&self) -> Result<Option<usize>, InvalidInput> {
        let Some(value) = self.positive("steps")? else { return Ok(None) };
        if value.fract() != 0.0 || value > MOST_STEPS as f64 {
            return Err(InvalidInput::new("steps", value, format!("a whole number in 1..={MOST_STEPS}")));
        }
        Ok(Some(value as usize))
    }

    /// The uniform source law `[low, high)^d` that the networks were trained with (`source-law`), `None` when the file does not say.
    pub fn source_law(&self) -> Result<Option<[f64; 2]>, InvalidInput> {
        self.metadata.get(SOURCE_LAW).map(|text| parse_source_law(text)).transpose()
    }
}

/// Metadata key of the source law.
pub const SOURCE_LAW: &str = "source-law";

/// Largest number of Euler steps of a flow.
pub const MOST_STEPS: usize = 100_000;

/// Reads `low,high` of a uniform source law.
pub fn parse_source_law(text: &str) -> Result<[f64; 2], InvalidInput> {
    let numbers: Result<Vec<f64>, _> = text.split(',').map(|part| part.trim().parse::<f64>()).collect();
    match numbers.as_deref() {
        Ok([low, high]) if low < high && low.abs().max(high.abs()) <= 1e18 => Ok([*low, *high]),
        _ => Err(InvalidInput::new(SOURCE_LAW, text, "low,high with -1e18 <= low < high <= 1e18")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use container::Part;

    fn file_of(dtype: Dtype, count: usize, bytes: Vec<u8>) -> Vec<u8> {
        let tensors = BTreeMap::from([(
            "potential.fc.0.bias".to_owned(),
            Part { dtype, shape: vec![count], bytes: bytes.into() },
        )]);
        let metadata = BTreeMap::from([("lambda".to_owned(), "0.05".to_owned())]);
        Container::new(tensors, metadata).serialise().unwrap()
    }

    fn file(values: &[f32]) -> Vec<u8> {
        file_of(Dtype::F32, values.len(), values.iter().flat_map(|v| v.to_le_bytes()).collect())
    }

    #[test]
    fn single_precision_tensors_and_metadata_are_read_exactly() {
        let checkpoint = NamedArrays::from_safetensors(&file(&[0.1, -2.5])).unwrap();
        let array = &checkpoint.arrays["potential.fc.0.bias"];
        assert_eq!(array.as_slice().unwrap(), [f64::from(0.1f32), -2.5]);
        assert_eq!(checkpoint.positive("lambda").unwrap(), Some(0.05));
        assert_eq!(checkpoint.positive("horizon").unwrap(), None);
        assert!(checkpoint.notices.is_empty());
    }

    #[test]
    fn half_precision_is_widened_exactly_and_said() {
        let values = [0.1_f32, -2.5, 1e-6];
        let half = values.iter().flat_map(|&v| f16::from_f32(v).to_le_bytes()).collect();
        let brain = values.iter().flat_map(|&v| bf16::from_f32(v).to_le_bytes()).collect();
        for (dtype, bytes, first) in [
            (Dtype::F16, half, f16::from_f32(0.1).to_f64()),
            (Dtype::BF16, brain, bf16::from_f32(0.1).to_f64()),
        ] {
            let read = NamedArrays::from_safetensors(&file_of(dtype, 3, bytes)).unwrap();
            assert_eq!(read.arrays["potential.fc.0.bias"][0], first);
            assert_eq!(read.arrays["potential.fc.0.bias"][1], -2.5);
            assert_eq!(read.notices, [HALF_PRECISION]);
        }
    }

    #[test]
    fn damaged_files_and_nan_weights_are_refused() {
        let good = file(&[1.0, 2.0, 3.0]);
        assert_eq!(NamedArrays::from_safetensors(&good[..good.len() - 2]).unwrap_err().field, "checkpoint");
        assert_eq!(NamedArrays::from_safetensors(b"not a file").unwrap_err().field, "checkpoint");
        let poisoned = NamedArrays::from_safetensors(&file(&[1.0, f32::NAN]));
        assert_eq!(poisoned.unwrap_err().field, "potential.fc.0.bias");
        let mut changed = good.clone();
        *changed.last_mut().unwrap() ^= 1;
        assert_eq!(NamedArrays::from_safetensors(&changed).unwrap_err().field, "checksum");
    }

    #[test]
    fn steps_and_source_law_are_read_or_refused() {
        let with = |key: &str, value: &str| NamedArrays {
            metadata: BTreeMap::from([(key.to_owned(), value.to_owned())]),
            ..NamedArrays::default()
        };
        assert_eq!(with("steps", "5").steps().unwrap(), Some(5));
        assert_eq!(with("source-law", "-1,0.5").source_law().unwrap(), Some([-1.0, 0.5]));
        for text in ["0", "2.5", "1e300", "five"] {
            assert!(with("steps", text).steps().is_err(), "{text}");
        }
        for text in ["", "1,0", "0,nan", "0,1,2", "0,x,1"] {
            assert!(with("source-law", text).source_law().is_err(), "{text}");
        }
    }
}

//! Named f64 arrays from safetensors files, whatever program wrote them.

use std::collections::BTreeMap;

use ndarray::ArrayD;
use safetensors::{Dtype, SafeTensors};

use crate::specification::InvalidInput;

/// The tensors of a safetensors file as f64 arrays, with the file's metadata strings.
#[derive(Debug, Clone, Default)]
pub struct NamedArrays {
    /// Tensor name to array, in the tensor's own shape.
    pub arrays: BTreeMap<String, ArrayD<f64>>,
    /// The metadata strings of the header (`horizon`, `steps`, `lambda`, `lipschitz`, ...).
    pub metadata: BTreeMap<String, String>,
}

impl NamedArrays {
    /// Reads the bytes of a safetensors file. F32 and F64 tensors are converted exactly; tensors of other types
    /// (optimiser counters, random-stream state) are passed over. Non-finite weights are refused by name.
    pub fn from_safetensors(bytes: &[u8]) -> Result<Self, InvalidInput> {
        let refuse = |error: safetensors::SafeTensorError| {
            InvalidInput::new("checkpoint", error, "a complete safetensors file")
        };
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(refuse)?;
        let metadata = header.metadata().clone().unwrap_or_default().into_iter().collect();
        let file = SafeTensors::deserialize(bytes).map_err(refuse)?;
        let mut arrays = BTreeMap::new();
        for (name, view) in file.iter() {
            let data = view.data();
            let values: Vec<f64> = match view.dtype() {
                Dtype::F32 => data.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b).into()).collect(),
                Dtype::F64 => data.as_chunks::<8>().0.iter().map(|b| f64::from_le_bytes(*b)).collect(),
                _ => continue,
            };
            if let Some(value) = values.iter().find(|value| !value.is_finite()) {
                return Err(InvalidInput::new(name, value, "finite weights"));
            }
            let array = ArrayD::from_shape_vec(view.shape().to_vec(), values)
                .map_err(|error| InvalidInput::new(name, error, "data matching its shape"))?;
            arrays.insert(name.to_owned(), array);
        }
        Ok(Self { arrays, metadata })
    }

    /// The metadata entry `key` as a positive number, `None` when it is absent.
    pub fn positive(&self, key: &str) -> Result<Option<f64>, InvalidInput> {
        let Some(text) = self.metadata.get(key) else { return Ok(None) };
        let value = text.parse().map_err(|_| InvalidInput::new(key, text, "a number > 0"))?;
        InvalidInput::require_positive(key, value).map(Some)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use safetensors::tensor::TensorView;

    fn file(values: &[f32]) -> Vec<u8> {
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let view = TensorView::new(Dtype::F32, vec![values.len()], &bytes).unwrap();
        let metadata = [("lambda".to_owned(), "0.05".to_owned())].into();
        safetensors::serialize([("potential.fc.0.bias", view)], Some(metadata)).unwrap()
    }

    #[test]
    fn single_precision_tensors_and_metadata_are_read_exactly() {
        let checkpoint = NamedArrays::from_safetensors(&file(&[0.1, -2.5])).unwrap();
        let array = &checkpoint.arrays["potential.fc.0.bias"];
        assert_eq!(array.as_slice().unwrap(), [f64::from(0.1f32), -2.5]);
        assert_eq!(checkpoint.positive("lambda").unwrap(), Some(0.05));
        assert_eq!(checkpoint.positive("horizon").unwrap(), None);
    }

    #[test]
    fn damaged_files_and_nan_weights_are_refused() {
        let good = file(&[1.0, 2.0, 3.0]);
        assert_eq!(NamedArrays::from_safetensors(&good[..good.len() - 2]).unwrap_err().field, "checkpoint");
        assert_eq!(NamedArrays::from_safetensors(b"not a file").unwrap_err().field, "checkpoint");
        let poisoned = NamedArrays::from_safetensors(&file(&[1.0, f32::NAN]));
        assert_eq!(poisoned.unwrap_err().field, "potential.fc.0.bias");
    }
}

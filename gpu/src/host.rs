//! Numbers of tensors, brought to the host in f64.

use tch::{Kind, Tensor};

/// The scalar of a one-element tensor.
pub(crate) fn f64_of(tensor: &Tensor) -> f64 {
    tensor.double_value(&[])
}

/// Mean of a tensor's numbers in f64, on the host: not every device knows f64.
pub(crate) fn mean_of(tensor: &Tensor) -> f64 {
    f64_of(&tensor.detach().to_device(tch::Device::Cpu).mean(Kind::Double))
}

/// Tensors of one shape on the host, brought there by one transfer.
pub(crate) fn together<const N: usize>(tensors: [Tensor; N]) -> [Tensor; N] {
    if tensors.iter().all(|tensor| tensor.device() == tch::Device::Cpu) {
        return tensors;
    }
    let host = Tensor::stack(&tensors, 0).to_device(tch::Device::Cpu);
    std::array::from_fn(|index| host.get(index as i64))
}

/// [`mean_of`] of each of several tensors of one shape, which one transfer brings to the host.
pub(crate) fn means_of(tensors: &[Tensor]) -> Vec<f64> {
    match tensors.first().map(Tensor::device) {
        None => Vec::new(),
        Some(tch::Device::Cpu) => tensors.iter().map(mean_of).collect(),
        Some(_) => {
            let host = Tensor::stack(tensors, 0).to_device(tch::Device::Cpu);
            (0..tensors.len() as i64).map(|index| mean_of(&host.get(index))).collect()
        }
    }
}

/// The numbers of a tensor, flattened, on the host.
pub(crate) fn to_f64(tensor: &Tensor) -> Vec<f64> {
    let host = tensor.detach().to_device(tch::Device::Cpu).to_kind(Kind::Double).contiguous().view([-1]);
    let mut values = vec![0.0; host.numel()];
    host.copy_data(&mut values, host.numel());
    values
}

//! Arrays and networks carried between libtorch and the oracle.

use std::collections::BTreeMap;

use ndarray::{Array2, ArrayD, ArrayView2, IxDyn};
use proxflow_gpu::architecture::{self, Features};
use proxflow_gpu::device::DeviceChoice;
use proxflow_gpu::network::Network as TorchNetwork;
use proxflow_reference::InvalidInput;
use proxflow_reference::network::{Activation, Architecture, HuberCost, Network};
use tch::{Device, Kind, Tensor};

/// Where the comparisons run: the CPU, and CUDA when there is one.
pub fn devices() -> Vec<Device> {
    let mut devices = vec![Device::Cpu];
    if let Ok(device @ Device::Cuda(_)) = DeviceChoice::Auto.resolve() {
        devices.push(device);
    }
    devices
}

/// One libtorch thread: the networks of the checks are small, claims run in parallel, and sums come out the same on
/// every machine.
pub fn use_one_thread() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| tch::set_num_threads(1));
}

/// A tensor `(n, d)` of `options` from an array.
pub fn to_tensor(array: ArrayView2<f64>, options: (Kind, Device)) -> Tensor {
    let values: Vec<f64> = array.iter().copied().collect();
    Tensor::from_slice(&values)
        .reshape([array.nrows() as i64, array.ncols() as i64])
        .to_kind(options.0)
        .to_device(options.1)
}

/// The numbers of a tensor of any shape, in C order.
pub fn values(tensor: &Tensor) -> Vec<f64> {
    let host = tensor.detach().to_device(Device::Cpu).to_kind(Kind::Double).contiguous().view([-1]);
    let mut values = vec![0.0; host.numel()];
    host.copy_data(&mut values, host.numel());
    values
}

/// A tensor `(n, d)` as an array.
pub fn to_array(tensor: &Tensor) -> Array2<f64> {
    let size = tensor.size();
    Array2::from_shape_vec((size[0] as usize, size[1] as usize), values(tensor)).expect("one value per entry")
}

/// A tensor of any shape as an array.
pub fn to_dynamic(tensor: &Tensor) -> ArrayD<f64> {
    let shape: Vec<usize> = tensor.size().iter().map(|n| *n as usize).collect();
    ArrayD::from_shape_vec(IxDyn(&shape), values(tensor)).expect("one value per entry")
}

/// The same network in the oracle: same weights (f32 converted exactly), same names under `prefix`.
pub fn to_reference(network: &TorchNetwork, prefix: &str) -> Result<Network, InvalidInput> {
    let architecture = network.architecture();
    let arrays = architecture
        .parameter_shapes()
        .into_iter()
        .zip(network.parameters())
        .map(|((name, _), tensor)| (format!("{prefix}.{name}"), to_dynamic(tensor)))
        .collect::<BTreeMap<_, _>>();
    let hidden = architecture.hidden.iter().map(|n| *n as usize).collect();
    let activation = match architecture.activation {
        architecture::Activation::Relu => Activation::Relu,
        architecture::Activation::Softplus => Activation::Softplus,
        architecture::Activation::Tanh => Activation::Tanh,
        architecture::Activation::Silu => {
            return Err(InvalidInput::new(
                "activation",
                "silu",
                "relu, softplus, tanh: the oracle has no other",
            ));
        }
    };
    let plain = match &architecture.features {
        Features::Coordinates { dimension } | Features::PeriodicCoordinates { dimension } => {
            Architecture::MultilayerPerceptron {
                inputs: *dimension as usize,
                periodic: matches!(architecture.features, Features::PeriodicCoordinates { .. }),
                hidden,
                activation,
            }
        }
        Features::Image { side, channels } => Architecture::Convolutional {
            side: *side as usize,
            channels: channels.iter().map(|n| *n as usize).collect(),
            kernel: 7,
            hidden,
        },
        Features::Prototypes { dimension, count, cost } => Architecture::Prototypes {
            inputs: *dimension as usize,
            count: *count as usize,
            cost: HuberCost { lambda: cost.lambda, horizon: cost.horizon, lipschitz: cost.lipschitz },
        },
        Features::ScaledCoordinates { .. } => {
            let found = format!("{:?}", architecture.features);
            return Err(InvalidInput::new(
                "features",
                found,
                "coordinates or images: the oracle has no other",
            ));
        }
    };
    Network::new(prefix, plain, architecture.time, &arrays)
}

//! libtorch networks against the oracle's dual numbers, over random architectures, weights and inputs.
#![cfg(feature = "torch")]
#![allow(clippy::unwrap_used)]

mod validation {
    use ndarray::Array2;
    use proptest::prelude::*;
    use proxflow_gpu::architecture::{Activation, Architecture, Features};
    use proxflow_gpu::hopf_lax::HuberCost;
    use proxflow_gpu::network::Network;
    use proxflow_gpu::random::{Stream, StreamLabel};
    use proxflow_reference::network::Direction;
    use proxflow_validation::torch::{to_array, to_reference, to_tensor, values};
    use tch::{Device, Kind};

    fn architecture() -> impl Strategy<Value = Architecture> {
        let features = prop_oneof![
            (1..6_i64).prop_map(|dimension| Features::Coordinates { dimension }),
            (1..4_i64).prop_map(|dimension| Features::PeriodicCoordinates { dimension }),
            (1..3_i64, prop::collection::vec(1..4_i64, 1..3))
                .prop_map(|(factor, channels)| Features::Image { side: factor << channels.len(), channels }),
            // Some points reach their prototype in the time that is left, others do not.
            (1..6_i64, 1..9_i64).prop_map(|(dimension, count)| Features::Prototypes {
                dimension,
                count,
                cost: HuberCost { lambda: 0.7, horizon: 5.5, lipschitz: 0.2 },
            }),
        ];
        let activation =
            prop_oneof![Just(Activation::Relu), Just(Activation::Tanh), Just(Activation::Softplus)];
        (features, prop::collection::vec(1..20_i64, 0..4), activation, any::<bool>()).prop_map(
            |(features, hidden, activation, time)| {
                // The oracle's convolutional networks are the paper's: ReLU throughout.
                let image = matches!(features, Features::Image { .. });
                let activation = if image { Activation::Relu } else { activation };
                Architecture { features, hidden, activation, time }
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        #[test]
        fn torch_networks_equal_dual_number_evaluation(
            architecture in architecture(),
            seed in any::<u64>(),
            time in 0.0..5.0_f64,
            inputs in prop::collection::vec(-2.0..2.0_f64, 64),
        ) {
            let options = (Kind::Double, Device::Cpu);
            let network = Network::glorot(architecture.clone(), &mut Stream::new(seed, StreamLabel::Data), options);
            let dimension = architecture.dimension() as usize;
            let points = Array2::from_shape_fn((2, dimension), |(i, k)| inputs[(31 * i + k) % inputs.len()]);
            let found = network.slope(&to_tensor(points.view(), options), time);
            let gradients = to_array(&found.gradient);
            let oracle = to_reference(&network, "potential").unwrap();
            for i in 0..2 {
                let x = points.row(i).to_vec();
                let value = oracle.value(&x, time).unwrap();
                // Rounding of a few hundred f64 operations.
                prop_assert!((values(&found.value)[i] - value).abs() <= 1e-11 * (1.0 + value.abs()));
                let gradient = oracle.gradient_by_dual_numbers(&x, time).unwrap();
                for (fast, slow) in gradients.row(i).iter().zip(&gradient) {
                    prop_assert!((fast - slow).abs() <= 1e-11 * (1.0 + slow.abs()), "{fast} {slow}");
                }
                let direction = Direction { time: 1.0, ..Direction::default() };
                let rate = oracle.directional_derivative(&x, time, &direction).unwrap();
                let rate = if architecture.time { rate } else { 0.0 };
                prop_assert!((values(&found.time_derivative)[i] - rate).abs() <= 1e-11 * (1.0 + rate.abs()));
            }
        }
    }
}
